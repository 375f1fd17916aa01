"""A stack: strided pre-layers, blocks of growing dilation, output layer; [B, T, C] with states, all causal.

Over time and frequency a stack works on [B, T, F, C] and takes and gives [B, T, C] like any other: the mel bands enter
as F bands of one channel, and the output layer folds what is left of them into its channels.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.conv import CausalConv, CausalConv1d, CausalConv2d, ChannelNorm, Ring, SeparableConv

Normalisation = Literal["none", "channel", "weight"]
StackState = tuple[Tensor, ...]

# E[tanh(a)^2 sigmoid(b)^2] of independent standard normal a and b: 0.394 * 0.293.
GATE_MEAN_SQUARE = 0.1157


class Frequency(NamedTuple):
    """The frequency axis of a layer over time and frequency: how many bands enter, and what it does with them."""

    bands: int
    kernel: int
    stride: int = 1


def channel_norm(normalisation: Normalisation, channels: int) -> nn.Module:
    """Layer normalisation of each frame's channels where that is the normalisation, or nothing."""
    return ChannelNorm(channels) if normalisation == "channel" else nn.Identity()


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    dilation: int = 1,
    stride: int = 1,
    groups: int = 1,
    frequency: Frequency | None = None,
) -> CausalConv:
    if frequency is None:
        return CausalConv1d(in_channels, out_channels, kernel, dilation, stride, groups)
    bands, frequency_kernel, frequency_stride = frequency
    return CausalConv2d(
        in_channels, out_channels, kernel, frequency_kernel, bands, dilation, stride, frequency_stride, groups
    )


def _pointwise(in_channels: int, out_channels: int, frequency: Frequency | None = None) -> CausalConv:
    return _convolution(in_channels, out_channels, frequency=frequency and Frequency(frequency.bands, kernel=1))


def _dilated(
    channels: int, out_channels: int, kernel: int, dilation: int, separable: bool, frequency: Frequency | None
) -> nn.Module:
    if not separable:
        return _convolution(channels, out_channels, kernel, dilation, frequency=frequency)
    depthwise = _convolution(channels, channels, kernel, dilation, groups=channels, frequency=frequency)
    return SeparableConv(depthwise, _pointwise(channels, out_channels, frequency))


def _initialise(layer: nn.Module, gain: float, normalisation: Normalisation) -> None:
    """Keep the mean square: gain 1 for inputs of zero mean and unit variance, sqrt(2) after a ReLU (He et al. 2015).

    Weight normalisation (Salimans and Kingma 2016, arXiv 1602.07868) starts from these weights.
    """
    if isinstance(layer, SeparableConv):
        _initialise(layer.depthwise, gain, normalisation)
        _initialise(layer.pointwise, 1.0, normalisation)
        return
    conv = cast(CausalConv, layer)
    nn.init.normal_(conv.weight, std=gain / math.sqrt(conv.weight[0].numel()))
    _finish(conv, normalisation)


def _initialise_as_mean(mix: CausalConv, normalisation: Normalisation) -> None:
    """Let a 1x1 conv of sequences that are joined begin as their mean."""
    n_sequences = mix.in_channels // mix.out_channels
    mean = torch.eye(mix.out_channels).repeat(1, n_sequences) / n_sequences
    mix.weight.data = mean.view_as(mix.weight)
    _finish(mix, normalisation)


def _finish(conv: CausalConv, normalisation: Normalisation) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    if normalisation == "weight":
        parametrizations.weight_norm(conv)


class ResidualBlock(nn.Module):
    """x + two weight layers (He et al. 2016, arXiv 1603.05027): norm, ReLU, dilated conv, ReLU, 1x1 conv.

    [B, T, C] -> [B, T, C], or with `frequency` [B, T, F, C] -> [B, T, F, C]. Both families' papers use ReLU here, which
    is also the cheapest on a CPU. `branches` is how many such blocks add up, so that together they add a variance of
    one at the start.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilation: int,
        normalisation: Normalisation = "channel",
        dropout: float = 0.0,
        branches: float = 1,
        separable: bool = False,
        frequency: Frequency | None = None,
    ) -> None:
        super().__init__()
        self.norm = channel_norm(normalisation, channels)
        self.dilated = _dilated(channels, channels, kernel, dilation, separable, frequency)
        self.project = _pointwise(channels, channels, frequency)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        _initialise(self.dilated, math.sqrt(2), normalisation)
        _initialise(self.project, math.sqrt(2 / branches), normalisation)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.dilated(F.relu(self.norm(x)), state)
        h, _ = self.project(F.relu(h))
        return x + self.dropout(h), state


class GatedBlock(nn.Module):
    """Gated block of WaveNet (van den Oord et al. 2016, arXiv 1609.03499, section 2.3): tanh times sigmoid of one
    dilated conv, whose 1x1 conv adds to the residual stream and to the sum of skips.

    [B, T, 2C] -> [B, T, 2C]: the first half of the channels is the stream, which the block reads, the second the sum of
    skips. The `last` block of a stack gives the sum of skips alone, [B, T, C]: nothing reads its stream. The norm of
    what a block reads is ours; `branches` as in `ResidualBlock`.

    What a gate is conditioned on (section 2.5), [B, T / n, 2C], is added to the dilated conv's output, each frame of it
    to n frames there.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        dilation: int,
        normalisation: Normalisation = "channel",
        dropout: float = 0.0,
        branches: float = 1,
        separable: bool = False,
        frequency: Frequency | None = None,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.norm = channel_norm(normalisation, channels)
        self.dilated = _dilated(channels, 2 * channels, kernel, dilation, separable, frequency)
        self.project = _pointwise(channels, channels if last else 2 * channels, frequency)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        _initialise(self.dilated, 1.0, normalisation)
        _initialise(self.project, math.sqrt(1 / GATE_MEAN_SQUARE / branches), normalisation)

    def forward(
        self, x: Tensor, state: Tensor | Ring | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | Ring]:
        h, state = self.dilated(self.norm(x[..., : self.channels]), state)
        if condition is not None:
            h = (h.unflatten(1, (condition.shape[1], -1)) + condition.unsqueeze(2)).flatten(1, 2)
        content, gate = h.chunk(2, dim=-1)
        h, _ = self.project(torch.tanh(content) * torch.sigmoid(gate))
        return x[..., -h.shape[-1] :] + self.dropout(h), state


class Blocks(nn.ModuleList):
    """The blocks of a stack, one for each dilation; a list to walk, from what `start` makes of the pre-layer's output.

    `stream` is what the next block reads of a sequence between them, `end` what the output layer would read if the
    stack ended there; each [B, T, C] or [B, T, F, C].
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        channels: int,
        kernel: int,
        dilations: Sequence[int],
        branches: float,
        frequency: Frequency | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.gated = encoder.block == "wavenet"
        for place, dilation in enumerate(dilations, start=1):
            common = (channels, kernel, dilation, encoder.normalisation, encoder.dropout, branches, encoder.separable)
            if self.gated:
                self.append(GatedBlock(*common, frequency, last=place == len(dilations)))
            else:
                self.append(ResidualBlock(*common, frequency))

    def start(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, self.channels)) if self.gated else x

    def stream(self, x: Tensor) -> Tensor:
        return x[..., : self.channels] if self.gated else x

    def end(self, x: Tensor) -> Tensor:
        return x[..., -self.channels :] if self.gated else x

    def with_stream(self, x: Tensor, stream: Tensor) -> Tensor:
        """The sequence with another stream for the next block to read."""
        return torch.cat((stream, x[..., self.channels :]), dim=-1) if self.gated else stream


class StridedLayer(nn.Module):
    """Norm, ReLU and a strided conv, for the pre-layers above the first: [B, T, C] -> [B, T // stride, C]."""

    def __init__(
        self, channels: int, kernel: int, stride: int, normalisation: Normalisation, frequency: Frequency | None
    ) -> None:
        super().__init__()
        self.norm = channel_norm(normalisation, channels)
        self.conv = _convolution(channels, channels, kernel, stride=stride, frequency=frequency)
        _initialise(self.conv, math.sqrt(2), normalisation)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.conv(F.relu(self.norm(x)), state)


class OutputLayer(nn.Module):
    """Norm, ReLU and a 1x1 conv to the channels of the representation: [B, T, C] -> [B, T, C_out].

    A sequence [B, T, F, C] of F `bands` is folded before the conv: [B, T, F * C].
    """

    def __init__(self, channels: int, output_channels: int, normalisation: Normalisation, bands: int = 1) -> None:
        super().__init__()
        self.norm = channel_norm(normalisation, channels)
        self.project = CausalConv1d(bands * channels, output_channels, 1)
        _initialise(self.project, math.sqrt(2), normalisation)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.project(_folded(F.relu(self.norm(x))), state)


class Stack(nn.Module):
    """Pre-layers, blocks and output layer in a row: features [B, T * stride, M] -> [B, T, C_out].

    A stack that is combined with others at every layer has no output layer of its own: `EveryLayer` walks through it.
    """

    def __init__(self, stack: StackConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        first, *further = encoder.prelayers(stack)
        every_layer = encoder.combine_at == "every_layer"
        # The mean of n streams has a variance of one if what is added to each starts with n.
        averaged = len(encoder.stacks) if every_layer else 1
        entering, inside = _frequency_axes(encoder)
        prelayer = _convolution(
            1 if entering else encoder.feature_channels,
            encoder.channels,
            first.kernel,
            stride=first.stride,
            frequency=entering,
        )
        _initialise(prelayer, math.sqrt(averaged), encoder.normalisation)
        self.prelayer = prelayer
        self.further_prelayers = nn.ModuleList(
            StridedLayer(encoder.channels, layer.kernel, layer.stride, encoder.normalisation, inside)
            for layer in further
        )
        dilations = stack.block_dilations
        self.blocks = Blocks(encoder, encoder.channels, stack.kernel, dilations, len(dilations) / averaged, inside)
        self.output = None if every_layer else output_layer(encoder, encoder.channels)

    def forward(self, x: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        outputs, state = self.layers(x, state)
        return outputs["output"], state

    def layers(self, x: Tensor, state: StackState | None = None) -> tuple[dict[str, Tensor], StackState]:
        """Output of each layer by name, in order: `prelayer`, `block1` ..., `output`; each [B, T, C].

        That of a block is what the output layer would read if the stack ended there; bands are folded into channels.
        """
        assert self.output is not None
        blocks = self.blocks
        x, states = self.start(x, state)
        outputs = {"prelayer": _folded(blocks.stream(x))}
        for place, block in enumerate(blocks, start=1):
            x, past = block(x, state[len(states)] if state else None)
            outputs[f"block{place}"] = _folded(blocks.end(x))
            states += (past,)
        outputs["output"], past = self.output(blocks.end(x), state[-1] if state else None)
        return outputs, (*states, past)

    def start(self, x: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """From features [B, T * stride, M] through the pre-layers to what the first block takes."""
        if isinstance(self.prelayer, CausalConv2d):
            x = x.unsqueeze(-1)
        states: StackState = ()
        for place, layer in enumerate((self.prelayer, *self.further_prelayers)):
            x, past = layer(x, state[place] if state else None)
            states += (past,)
        return self.blocks.start(x), states

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates for each frame out."""
        total, rate = macs_per_frame(self.blocks) + (macs_per_frame(self.output) if self.output else 0), 1
        for layer in (*reversed(self.further_prelayers), self.prelayer):
            conv = layer.conv if isinstance(layer, StridedLayer) else cast(CausalConv, layer)
            total += rate * conv.macs_per_frame
            rate *= conv.stride[0]
        return total


class EveryLayer(nn.Module):
    """Combines the streams of equal stacks after each block, and their ends in one output layer.

    By `add` the combination is the mean; by `concat` a 1x1 conv of all, which starts as the mean, so that it too passes
    on what the blocks skip.
    """

    def __init__(self, encoder: EncoderConfig) -> None:
        super().__init__()
        n_stacks, channels = len(encoder.stacks), encoder.channels
        joined = encoder.combine == "concat"
        _, inside = _frequency_axes(encoder)
        between = len(encoder.stacks[0].block_dilations) - 1 if joined else 0
        self.mixes = nn.ModuleList(_pointwise(n_stacks * channels, channels, inside) for _ in range(between))
        for mix in self.mixes:
            _initialise_as_mean(cast(CausalConv, mix), encoder.normalisation)
        self.output = output_layer(encoder, channels * (n_stacks if joined else 1))
        self.joined = joined

    def forward(
        self, stacks: Sequence[Stack], features: Tensor, state: tuple[StackState, ...] | None = None
    ) -> tuple[dict[str, Tensor], tuple[StackState, ...]]:
        """Features [B, T * stride, M] -> layers by name, `stack1.block1` ... and `encoder`, and the stacks' states."""
        pasts = state or (None,) * len(stacks)
        started = [stack.start(features, past) for stack, past in zip(stacks, pasts, strict=True)]
        sequences, states = [x for x, _ in started], [past for _, past in started]
        layers = {
            f"stack{i}.prelayer": _folded(stack.blocks.stream(x))
            for i, (stack, x) in enumerate(zip(stacks, sequences, strict=True), start=1)
        }
        for place in range(len(stacks[0].blocks)):
            if place > 0:
                stream = self._combined([s.blocks.stream(x) for s, x in zip(stacks, sequences, strict=True)], place - 1)
                sequences = [s.blocks.with_stream(x, stream) for s, x in zip(stacks, sequences, strict=True)]
            for i, (stack, past) in enumerate(zip(stacks, pasts, strict=True)):
                sequences[i], now = stack.blocks[place](sequences[i], past[len(states[i])] if past else None)
                states[i] += (now,)
                layers[f"stack{i + 1}.block{place + 1}"] = _folded(stack.blocks.end(sequences[i]))
        ends = [stack.blocks.end(x) for stack, x in zip(stacks, sequences, strict=True)]
        layers["encoder"], _ = self.output(torch.cat(ends, dim=-1) if self.joined else _mean(ends))
        return layers, tuple(states)

    def _combined(self, streams: list[Tensor], place: int) -> Tensor:
        return self.mixes[place](torch.cat(streams, dim=-1))[0] if self.joined else _mean(streams)


def output_layer(encoder: EncoderConfig, channels: int) -> OutputLayer:
    """The layer from `channels` inside the stacks to the representation."""
    _, inside = _frequency_axes(encoder)
    return OutputLayer(channels, encoder.output_channels, encoder.normalisation, inside.bands if inside else 1)


def macs_per_frame(module: nn.Module) -> int:
    """Multiply-accumulates of all convolutions inside, for a frame of each."""
    return sum(conv.macs_per_frame for conv in module.modules() if isinstance(conv, CausalConv))


def _frequency_axes(encoder: EncoderConfig) -> tuple[Frequency, Frequency] | tuple[None, None]:
    """The frequency axis of the first pre-layer and that of all later layers; None if frequencies are channels."""
    if encoder.convolution == "1d":
        return None, None
    entering = Frequency(encoder.feature_channels, encoder.band_kernel, encoder.band_stride)
    return entering, Frequency(encoder.bands, encoder.band_kernel)


def _folded(x: Tensor) -> Tensor:
    """[B, T, F, C] -> [B, T, F * C]; what has no bands stays as it is."""
    return x.flatten(2) if x.ndim == 4 else x


def _mean(sequences: list[Tensor]) -> Tensor:
    return sum(sequences[1:], start=sequences[0]) / len(sequences)
