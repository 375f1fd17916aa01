"""Causal convolutions whose left padding is their initial state, so that offline is streaming from zeros.

Every module here maps [B, T, C] as `y, state = module(x, state=None)`, like `nn.GRU`; over time and frequency the
sequence is [B, T, F, C], F bands. The state is the input that later outputs still need; `None` stands for zeros, which
is the left padding. Any cut of the input into chunks gives the outputs of the whole: an input that does not fill a
stride waits in the state. Who gives one frame at a time may keep the past of a `CausalConv1d` in a `Ring`.

The channels of a frame lie side by side in memory, as normalisation and products read them, and PyTorch's kernels for
images take such a sequence as it is, as an image of height 1: on a CPU 1.4 times as fast in bf16 as the 1-D kernels on
[B, C, T], and 1.1 times in fp32 (`_as_image` is where the axes turn).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A kernel for images first rearranges its weights, however short the image. For the few frames of a live chunk, a
# product with the frames under the taps takes an eighth of that time on a CPU; at 256 frames in a batch they are even.
FEW_FRAMES = 8


def _with_past(x: Tensor, state: Tensor | None, past: int) -> Tensor:
    if state is not None:
        return torch.cat((state, x), dim=1) if state.shape[1] else x
    return F.pad(x, (0, 0) * (x.ndim - 2) + (past, 0)) if past else x  # padding by nothing would still copy


def framed(x: Tensor, state: Tensor | None, past: int, stride: int) -> tuple[Tensor, int, Tensor]:
    """The input after its past, how many frames out it completes, and the state after them."""
    x = _with_past(x, state, past)
    n_frames = max(0, (x.shape[1] - past) // stride)
    return x, n_frames, x[:, n_frames * stride :]


def _as_image(x: Tensor) -> Tensor:
    """[B, T, C] -> [B, C, 1, T], a view in channels-last order."""
    return x.transpose(1, 2).unsqueeze(2)


def _as_sequence(image: Tensor) -> Tensor:
    """[B, C, 1, T] -> [B, T, C], a view."""
    return image.squeeze(2).transpose(1, 2)


def _span(kernel: int, dilation: int, stride: int) -> int:
    span = (kernel - 1) * dilation + 1
    if span < stride:
        raise ValueError(f"kernel {kernel} with dilation {dilation} spans less than the stride {stride}")
    return span


class Ring:
    """Past of a `CausalConv1d` of stride 1, given as its state for one frame at a time: [B, 1, C_in].

    The frame takes the place of the oldest one, so that a frame costs the same whatever the dilation, where any other
    state is copied whole. It is the state after the frame too, and can be used once.
    """

    def __init__(self, conv: "CausalConv1d", batch: int) -> None:
        silence = conv.weight.new_zeros(batch, conv.in_channels)
        self._frames = [silence] * conv.span
        self._lags = range((conv.kernel_size[0] - 1) * conv.dilation[0], -1, -conv.dilation[0])
        self._now = 0

    def taps(self, x: Tensor) -> Tensor:
        """The frames under the taps once x [B, 1, C_in] is there, the oldest first: [B, 1, C_in, kernel]."""
        self._frames[self._now] = x[:, 0]
        taps = torch.stack([self._frames[self._now - lag] for lag in self._lags], dim=-1)
        self._now = (self._now + 1) % len(self._frames)
        return taps.unsqueeze(1)


class CausalConv1d(nn.Conv1d):
    """Convolution whose output frame t ends with input frame (t + 1) * stride - 1.

    [B, T, C_in] -> [B, T // stride, C_out]. At a stride's edge the state holds (kernel - 1) * dilation + 1 - stride
    frames. Raises ValueError for a span shorter than the stride, which would pass over frames unseen.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, dilation=dilation, groups=groups)
        self.span = _span(kernel, dilation, stride)
        self.past = self.span - stride

    def forward(  # type: ignore[override]
        self, x: Tensor, state: Tensor | Ring | None = None
    ) -> tuple[Tensor, Tensor | Ring]:
        if isinstance(state, Ring):
            return F.linear(state.taps(x).flatten(2), self.weight.flatten(1), self.bias), state
        stride = self.stride[0]
        x, n_frames, state = framed(x, state, self.past, stride)
        if n_frames == 0:  # a convolution refuses an input shorter than its kernel
            return x.new_zeros(x.shape[0], 0, self.out_channels), state
        if n_frames <= FEW_FRAMES and self.groups == 1:
            return F.linear(self._taps(x), self.weight.flatten(1), self.bias), state
        image = F.conv2d(
            _as_image(x),
            self.weight.unsqueeze(2),
            self.bias,
            stride=(1, stride),
            dilation=(1, *self.dilation),
            groups=self.groups,
        )
        return _as_sequence(image), state

    def _taps(self, x: Tensor) -> Tensor:
        """The frames under the taps for each frame out: [B, T, C_in * kernel]."""
        if self.span == 1:
            return x
        return x.unfold(1, self.span, self.stride[0])[..., :: self.dilation[0]].flatten(2)

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates for each of its own frames out."""
        return self.weight.numel()


class CausalConv2d(nn.Conv2d):
    """Convolution over time and frequency: along time as `CausalConv1d`, along frequency padded with zeros both ways.

    [B, T, F, C_in] -> [B, T // stride, F', C_out], where band f of the F' = ceil(F / frequency_stride) out has band
    f * frequency_stride of the `bands` F in its middle. Raises ValueError for an even frequency_kernel, which has no
    middle, and for a span along time shorter than the stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        frequency_kernel: int,
        bands: int,
        dilation: int = 1,
        stride: int = 1,
        frequency_stride: int = 1,
        groups: int = 1,
    ) -> None:
        if frequency_kernel % 2 == 0:
            raise ValueError(f"frequency_kernel {frequency_kernel} has no middle, expected an odd one")
        super().__init__(
            in_channels,
            out_channels,
            (kernel, frequency_kernel),
            stride=(stride, frequency_stride),
            padding=(0, frequency_kernel // 2),
            dilation=(dilation, 1),
            groups=groups,
        )
        self.bands = -(-bands // frequency_stride)
        self.span = _span(kernel, dilation, stride)
        self.past = self.span - stride

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, n_frames, state = framed(x, state, self.past, self.stride[0])
        if n_frames == 0:
            return x.new_zeros(x.shape[0], 0, self.bands, self.out_channels), state
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), state

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates for each of its own frames out, of all bands; at the edges also those with padding."""
        return self.weight.numel() * self.bands


CausalConv = CausalConv1d | CausalConv2d


class SeparableConv(nn.Module):
    """Two layers in place of a dilated one: each channel over time (and frequency) alone, then 1x1 over the channels.

    As in MobileNets (Howard et al. 2017, arXiv 1704.04861, section 3.1), without an activation between.
    """

    def __init__(self, depthwise: CausalConv, pointwise: CausalConv) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.depthwise(x, state)
        return self.pointwise(h)[0], state


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsampling convolution: input frame t reaches output frames from t * stride on, and none before.

    [B, T, C_in] -> [B, T * stride, C_out]. The state holds (kernel - 1) // stride input frames.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride)
        self.past = (kernel - 1) // stride
        if kernel < stride:
            raise ValueError(f"kernel {kernel} is shorter than the stride {stride}: some outputs would see no input")

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        n_frames, stride = x.shape[1], self.stride[0]
        x = _with_past(x, state, self.past)
        state = x[:, n_frames:]
        if n_frames == 0:
            return x.new_zeros(x.shape[0], 0, self.out_channels), state
        image = F.conv_transpose2d(_as_image(x), self.weight.unsqueeze(2), self.bias, stride=(1, stride))
        first = self.past * stride
        return _as_sequence(image)[:, first : first + n_frames * stride], state


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each frame alone: [B, T, C] -> [B, T, C]; nothing leaks over time.

    Of a sequence [B, T, F, C] each band is normalised by itself. As in CPC_audio (arXiv 2002.02848).
    """
