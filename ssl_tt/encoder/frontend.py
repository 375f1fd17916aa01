"""From samples to the features that the stacks see: one front end, or several side by side.

Every front end is causal, frame t ends with sample (t + 1) * hop - 1, and maps samples as
`features, state = frontend(samples, state=None)`, [B, N] -> [B, N // hop, M]. Samples that do not fill a hop wait in
the state.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from ssl_tt.encoder.config import FrontEndConfig, JoinedConfig, LogMelConfig, ProsodyConfig, WaveformConfig
from ssl_tt.encoder.logmel import LogMel
from ssl_tt.encoder.prosody import Prosody
from ssl_tt.encoder.waveform import Waveform


class Joined(nn.Module):
    """Front ends of one hop side by side, their features joined in order: [B, N] -> [B, N // hop, M]."""

    def __init__(self, config: JoinedConfig) -> None:
        super().__init__()
        self.config = config
        self.parts = nn.ModuleList(build_frontend(part) for part in config.parts)

    def forward(self, samples: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        features, states = [], []
        for part, past in zip(self.parts, state or (None,) * len(self.parts), strict=True):
            found, past = part(samples, past)
            features.append(found)
            states.append(past)
        return torch.cat(features, dim=-1), tuple(states)

    @property
    def differentiable(self) -> bool:
        """Whether features have a gradient to every sample that they depend on."""
        return all(part.differentiable for part in self._fronts)

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates for a second of one channel."""
        return sum(part.macs_per_second for part in self._fronts)

    @property
    def _fronts(self) -> Iterable["FrontEnd"]:
        return cast(Iterable[FrontEnd], self.parts)


FrontEnd = LogMel | Waveform | Prosody | Joined


def build_frontend(config: FrontEndConfig) -> FrontEnd:
    """The front end of a recipe; new weights, where it has any, come from torch's generator."""
    match config:
        case LogMelConfig():
            return LogMel(config)
        case WaveformConfig():
            return Waveform(config)
        case ProsodyConfig():
            return Prosody(config)
        case JoinedConfig():
            return Joined(config)
