"""The slow level above the encoder's frames, and its way back down, causal in both directions.

With a stride of 4, what the top says of frames 0 to 3 is known at the end of frame 3, and is held from there on:

    frame   0 1 2 3 4 5 6 7 8
    top           0       1        complete at the end of this frame
    held    . . . 0 0 0 0 1 1      zeros before the first
"""

import torch
from torch import Tensor, nn

from ssl_tt.encoder.conv import CausalConv1d
from ssl_tt.encoder.stack import OutputLayer, ResidualBlock, StridedLayer
from ssl_tt.objectives.config import VQVAE2Config
from ssl_tt.objectives.layers import Layers


class Hold(nn.Module):
    """Frames of the top level at the rate of those below: [B, T // stride, C], T -> [B, T, C].

    The state is what is still to come out: at first the zeros of the frames that pass before the top has spoken.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, top: Tensor, n_frames: int, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if state is None:
            state = top.new_zeros(len(top), self.stride - 1, top.shape[2])
        coming = torch.cat((state, top.repeat_interleave(self.stride, dim=1)), dim=1)
        return coming[:, :n_frames], coming[:, n_frames:]


def top_encoder(config: VQVAE2Config, in_channels: int, channels: int) -> Layers:
    """From the encoder's frames to inputs of the top's quantizer: [B, T, C] -> [B, T // top_stride, code_channels]."""
    return Layers(
        [
            CausalConv1d(in_channels, channels, kernel=1),
            StridedLayer(channels, 2 * config.top_stride, config.top_stride, "channel", frequency=None),
            *_blocks(config, channels),
            OutputLayer(channels, config.code_channels, "channel"),
        ]
    )


def top_decoder(config: VQVAE2Config, channels: int) -> Layers:
    """What the bottom level is told of the top's codes, held at its rate: [B, T, code_channels] -> [B, T, channels]."""
    return Layers([CausalConv1d(config.code_channels, channels, kernel=1), *_blocks(config, channels)])


def _blocks(config: VQVAE2Config, channels: int) -> list[ResidualBlock]:
    n_blocks = config.top_blocks
    return [ResidualBlock(channels, kernel=3, dilation=3**i, branches=n_blocks) for i in range(n_blocks)]
