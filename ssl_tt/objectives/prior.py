"""How likely a sequence of codes is: what VQ-VAE leaves uniform while it trains, learned afterwards."""

import torch
from torch import Tensor, nn

from ssl_tt.objectives.autoregressive import Autoregressive
from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.distributions import Categorical


class Prior(nn.Module):
    """p(codes), each given those before it (van den Oord et al. 2017, arXiv 1711.00937, section 3.3).

    With `given`, p(codes | codes of a coarser level), as of VQ-VAE-2's bottom given its top (Razavi et al. 2019, arXiv
    1906.00446, section 3.2), but causal: a frame knows the coarser codes up to the one that covers it. Each starts
    uniform: log2(codes) bits a frame.
    """

    def __init__(self, config: PriorConfig, codes: int, given: int | None = None) -> None:
        """codes: size of the codebook; given: size of that of the coarser level, if there is one."""
        super().__init__()
        self.given = None if given is None else nn.Embedding(given, config.channels)
        self.codes = Autoregressive(
            Categorical(codes, config.channels),
            config.channels,
            config.kernel,
            config.dilations,
            condition_channels=0 if given is None else config.channels,
        )

    def forward(self, codes: Tensor, given: Tensor | None = None) -> Tensor:
        """-log p of each of codes [B, T], nats [B, T]; given [B, T / n], each frame for n of theirs."""
        return self.codes(codes, self._condition(given))

    @torch.inference_mode()
    def sample(self, sequences: int, frames: int, generator: torch.Generator, given: Tensor | None = None) -> Tensor:
        """Codes [sequences, frames], drawn one after another."""
        noise = torch.rand(sequences, frames, self.codes.distribution.draws, generator=generator)
        return self.codes.generate(noise, self._condition(given))

    def _condition(self, given: Tensor | None) -> Tensor | None:
        return self.given(given) if self.given is not None and given is not None else None
