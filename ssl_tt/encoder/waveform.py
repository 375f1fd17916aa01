"""Causal strided convolutions on samples, CPC's front end with all of its padding on the left.

Padded symmetrically, as in CPC_audio, that front end sees 152 samples past the end of its frame. Here each layer's past
is its state, so the 465 samples that frame t sees end at (t + 1) * hop.
"""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import WaveformConfig
from ssl_tt.encoder.conv import CausalConv1d, ChannelNorm

WaveformState = tuple[Tensor, ...]


class WaveformLayer(nn.Module):
    """Strided conv, norm over the channels of each frame, ReLU: [B, T * stride, C_in] -> [B, T, C]."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(in_channels, channels, kernel, stride=stride)
        self.norm = ChannelNorm(channels)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, state = self.conv(x, state)
        return F.relu(self.norm(x)), state


class Waveform(nn.Module):
    """Features learned from samples (van den Oord et al. 2018, arXiv 1807.03748): [B, N] -> [B, N // hop, C].

    Norm over the channels of each frame as in CPC_audio (arXiv 2002.02848). The state holds the past of each layer.
    """

    differentiable = True

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (1, *[config.channels] * (len(config.strides) - 1))
        self.layers = nn.ModuleList(
            WaveformLayer(in_channels, config.channels, kernel, stride)
            for in_channels, kernel, stride in zip(inputs, config.kernels, config.strides, strict=True)
        )

    def forward(self, samples: Tensor, state: WaveformState | None = None) -> tuple[Tensor, WaveformState]:
        layers = list(cast(Iterable[WaveformLayer], self.layers))
        x, states = samples.to(next(self.parameters()).dtype)[..., None], []
        for layer, past in zip(layers, state or (None,) * len(layers), strict=True):
            x, past = layer(x, past)
            states.append(past)
        return x, tuple(states)

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates for a second of one channel."""
        rate, total = float(self.config.sample_rate_hz), 0.0
        for layer in cast(Iterable[WaveformLayer], self.layers):
            rate /= layer.conv.stride[0]
            total += layer.conv.weight.numel() * rate
        return total
