"""Layers in a row, as one with a state."""

from torch import Tensor, nn

LayerStates = tuple[Tensor, ...]


class Layers(nn.ModuleList):
    """Causal layers in a row: [B, T, C_in] -> [B, T', C_out]."""

    def forward(self, x: Tensor, state: LayerStates | None = None) -> tuple[Tensor, LayerStates]:
        states: list[Tensor] = []
        for layer, past in zip(self, state or (None,) * len(self), strict=True):
            x, past = layer(x, past)
            states.append(past)
        return x, tuple(states)
