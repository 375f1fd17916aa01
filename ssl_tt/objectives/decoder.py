"""Causal decoder that mirrors the encoder: from codes back to the log-mel."""

from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.conv import CausalConv1d, CausalConvTranspose1d, ChannelNorm
from ssl_tt.encoder.stack import ResidualBlock


class DecoderStack(nn.Module):
    """A stack of the encoder backwards: 1x1 layer, blocks, upsampling: [B, T, C_in] -> [B, T * stride, M]."""

    def __init__(self, stack: StackConfig, encoder: EncoderConfig, in_channels: int, channels: int) -> None:
        super().__init__()
        self.input = CausalConv1d(in_channels, channels, kernel=1)
        self.blocks = nn.ModuleList(
            ResidualBlock(
                channels,
                stack.kernel,
                dilation,
                encoder.normalisation,
                encoder.dropout,
                branches=len(stack.dilations),
            )
            for dilation in reversed(stack.dilations)
        )
        self.norm = ChannelNorm(channels) if encoder.normalisation == "channel" else nn.Identity()
        self.output = CausalConvTranspose1d(
            channels, encoder.log_mel.mel_bands, encoder.prelayer_kernel, stride=encoder.stride
        )
        # Starts from the mean of the corpus, so that the first loss is the variance of the log-mel.
        nn.init.zeros_(self.output.weight)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.input(x)
        for block in self.blocks:
            x, _ = block(x)
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
