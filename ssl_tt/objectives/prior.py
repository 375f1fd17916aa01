"""How likely sequences of codes are: what VQ-VAE leaves uniform while it trains, learned afterwards."""

import torch
from torch import Tensor, nn

from ssl_tt.objectives.autoregressive import Autoregressive
from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.distributions import Categorical


class Prior(nn.Module):
    """p(codes), each given those before it (van den Oord et al. 2017, arXiv 1711.00937, section 3.3).

    With `given`, p(codes | codes of a coarser level), as of VQ-VAE-2's bottom given its top (Razavi et al. 2019, arXiv
    1906.00446, section 3.2), but causal: a frame knows the coarser codes up to the one that covers it, which is decoded
    first. With several groups the codes of a frame come one after another, each given the groups before it, and the
    network is told which group is next. Each starts uniform: log2(codes) bits a frame and group.
    """

    def __init__(self, config: PriorConfig, codes: int, given: int | None = None, groups: int = 1) -> None:
        """codes: size of a codebook; given: size of one of the coarser level, if there is one, of as many groups."""
        super().__init__()
        self.groups = groups
        self.group = nn.Embedding(groups, config.channels) if groups > 1 else None
        self.given = None
        if given is not None:
            self.given = nn.ModuleList(nn.Embedding(given, config.channels) for _ in range(groups))
        self.codes = Autoregressive(
            Categorical(codes, config.channels),
            config.channels,
            config.kernel,
            config.dilations,
            condition_channels=0 if given is None and groups == 1 else config.channels,
        )

    def forward(self, codes: Tensor, given: Tensor | None = None) -> Tensor:
        """-log p of each of codes [B, T], with groups [B, T, G], in nats of the same shape.

        given [B, T / n], with groups [B, T / n, G]: each frame for n of theirs.
        """
        values = codes.flatten(1)  # frame by frame, its groups one after another
        return self.codes(values, self._condition(values.shape, given)).view_as(codes)

    @torch.inference_mode()
    def sample(self, sequences: int, frames: int, generator: torch.Generator, given: Tensor | None = None) -> Tensor:
        """Codes [sequences, frames], with groups [sequences, frames, G], drawn one after another."""
        n_values = frames * self.groups
        noise = torch.rand(sequences, n_values, self.codes.distribution.draws, generator=generator)
        values = self.codes.generate(noise, self._condition(torch.Size((sequences, n_values)), given))
        return values if self.groups == 1 else values.unflatten(1, (frames, self.groups))

    def _condition(self, shape: torch.Size, given: Tensor | None) -> Tensor | None:
        """What each of values [B, N] is told, or several at once are: [B, N or N / n, C]."""
        if (given is None) != (self.given is None):
            raise ValueError("coarser codes must be given where the prior was made for some, and only there")
        told = None
        if given is not None and self.given is not None:
            parts = given.unsqueeze(-1) if self.groups == 1 else given
            told = torch.stack([of_group(parts[..., g]) for g, of_group in enumerate(self.given)]).sum(dim=0)
        if self.group is None:
            return told
        sequences, n_values = shape
        groups = self.group(torch.arange(n_values, device=self.group.weight.device) % self.groups)
        condition = groups.expand(sequences, -1, -1)
        return condition if told is None else condition + told.repeat_interleave(n_values // told.shape[1], dim=1)
