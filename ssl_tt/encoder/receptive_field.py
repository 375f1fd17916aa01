"""What one frame of the encoder sees, computed from kernels, dilations and strides and checked against the gradient.

A layer is told by its lags. Output frame t of a causal layer ends with input frame (t + 1) * stride - 1; lag r means r
frames before that. The taps of a kernel have the lags 0, d, 2d, ..., (k - 1) * d. One stride of the layer
below is `stride` of its input frames, so a lag r above and a lag l below meet at r * stride + l: layers in a row add
their lags (`compose`), layers side by side on one input pool them (`union`).

So the span of a row is 1 + sum((k - 1) * d * product of the earlier strides): a kernel of 3 with dilation 2 spans 5
frames, 1 + 2 * 2. (The post that this package follows says 6, as 3 * 2; that counts one step too many.) The span alone
hides that dilation leaves holes: of those 5 frames, 3 are reached.

Every layer here is one-dimensional. One over time and frequency has a reach along each axis, and each composes by
itself; along frequency, lag r means r bands below the middle of the kernel, and padding is no input.

Blocks of both kinds reach alike. All that WaveNet's sum of skips holds went through the newest tap of the later blocks
too, so that a stack reaches what its blocks in a row reach.

This module does without torch, but for the measurement.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ssl_tt import timebase
from ssl_tt.encoder.config import (
    EncoderConfig,
    FrontEndConfig,
    JoinedConfig,
    LogMelConfig,
    ProsodyConfig,
    StackConfig,
    WaveformConfig,
)
from ssl_tt.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_tt.encoder.encoder import Encoder
    from ssl_tt.encoder.frontend import FrontEnd


class Reach(NamedTuple):
    """Input frames that an output frame sees: sorted lags (negative ones lie ahead), and input frames a frame out."""

    lags: np.ndarray
    stride: int

    @property
    def span(self) -> int:
        """Frames from the first reached to the last, holes included."""
        return int(self.lags[-1] - self.lags[0]) + 1


def layer(kernel: int, dilation: int = 1, stride: int = 1, lookahead: int = 0) -> Reach:
    """Reach of one convolution; `lookahead` frames beyond the stride's end, 0 if it is causal."""
    return Reach(np.arange(kernel) * dilation - lookahead, stride)


SKIP = layer(1)
"""A skip connection. It passes on the newest frame, which every kernel reaches too, so a skip never fills a hole."""

Axis = Literal["time", "frequency"]


def compose(first: Reach, *later: Reach) -> Reach:
    """Reach of layers in a row, from the input on."""
    for then in later:
        few, many = sorted((first.lags, then.lags * first.stride), key=len)
        start = few[0] + many[0]
        reached = np.zeros(few[-1] + many[-1] - start + 1, dtype=bool)
        for lag in few:
            reached[many + (lag - start)] = True
        first = Reach(np.flatnonzero(reached) + start, first.stride * then.stride)
    return first


def union(*parallel: Reach) -> Reach:
    """Reach of layers side by side whose outputs are added or concatenated; their strides must be equal."""
    strides = {reach.stride for reach in parallel}
    if len(strides) != 1:
        raise ValueError(f"layers side by side have strides {sorted(strides)}, expected one stride")
    return Reach(np.unique(np.concatenate([reach.lags for reach in parallel])), strides.pop())


@dataclass(frozen=True)
class ReceptiveField:
    """What one output frame of an encoder sees, in front-end frames, samples and milliseconds.

    Offsets count back from the newest one: frame 0 is the front-end frame that ends with the output frame, sample 0 the
    last sample of its hop. Nothing positive means no look-ahead.
    """

    config: EncoderConfig

    @property
    def span_frames(self) -> int:
        """Front-end frames from the first reached to the last: 1 + sum((k - 1) * d * earlier strides), widest stack.

        Combined at every layer, the widest of each layer.
        """
        return self._reach.span

    @property
    def stack_span_frames(self) -> tuple[int, ...]:
        """Span of each stack by itself, front-end frames."""
        return tuple(_stack_reach(self.config, stack).span for stack in self.config.stacks)

    @cached_property
    def stack_reached(self) -> tuple[tuple[int, ...], ...]:
        """Offsets of the front-end frames that each stack reaches by itself, ascending."""
        return tuple(_offsets(_stack_reach(self.config, stack)) for stack in self.config.stacks)

    @cached_property
    def reached(self) -> tuple[int, ...]:
        """Offsets of the front-end frames that some stack reaches, ascending: ..., -2, -1, 0."""
        return _offsets(self._reach)

    @property
    def holes(self) -> tuple[int, ...]:
        """Offsets inside the span that no stack reaches, ascending."""
        return tuple(sorted(set(range(self.reached[0], self.reached[-1] + 1)) - set(self.reached)))

    @property
    def coverage(self) -> float:
        """Share of the span's frames that are reached: 1 without holes."""
        return len(self.reached) / self.span_frames

    @property
    def span_samples(self) -> int:
        """Samples from the first reached to the last."""
        frontend = self.config.frontend
        return (self.span_frames - 1) * frontend.hop_samples + _window_reach(self.config).span

    @cached_property
    def reached_samples(self) -> np.ndarray:
        """Offsets of the reached samples, ascending; windows overlap, so a hole of one frame may be seen in part."""
        return -compose(_window_reach(self.config), self._reach).lags[::-1]

    @property
    def span_bands(self) -> int:
        """Mel bands that a band of the blocks sees, at most; the output layer, which folds all bands, sees them all."""
        return max(len(self.reached_bands(band)) for band in range(self.config.bands))

    def reached_bands(self, band: int) -> tuple[int, ...]:
        """The mel bands that a band of the blocks sees, counted from 0; all where the bands are channels."""
        every = range(self.config.feature_channels)
        if self.config.convolution == "1d":
            return tuple(every)
        middle = band * self._reach_in_frequency.stride
        return tuple(middle + offset for offset in _offsets(self._reach_in_frequency) if middle + offset in every)

    @property
    def lookahead_samples(self) -> int:
        """Samples that a frame sees beyond its own hop."""
        return max(self.reached[-1], 0) * self.config.frontend.hop_samples

    @property
    def hop_samples(self) -> int:
        return self.config.frontend.hop_samples * self.config.stride

    @property
    def span_seconds(self) -> float:
        return timebase.seconds(self.span_samples, self.config.frontend.sample_rate_hz)

    @property
    def span_ms(self) -> float:
        return 1000 * self.span_seconds

    @property
    def lookahead_ms(self) -> float:
        return 1000 * timebase.seconds(self.lookahead_samples, self.config.frontend.sample_rate_hz)

    @property
    def hop_ms(self) -> float:
        return 1000 * timebase.seconds(self.hop_samples, self.config.frontend.sample_rate_hz)

    @property
    def frontend_hop_ms(self) -> float:
        """Milliseconds from one front-end frame to the next."""
        return self.hop_ms / self.config.stride

    @cached_property
    def _reach(self) -> Reach:
        return _encoder_reach(self.config, "time")

    @cached_property
    def _reach_in_frequency(self) -> Reach:
        return _encoder_reach(self.config, "frequency")

    def table(self) -> str:
        """Lines for the terminal: each stack, all together, the hop and the look-ahead."""
        frontend = self.config.frontend
        tail = _window_reach(self.config).span - frontend.hop_samples

        def row(name: str, stack: StackConfig | None, span: int, reached: Sequence[int]) -> tuple[str, ...]:
            span_samples = span * frontend.hop_samples + tail
            milliseconds = 1000 * timebase.seconds(span_samples, frontend.sample_rate_hz)
            kernel, dilations = (str(stack.kernel), _listed(stack.block_dilations)) if stack else ("", "")
            counts = (span, len(reached), span - len(reached), span_samples)
            return name, kernel, dilations, *map(str, counts), f"{milliseconds:.1f}"

        rows: list[tuple[str, ...]] = [("stack", "kernel", "dilations", "span", "reached", "holes", "samples", "ms")]
        for i, stack in enumerate(self.config.stacks):
            rows.append(row(str(i + 1), stack, self.stack_span_frames[i], self.stack_reached[i]))
        rows.append(row("all", None, self.span_frames, self.reached))
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        combined = ", stacks combined at every layer" if self.config.combine_at == "every_layer" else ""
        bands = (
            [
                f"{self.config.bands} bands of {self.config.feature_channels} mel bands inside, each sees up to "
                f"{self.span_bands}"
            ]
            if self.config.convolution == "2d"
            else []
        )
        return "\n".join(
            (
                f"receptive field, in front-end frames of {self.frontend_hop_ms:g} ms{combined}",
                *lines,
                f"one frame out each {self.hop_ms:g} ms ({self.hop_samples} samples), "
                f"look-ahead {self.lookahead_samples} samples",
                *bands,
            )
        )

    def warnings(self, window_seconds: float, longest_seconds: float = math.inf) -> list[str]:
        """What a user should know before training on such windows, a sentence each; empty if all is well.

        longest_seconds: length of the longest conversation to train on, infinite if it is not known.
        """
        found = []
        if self.holes:
            found.append(
                f"a frame reaches {len(self.reached)} of the {self.span_frames} frames it spans: dilation leaves "
                f"{len(self.holes)} holes; let each dilation be at most the span so far"
            )
        whole_share = 1 - self.span_seconds / window_seconds
        if longest_seconds < self.span_seconds:
            found.append(_too_long(self, longest_seconds, "data.pretrain"))
        elif whole_share < 0:
            found.append(_too_short(self, window_seconds))
        elif whole_share < 0.5:
            found.append(
                f"only {whole_share:.0%} of the frames of a {window_seconds:g} s window see a whole receptive field of "
                f"{self.span_seconds:.2f} s, the others see padding too; longer windows help"
            )
        return found


def receptive_field(encoder: Encoder | EncoderConfig) -> ReceptiveField:
    """Receptive field of an encoder or of its settings, from samples through front end and strides to all stacks."""
    return ReceptiveField(encoder if isinstance(encoder, EncoderConfig) else encoder.config)


def check_window(field: ReceptiveField, window_seconds: float) -> None:
    """Raise InputError if a training window is shorter than the receptive field."""
    if window_seconds < field.span_seconds:
        raise InputError(_too_short(field, window_seconds))


def check_conversations(field: ReceptiveField, longest_seconds: float, corpora: str) -> None:
    """Raise InputError if a frame sees more than the longest conversation of some corpora holds."""
    if longest_seconds < field.span_seconds:
        raise InputError(_too_long(field, longest_seconds, corpora))


def _too_short(field: ReceptiveField, window_seconds: float) -> str:
    return (
        f"window {window_seconds:g} s is shorter than the receptive field {field.span_seconds:.2f} s: raise "
        f"data.window_seconds or {_narrower(field)}"
    )


def _too_long(field: ReceptiveField, longest_seconds: float, corpora: str) -> str:
    return (
        f"encoder: a frame sees {field.span_seconds:.2f} s, the longest conversation of {corpora} lasts "
        f"{longest_seconds:.2f} s: {_narrower(field)}, or add longer conversations"
    )


def _narrower(field: ReceptiveField) -> str:
    """What makes the receptive field smaller."""
    widest = int(np.argmax(field.stack_span_frames))
    stack = field.config.stacks[widest]
    drop = "shorten its dilations" if len(field.config.stacks) == 1 else f"drop stack {widest + 1}"
    return f"{drop} (kernel {stack.kernel}, dilations {_listed(stack.block_dilations)})"


class MeasuredReach(NamedTuple):
    """What the gradient of an output frame touches, as offsets like those of `ReceptiveField`."""

    frames: tuple[int, ...]
    samples: np.ndarray
    bands: tuple[tuple[int, ...], ...]
    """Mel bands that each band of the blocks sees."""


def measured_reach(encoder: Encoder, seed: int = 0) -> MeasuredReach:
    """Reached front-end frames, samples and bands by gradient.

    On the encoder's `positive_twin`, positive samples and positive features; what the gradient of an output frame
    touches is then exactly what the frame sees. Where a front end has no gradient, samples are changed one by one
    instead (slow: for small settings). One frame out follows it, whose samples would show a look-ahead.
    """
    import torch

    config = encoder.config
    twin = positive_twin(encoder)
    n_frames = receptive_field(encoder).span_samples // encoder.hop_samples + 3
    newest = n_frames - 2
    generator = torch.Generator().manual_seed(seed)  # leaves the global one alone
    shape = (1, n_frames * config.stride, config.feature_channels)
    features = 0.1 + torch.rand(shape, generator=generator, dtype=torch.float64)
    features.requires_grad_()
    layers = twin.feature_layers(features)
    (seen,) = torch.autograd.grad(layers["encoder"][:, newest].sum(), features, retain_graph=True)
    frames = np.flatnonzero(seen[0].abs().sum(dim=-1).numpy()) - ((newest + 1) * config.stride - 1)

    noise = torch.randn(1, n_frames * encoder.hop_samples, dtype=torch.float64, generator=generator)
    samples = noise.abs().requires_grad_()
    if twin.frontend.differentiable:
        (heard,) = torch.autograd.grad(twin.features(samples)[0], samples, seen)
    else:
        heard = _moved(twin.frontend, samples.detach(), seen[0].any(dim=-1))
    heard_offsets = np.flatnonzero(heard[0].numpy()) - ((newest + 1) * encoder.hop_samples - 1)

    bands: dict[int, set[int]] = {band: set() for band in range(config.bands)}
    for name, layer in layers.items():
        if "block" in name:
            for band, channels in enumerate(layer[0, newest].chunk(config.bands)):
                (seen,) = torch.autograd.grad(channels.sum(), features, retain_graph=True)
                bands[band] |= set(np.flatnonzero(seen[0].abs().sum(dim=0).numpy()).tolist())
    return MeasuredReach(tuple(frames.tolist()), heard_offsets, tuple(tuple(sorted(b)) for b in bands.values()))


def positive_twin(encoder: Encoder) -> Encoder:
    """A copy in double precision with equal positive weights and no normalisation.

    Of positive features no ReLU hides a path and nothing cancels, so that whatever a frame sees can move it. Weights
    well below their fan-in's inverse keep the gates of deep stacks from saturating.
    """
    import torch
    from torch.nn.utils import parametrize

    from ssl_tt.encoder.conv import CausalConv, ChannelNorm

    twin = copy.deepcopy(encoder).double().eval()
    for module in list(twin.modules()):
        if isinstance(module, CausalConv):
            positive = torch.full_like(module.weight.detach(), 0.5 / module.weight[0].numel())
            if parametrize.is_parametrized(module):  # weight normalisation finds the length and the direction itself
                module.weight = positive
            else:
                module.weight.data = positive
            assert module.bias is not None
            torch.nn.init.zeros_(module.bias)
        for name, child in module.named_children():
            if isinstance(child, ChannelNorm):
                setattr(module, name, torch.nn.Identity())
    return twin


def _moved(frontend: FrontEnd, samples: Tensor, seen: Tensor) -> Tensor:
    """Which samples [1, N] move a front-end frame that is seen [T], each tried by itself."""
    import torch

    before, _ = frontend(samples)
    moved = torch.zeros(samples.shape, dtype=torch.bool)
    for places in torch.arange(samples.shape[1]).split(64):
        changed = samples.repeat(len(places), 1)
        changed[torch.arange(len(places)), places] += 10.0
        after, _ = frontend(changed)
        moved[0, places] = (after != before)[:, seen].flatten(1).any(dim=1)
    return moved


def _encoder_reach(config: EncoderConfig, axis: Axis) -> Reach:
    if config.combine_at == "end":
        return union(*(_stack_reach(config, stack, axis) for stack in config.stacks))
    first, *later = zip(*(_block_reaches(config, stack, axis) for stack in config.stacks), strict=True)
    prelayers = (_prelayer_reach(config, stack, axis) for stack in config.stacks)
    started = union(*(compose(below, block) for below, block in zip(prelayers, first, strict=True)))
    return compose(started, *(union(*blocks) for blocks in later))


def _stack_reach(config: EncoderConfig, stack: StackConfig, axis: Axis = "time") -> Reach:
    return compose(_prelayer_reach(config, stack, axis), *_block_reaches(config, stack, axis))


def _prelayer_reach(config: EncoderConfig, stack: StackConfig, axis: Axis) -> Reach:
    layers = config.prelayers(stack)
    if axis == "time":
        return compose(*(layer(each.kernel, stride=each.stride) for each in layers))
    return compose(_across_bands(config, config.band_stride), *[_across_bands(config)] * (len(layers) - 1))


def _block_reaches(config: EncoderConfig, stack: StackConfig, axis: Axis) -> list[Reach]:
    if axis == "time":
        return [union(SKIP, layer(stack.kernel, dilation)) for dilation in stack.block_dilations]
    return [union(SKIP, _across_bands(config))] * len(stack.block_dilations)


def _across_bands(config: EncoderConfig, stride: int = 1) -> Reach:
    return layer(config.band_kernel, stride=stride, lookahead=config.band_kernel // 2)


def frontend_reach(frontend: FrontEndConfig) -> Reach:
    """Samples that a frame of the front end sees, as a layer over samples whose stride is the hop."""
    match frontend:
        case LogMelConfig():  # the first weight of a periodic Hann window is zero: unseen
            return layer(frontend.window_samples - 1, stride=frontend.hop_samples)
        case WaveformConfig():
            rows = zip(frontend.kernels, frontend.strides, strict=True)
            return compose(*(layer(kernel, stride=stride) for kernel, stride in rows))
        case ProsodyConfig():  # speaking rate sees the windows of its last frames
            window = layer(frontend.window_samples, stride=frontend.hop_samples)
            return compose(window, layer(frontend.rate_window_frames))
        case JoinedConfig():
            return union(*map(frontend_reach, frontend.parts))


def _window_reach(config: EncoderConfig) -> Reach:
    return frontend_reach(config.frontend)


def _offsets(reach: Reach) -> tuple[int, ...]:
    return tuple((-reach.lags[::-1]).tolist())


def _listed(dilations: Sequence[int]) -> str:
    return ", ".join(map(str, dilations))
