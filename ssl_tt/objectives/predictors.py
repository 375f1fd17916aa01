"""What CPC knows of the future at each step ahead, before that step's linear map: the context, or more made of it.

Predictors are used by the loss alone. What is probed, streamed and exported ends at the context.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.objectives.config import ContrastConfig

# Frames that a transformer attends to if the recipe does not say; CPC_audio's windows have 128 at 100 Hz.
ATTENTION_FRAMES = 128


class Predictor(nn.Module, ABC):
    """What is known of the frames at several distances ahead of the context, nearest first."""

    @abstractmethod
    def forward(self, context: Tensor, ahead: Sequence[int], temperature: float) -> Iterator[Tensor]:
        """[B, T, C] -> [B, T - frames, C] for each number of frames ahead, one at a time, over the temperature.

        What is known of frame t + frames depends on no context after t.
        """


class Linear(Predictor):
    """The context itself at every step: the linear maps are all there is (van den Oord et al. 2018, section 2.3)."""

    def forward(self, context: Tensor, ahead: Sequence[int], temperature: float) -> Iterator[Tensor]:
        context = context / temperature
        for frames in ahead:
            yield context[:, :-frames]


class PerStep(Predictor):
    """A network of its own for each step."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, context: Tensor, ahead: Sequence[int], temperature: float) -> Iterator[Tensor]:
        for network, frames in zip(self.networks, ahead, strict=True):
            yield network(context[:, :-frames]) / temperature


class Rollout(Predictor):
    """A recurrent cell that walks into the future: p_0 = c_t, p_h = GRU(p_{h-1}), the same cell at every step.

    As the beliefs of CPC|Action are rolled out (Guo et al. 2018, arXiv 1811.06407, section 3), without actions:
    in place of one the cell hears its own state. So what is known of step h comes from step h - 1 alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(channels, channels)

    def forward(self, context: Tensor, ahead: Sequence[int], temperature: float) -> Iterator[Tensor]:
        known = context
        for frames in ahead:
            known = known[:, : context.shape[1] - frames]
            rows = known.flatten(0, 1)
            known = self.cell(rows, rows).view_as(known)
            yield known / temperature


class CausalTransformer(nn.Module):
    """One transformer layer over frame t and those before, [B, T, C] -> [B, T, C], `frames` in all.

    The predictor of CPC_audio (Rivière et al. 2020, arXiv 2002.02848, section 3): 8 heads, ReLU and 8 C channels in
    between, norms after the sums. Instead of its relative keys each head has a learnt weight for each distance (Raffel
    et al. 2020, arXiv 1910.10683, section 2.1), which needs no window of fixed length; it has no dropout.
    """

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.heads = math.gcd(8, channels)
        self.project = nn.Linear(channels, 3 * channels, bias=False)
        self.join = nn.Linear(channels, channels, bias=False)
        self.distance = nn.Parameter(torch.zeros(self.heads, frames))
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, 8 * channels), nn.ReLU(), nn.Linear(8 * channels, channels)
        )
        self.end_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        # [B, T, 3 C] -> queries, keys and values [B, heads, T, C / heads]
        q, k, v = self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        time = torch.arange(x.shape[1], device=x.device)
        back = time[:, None] - time
        frames = self.distance.shape[1]
        weights = self.distance[:, back.clamp(0, frames - 1)]
        weights = weights.masked_fill((back < 0) | (back >= frames), -torch.inf)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=weights.to(q.dtype))
        x = self.norm(x + self.join(found.transpose(1, 2).flatten(2)))
        return cast(Tensor, self.end_norm(x + self.feed_forward(x)))


def build_predictor(config: ContrastConfig, channels: int) -> Predictor:
    """Predictor of a recipe for one horizon, over a context of so many channels."""
    match config.predictor:
        case "linear":
            return Linear()
        case "mlp":
            return PerStep(nn.Sequential(nn.Linear(channels, channels), nn.ReLU()) for _ in range(config.steps))
        case "recurrent":
            return Rollout(channels)
        case "transformer":
            frames = config.attention_frames or ATTENTION_FRAMES
            return PerStep(CausalTransformer(channels, frames) for _ in range(config.steps))
