"""What one input frame does to later frames, and which input frames move one frame out: the arrays behind the post.

Convolutions and encoders are the package's own; only the regular convolutions, which see the future, are PyTorch's. The
support of every array, and that of the gradient, is checked against the computed receptive field: a picture that
disagrees with the arithmetic is never drawn.

Torch is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from einops import rearrange

from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.receptive_field import SKIP, Reach, compose, layer, receptive_field, union
from ssl_tt.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor, nn

KERNEL = 3
MAPS = 15
"""Feature maps of the 1-D layers; mel bands of the 2-D ones and of the encoders."""
N_LAYERS = 5
"""Dilated layers of an encoder, and blocks of the ResNet."""
BLOCK_DILATIONS = (3, 2)

# Room enough on both sides; the impulse opens a frame out at strides 1, 2 and 4.
_FRAMES, _IMPULSE = 128, 64
_FUTURE_FRAMES = 8
_SEED = 0

Axes = Literal["1d", "2d"]


class Picture(NamedTuple):
    """Values over time and feature maps (or bands), about a marked input frame, which has offset 0."""

    values: np.ndarray
    """[T, M]."""
    first: int
    """Offset of the input frame where the first column begins."""
    frame: int
    """Input frames that a column covers."""
    reach: Reach
    """What a frame out sees, as computed."""

    @property
    def starts(self) -> np.ndarray:
        """Offset of the input frame where each column begins."""
        return self.first + self.frame * np.arange(len(self.values))


def impulse_responses(
    causal: bool, axes: Axes, dilation: int = 1, stride: int = 1, first_kernel: int = KERNEL
) -> list[Picture]:
    """An impulse and what one, two and three convolutions make of it: all weights one, no bias.

    The impulse is a single one, in the middle map of the marked frame. The first layer has the stride and its own
    kernel. Dilation is along time alone. RunError where the arrays and the computed field differ.
    """
    layers = [(first_kernel, stride), (KERNEL, 1), (KERNEL, 1)]
    x = _inputs(slice(MAPS // 2, MAPS // 2 + 1))
    reach, bands = SKIP, SKIP
    pictures = [_response(x, reach)]
    y = x
    for kernel, step in layers:
        y = _convolution(causal, axes, kernel, dilation, step)(y)
        reach = compose(reach, layer(kernel, dilation, step, lookahead=0 if causal else dilation))
        bands = compose(bands, layer(KERNEL, lookahead=1))
        _check_gradient(x, y, reach, bands if axes == "2d" else None)
        pictures.append(_response(y, reach))
    return pictures


def resnet_responses(all_ones: bool) -> list[Picture]:
    """A frame of ones and what is left of it after each residual block, of dilations 3, 2, 3, 2, 3 in turn.

    With random weights the size of the output; with all weights one its support, every nonzero output a one. RunError
    where the arrays and the computed field differ.
    """
    from ssl_tt.encoder.stack import ResidualBlock

    x = _inputs(slice(None))
    reach = SKIP
    pictures = [_response(x, reach)]
    y = x
    with _seeded():
        for number in range(N_LAYERS):
            dilation = BLOCK_DILATIONS[number % len(BLOCK_DILATIONS)]
            block = ResidualBlock(MAPS, KERNEL, dilation, normalisation="none").double()
            if all_ones:
                _all_ones(block)
            y, _ = block(y)
            reach = compose(reach, union(SKIP, layer(KERNEL, dilation)))
            _check_gradient(x, y, reach)
            pictures.append(_response((y != 0).double() if all_ones else y.abs(), reach))
    return pictures


def post_encoder(
    *stacks: tuple[int, int],
    combine_at: Literal["end", "every_layer"] = "end",
    stride: int = 1,
    prelayer_kernel: int = 1,
) -> EncoderConfig:
    """The post's encoder: stacks of five equal dilated layers (kernel, dilation), added up; random weights.

    Each residual block has one dilated layer and one that mixes channels, so the five are five blocks; the pre-layer
    sees one frame unless told otherwise, and so does the output layer.
    """
    return EncoderConfig(
        frontend=LogMelConfig(mel_bands=MAPS),
        channels=2 * MAPS,
        output_channels=2 * MAPS,
        prelayer_kernel=prelayer_kernel,
        stride=stride,
        stacks=tuple(StackConfig(kernel=kernel, dilations=(dilation,) * N_LAYERS) for kernel, dilation in stacks),
        combine="add",
        combine_at=combine_at,
        normalisation="none",
    )


def encoder_gradient(config: EncoderConfig) -> Picture:
    """Size of the gradient of one frame out by every log-mel input, random weights and input; past and some future.

    The marked frame is the newest that the frame out may see. RunError where the gradient and the computed field
    differ.
    """
    import torch

    from ssl_tt.encoder.encoder import Encoder

    field = receptive_field(config)
    stride = config.stride
    newest = field.span_frames // stride + 1
    n_frames = newest + 1 + -(-_FUTURE_FRAMES // stride)
    with _seeded():
        encoder = Encoder(config).double().eval()
        features = torch.randn(1, n_frames * stride, config.feature_channels, dtype=torch.float64)
    features.requires_grad_()
    z, _ = encoder.encode_features(features)
    (gradient,) = torch.autograd.grad(z[0, newest].sum(), features)
    values = gradient[0].abs().numpy()
    first = -((newest + 1) * stride - 1)
    reach = Reach(-np.array(field.reached)[::-1], stride)
    _check("frames", np.flatnonzero(values.any(axis=1)) + first, field.reached)
    return Picture(values, first, 1, reach)


# -------------------------------------------------------------------------------------------------------- measuring


def _inputs(maps: slice) -> Tensor:
    """An impulse in some maps, and ones throughout, which no ReLU hides from the gradient: [2, T, M]."""
    import torch

    x = torch.ones(2, _FRAMES, MAPS, dtype=torch.float64)
    x[0] = 0
    x[0, _IMPULSE, maps] = 1
    return x.requires_grad_()


def _convolution(causal: bool, axes: Axes, kernel: int, dilation: int, stride: int) -> Callable[[Tensor], Tensor]:
    """One convolution of ones as a map of [B, T, M]."""
    from torch import nn

    from ssl_tt.encoder.conv import CausalConv1d, CausalConv2d

    conv: nn.Module
    if causal and axes == "1d":
        conv, inside = CausalConv1d(MAPS, MAPS, kernel, dilation, stride), "b t m"
    elif causal:
        conv, inside = CausalConv2d(1, 1, kernel, KERNEL, MAPS, dilation, stride), "b t m 1"
    elif axes == "1d":
        conv, inside = nn.Conv1d(MAPS, MAPS, kernel, stride, padding=dilation, dilation=dilation), "b m t"
    else:
        conv, inside = nn.Conv2d(1, 1, kernel, stride, padding=(dilation, 1), dilation=(dilation, 1)), "b 1 t m"
    _all_ones(conv.double())

    def convolve(x: Tensor) -> Tensor:
        y = conv(rearrange(x, f"b t m -> {inside}"))
        return rearrange(y[0] if causal else y, f"{inside} -> b t m")

    return convolve


def _all_ones(module: nn.Module) -> None:
    from torch import nn

    for name, parameter in module.named_parameters():
        nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


@contextmanager
def _seeded() -> Iterator[None]:
    """The same random numbers each time, and the global generator as it was afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield


def _response(y: Tensor, reach: Reach) -> Picture:
    values = y[0].detach().numpy()
    frames = np.arange(len(values))
    seen = ((frames[:, None] + 1) * reach.stride - 1 - reach.lags == _IMPULSE).any(axis=1)
    _check("frames out", np.flatnonzero(values.any(axis=1)), np.flatnonzero(seen))
    return Picture(values, -_IMPULSE, reach.stride, reach)


def _check_gradient(x: Tensor, y: Tensor, reach: Reach, bands: Reach | None = None) -> None:
    """The middle frame out, and for 2-D its middle band, must be moved by what it is computed to see, and no more."""
    import torch

    frame, band = y.shape[1] // 2, MAPS // 2
    end = y[1, frame] if bands is None else y[1, frame, band]
    (gradient,) = torch.autograd.grad(end.sum(), x, retain_graph=True)
    moved = gradient[1].numpy() != 0
    newest = (frame + 1) * reach.stride - 1
    _check("frames", np.flatnonzero(moved.any(axis=1)), np.sort(newest - reach.lags))
    if bands is not None:
        _check("bands", np.flatnonzero(moved.any(axis=0)), np.sort(band - bands.lags))


def _check(what: str, found: Sequence[int] | np.ndarray, computed: Sequence[int] | np.ndarray) -> None:
    if not np.array_equal(found, computed):
        raise RunError(
            f"receptive field: the gradient reaches the {what} {list(map(int, found))}, computed were "
            f"{list(map(int, computed))}; this is a fault of ssl_tt, please report it"
        )
