"""Context networks of CPC and APC: what is known at frame t of all frames up to t; causal, with state."""

from torch import Tensor, nn

from ssl_tt.encoder.conv import CausalConv1d
from ssl_tt.encoder.recurrent import build_recurrent
from ssl_tt.encoder.stack import OutputLayer, ResidualBlock
from ssl_tt.objectives.config import ContextConfig
from ssl_tt.objectives.layers import Layers, LayerStates


class ConvContext(nn.Module):
    """Causal residual blocks of kernel 3 and dilations 1, 3, 9, ...: [B, T, C_in] -> [B, T, C]."""

    def __init__(self, in_channels: int, channels: int, layers: int) -> None:
        super().__init__()
        self.layers = Layers(
            [
                CausalConv1d(in_channels, channels, kernel=1),
                *(ResidualBlock(channels, kernel=3, dilation=3**i, branches=layers) for i in range(layers)),
                OutputLayer(channels, channels, "channel"),
            ]
        )

    def forward(self, z: Tensor, state: LayerStates | None = None) -> tuple[Tensor, LayerStates]:
        return self.layers(z, state)


class NoContext(nn.Module):
    """The frames themselves, for an encoder whose field is long enough."""

    def forward(self, z: Tensor, state: None = None) -> tuple[Tensor, None]:
        return z, None


def build_context(config: ContextConfig, in_channels: int) -> nn.Module:
    """Context network of a recipe: `c, state = context(z, state=None)`, [B, T, C_in] -> [B, T, context_channels]."""
    if config.context == "none":
        return NoContext()
    channels, layers = config.context_channels, config.context_layers
    if config.context == "conv":
        return ConvContext(in_channels, channels, layers)
    return build_recurrent(config.context, in_channels, channels, layers)
