"""Causal convolutions whose left padding is their initial state, so that offline is streaming from zeros.

Every module here maps [B, T, C] as `y, state = module(x, state=None)`, like `nn.GRU`. The state is the input that later
outputs still need; `None` stands for zeros, which is the left padding. Any cut of the input into chunks gives the
outputs of the whole: an input that does not fill a stride waits in the state.

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
    return F.pad(x, (0, 0, past, 0)) if past else x  # padding by nothing would still copy


def _as_image(x: Tensor) -> Tensor:
    """[B, T, C] -> [B, C, 1, T], a view in channels-last order."""
    return x.transpose(1, 2).unsqueeze(2)


def _as_sequence(image: Tensor) -> Tensor:
    """[B, C, 1, T] -> [B, T, C], a view."""
    return image.squeeze(2).transpose(1, 2)


class CausalConv1d(nn.Conv1d):
    """Convolution whose output frame t ends with input frame (t + 1) * stride - 1.

    [B, T, C_in] -> [B, T // stride, C_out]. At a stride's edge the state holds (kernel - 1) * dilation + 1 - stride
    frames. Raises ValueError for a span shorter than the stride, which would pass over frames unseen.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, dilation=dilation)
        self.span = (kernel - 1) * dilation + 1
        self.past = self.span - stride
        if self.past < 0:
            raise ValueError(f"kernel {kernel} with dilation {dilation} spans less than the stride {stride}")

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x = _with_past(x, state, self.past)
        stride = self.stride[0]
        n_frames = max(0, (x.shape[1] - self.past) // stride)
        state = x[:, n_frames * stride :]
        if n_frames == 0:  # a convolution refuses an input shorter than its kernel
            return x.new_zeros(x.shape[0], 0, self.out_channels), state
        if n_frames <= FEW_FRAMES and self.groups == 1:
            # [B, T, C_in, kernel]
            taps = x.unfold(1, self.span, stride)[..., :: self.dilation[0]].flatten(2) if self.span > 1 else x
            return F.linear(taps, self.weight.flatten(1), self.bias), state
        image = F.conv2d(
            _as_image(x), self.weight.unsqueeze(2), self.bias, stride=(1, stride), dilation=(1, *self.dilation)
        )
        return _as_sequence(image), state


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

    As in CPC_audio (arXiv 2002.02848).
    """
