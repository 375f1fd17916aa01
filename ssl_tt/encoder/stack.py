"""A stack: strided pre-layer, residual blocks of growing dilation, output layer; [B, T, C] with states, all causal."""

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.conv import CausalConv1d, ChannelNorm

Normalisation = Literal["none", "channel"]
StackState = tuple[Tensor, ...]


def _norm(normalisation: Normalisation, channels: int) -> nn.Module:
    return ChannelNorm(channels) if normalisation == "channel" else nn.Identity()


def _initialise(conv: nn.Conv1d, gain: float) -> None:
    """Keep the mean square: gain 1 for inputs of zero mean and unit variance, sqrt(2) after a ReLU (He et al. 2015)."""
    nn.init.normal_(conv.weight, std=gain / math.sqrt(conv.weight[0].numel()))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class ResidualBlock(nn.Module):
    """x + two weight layers (He et al. 2016, arXiv 1603.05027): norm, ReLU, dilated conv, ReLU, 1x1 conv.

    [B, T, C] -> [B, T, C]. Both families' papers use ReLU here, which is also the cheapest on a CPU.
    `branches` is how many such blocks add up, so that together they add a variance of one at the start.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilation: int,
        normalisation: Normalisation = "channel",
        dropout: float = 0.0,
        branches: int = 1,
    ) -> None:
        super().__init__()
        self.norm = _norm(normalisation, channels)
        self.dilated = CausalConv1d(channels, channels, kernel, dilation)
        self.project = CausalConv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)
        _initialise(self.dilated, math.sqrt(2))
        _initialise(self.project, math.sqrt(2 / branches))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.dilated(F.relu(self.norm(x)), state)
        h, _ = self.project(F.relu(h))
        return x + self.dropout(h), state


class OutputLayer(nn.Module):
    """Norm, ReLU and a 1x1 conv to the channels of the representation: [B, T, C] -> [B, T, C_out]."""

    def __init__(self, channels: int, output_channels: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.norm = _norm(normalisation, channels)
        self.project = CausalConv1d(channels, output_channels, 1)
        _initialise(self.project, math.sqrt(2))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.project(F.relu(self.norm(x)), state)


class Stack(nn.Module):
    """Pre-layer, residual blocks and output layer in a row: features [B, T * stride, M] -> [B, T, C_out]."""

    def __init__(self, stack: StackConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        prelayer = CausalConv1d(
            encoder.feature_channels, encoder.channels, encoder.prelayer_kernel, stride=encoder.stride
        )
        _initialise(prelayer, 1.0)
        self.prelayer = prelayer
        self.blocks = nn.ModuleList(
            ResidualBlock(
                encoder.channels,
                stack.kernel,
                dilation,
                encoder.normalisation,
                encoder.dropout,
                branches=len(stack.dilations),
            )
            for dilation in stack.dilations
        )
        self.output = OutputLayer(encoder.channels, encoder.output_channels, encoder.normalisation)

    def forward(self, x: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        outputs, state = self.layers(x, state)
        return outputs["output"], state

    def layers(self, x: Tensor, state: StackState | None = None) -> tuple[dict[str, Tensor], StackState]:
        """Output of each layer by name, in order: `prelayer`, `block1` ..., `output`; each [B, T, C]."""
        names = ("prelayer", *(f"block{i}" for i in range(1, len(self.blocks) + 1)), "output")
        modules = (self.prelayer, *self.blocks, self.output)
        outputs: dict[str, Tensor] = {}
        states: list[Tensor] = []
        for name, module, past in zip(names, modules, state or (None,) * len(modules), strict=True):
            x, past = module(x, past)
            outputs[name] = x
            states.append(past)
        return outputs, tuple(states)
