"""Decoders from codes back to what was heard; here the causal one that mirrors the encoder and gives the log-mel."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.conv import CausalConv1d, CausalConvTranspose1d
from ssl_tt.encoder.stack import Blocks, channel_norm
from ssl_tt.objectives.config import DecoderConfig, WaveNetConfig

if TYPE_CHECKING:
    from ssl_tt.objectives.wavenet import WaveNet


class UpsamplingLayer(nn.Module):
    """Norm, ReLU and a transposed conv, which mirrors a pre-layer above the first: [B, T, C] -> [B, T * stride, C]."""

    def __init__(self, channels: int, kernel: int, stride: int, encoder: EncoderConfig) -> None:
        super().__init__()
        self.norm = channel_norm(encoder.normalisation, channels)
        self.conv = CausalConvTranspose1d(channels, channels, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.norm(x)))[0]


class DecoderStack(nn.Module):
    """A stack of the encoder backwards: 1x1 layer, blocks, upsampling: [B, T, C_in] -> [B, T * stride, M].

    Over time alone, with the bands as channels, whatever the encoder does.
    """

    def __init__(self, stack: StackConfig, encoder: EncoderConfig, in_channels: int, channels: int) -> None:
        super().__init__()
        first, *further = encoder.prelayers(stack)
        dilations = stack.block_dilations[::-1]
        self.input = CausalConv1d(in_channels, channels, kernel=1)
        self.blocks = Blocks(encoder, channels, stack.kernel, dilations, branches=len(dilations))
        self.upsampling = nn.ModuleList(
            UpsamplingLayer(channels, layer.kernel, layer.stride, encoder) for layer in reversed(further)
        )
        self.norm = channel_norm(encoder.normalisation, channels)
        self.output = CausalConvTranspose1d(channels, encoder.log_mel.mel_bands, first.kernel, stride=first.stride)
        # Starts from the mean of the corpus, so that the first loss is the variance of the log-mel.
        nn.init.zeros_(self.output.weight)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks.start(self.input(x)[0])
        for block in self.blocks:
            x, _ = block(x)
        x = self.blocks.end(x)
        for layer in self.upsampling:
            x = layer(x)
        return self.output(F.relu(self.norm(x)))[0]


class Decoder(nn.Module):
    """Normalised log-mel from frames: [B, T, C_in] -> [B, T * stride, M]; the sum of a mirrored stack for each one.

    Causal like the encoder: the log-mel of frame t is rebuilt from the codes of frames up to t alone.
    """

    def __init__(self, encoder: EncoderConfig, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(DecoderStack(stack, encoder, in_channels, channels) for stack in encoder.stacks)

    def forward(self, codes: Tensor) -> Tensor:
        log_mel = self.stacks[0](codes)
        for stack in self.stacks[1:]:
            log_mel = log_mel + stack(codes)
        return log_mel

    def error(self, codes: Tensor, log_mel: Tensor, samples: Tensor) -> Tensor:
        """Mean squared error of the log-mel [B, T * stride, M], in its standard deviations; a scalar."""
        return F.mse_loss(self(codes).float(), log_mel)


def build_decoder(
    config: DecoderConfig, encoder: EncoderConfig, in_channels: int, channels: int
) -> "Decoder | WaveNet":
    """The decoder of a recipe: its `error(codes [B, T, C], log_mel [B, T * stride, M], samples [B, N])` is the loss."""
    if isinstance(config, WaveNetConfig):
        from ssl_tt.objectives.wavenet import WaveNet

        return WaveNet(config, encoder, in_channels, channels)
    return Decoder(encoder, in_channels, channels)
