"""Sequences of integers, one after another: a gated causal stack tells how likely the next one is."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.conv import CausalConv1d, Ring
from ssl_tt.encoder.receptive_field import SKIP, compose, layer, union
from ssl_tt.encoder.stack import GatedBlock
from ssl_tt.objectives.distributions import Distribution


class Autoregressive(nn.Module):
    """p(v_1 ... v_N) as the product of p(v_n | v_1 ... v_n-1, condition), by WaveNet (van den Oord et al. 2016, arXiv
    1609.03499): gated blocks of dilated causal convolutions, the sum of their skips, and two 1x1 layers.

    Values [B, N] int64. The condition [B, T, C'] is given where `condition_channels` is above 0; its T divides N, and
    frame t of it is known to the values of [t * N / T, (t + 1) * N / T), and to those after. At the start every value
    has the distribution's own `initial` probability, whatever came before.
    """

    def __init__(
        self,
        distribution: Distribution,
        channels: int,
        kernel: int,
        dilations: Sequence[int],
        condition_channels: int = 0,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.distribution = distribution
        self.blocks = nn.ModuleList(
            GatedBlock(channels, kernel, dilation, "none", branches=len(dilations), last=place == len(dilations))
            for place, dilation in enumerate(dilations, start=1)
        )
        self.condition = nn.Linear(condition_channels, len(dilations) * 2 * channels) if condition_channels else None
        self.hidden = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, distribution.parameters_each)
        nn.init.zeros_(self.output.weight)
        self.output.bias.data = distribution.initial()
        self.receptive_field = compose(*(union(SKIP, layer(kernel, dilation)) for dilation in dilations)).span
        """How many of the values before it the next one depends on, the first to the last."""

    def forward(self, values: Tensor, condition: Tensor | None = None, heard: Tensor | None = None) -> Tensor:
        """-log p of each value, nats [B, N], fp32; all at once, each after the true values before it.

        Or after those of `heard` [B, N], what the network is told of them.
        """
        return self.distribution.nats(self.parameters_of(values if heard is None else heard, condition), values)

    def parameters_of(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        """What the distribution of each value is told by, [B, N, parameters_each], given the values before it."""
        heard = F.pad(self.distribution(values[:, :-1]), (0, 0, 1, 0))
        return self._run(heard, self._conditions(condition), [None] * len(self.blocks))

    @torch.inference_mode()
    def generate(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """Values [B, N] drawn one after another by uniform noise [B, N, draws].

        The layers keep what they need of the past, so that a value costs the same however many there are.
        """
        rings = [Ring(cast(CausalConv1d, block.dilated), len(noise)) for block in self.blocks]
        conditions = self._conditions(condition)
        repeat = noise.shape[1] // conditions[0].shape[1] if conditions else 1
        heard = self.output.weight.new_zeros(len(noise), 1, self.channels)
        values = []
        for n in range(noise.shape[1]):
            if n % repeat == 0:
                now = [each[:, n // repeat, None] for each in conditions]
            value = self.distribution.draw(self._run(heard, now, rings), noise[:, n : n + 1])
            heard = self.distribution(value)
            values.append(value)
        return torch.cat(values, dim=1)

    def _conditions(self, condition: Tensor | None) -> list[Tensor]:
        """What each block is given of the condition, [B, T, 2C] each."""
        if (condition is None) != (self.condition is None):
            raise ValueError("a condition must be given where the network was made for one, and only there")
        return [] if self.condition is None else list(self.condition(condition).chunk(len(self.blocks), dim=-1))

    def _run(self, heard: Tensor, conditions: list[Tensor], states: Sequence[Ring | None]) -> Tensor:
        given: Sequence[Tensor | None] = conditions or [None] * len(self.blocks)
        x = F.pad(heard, (0, self.channels))  # the stream, and the sum of skips
        for block, state, condition in zip(self.blocks, states, given, strict=True):
            x, _ = block(x, state, condition)
        return self.output(F.relu(self.hidden(F.relu(x))))
