"""Recurrent networks that run in a stream like everything here: any chunk, the streams of a batch first."""

from typing import Any, Literal

from torch import Tensor, nn

from ssl_tt.encoder.streaming import mapped

Cell = Literal["lstm", "gru"]


class _Recurrent(nn.RNNBase):
    """A recurrent network in a stream: chunks may be empty, and the tensors of its state are [B, layers, C]."""

    def forward(self, z: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if z.shape[1] == 0:  # refused by PyTorch
            if state is None:
                start = z.new_zeros(len(z), self.num_layers, self.hidden_size)
                state = (start, start) if self.mode == "LSTM" else start
            return z.new_zeros(len(z), 0, self.hidden_size), state
        c, state = super().forward(z, mapped(lambda past: past.transpose(0, 1).contiguous(), state))
        return c, mapped(lambda past: past.transpose(0, 1), state)


class LSTM(_Recurrent, nn.LSTM):
    """[B, T, C_in] -> [B, T, C]"""


class GRU(_Recurrent, nn.GRU):
    """[B, T, C_in] -> [B, T, C]"""


def build_recurrent(cell: Cell, in_channels: int, channels: int, layers: int) -> LSTM | GRU:
    """Recurrent network of so many layers: `c, state = network(z, state=None)`, [B, T, C_in] -> [B, T, C]."""
    network: Any = {"lstm": LSTM, "gru": GRU}[cell]
    return network(in_channels, channels, num_layers=layers, batch_first=True)
