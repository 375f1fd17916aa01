"""Small heads of every kind that the tests share."""

import torch

from ssl_tt.turns.config import FCHeadConfig, HeadConfig, LinearHeadConfig, RNNHeadConfig
from ssl_tt.turns.heads import Head

RATE_HZ = 50.0

HEADS: dict[str, HeadConfig] = {
    "linear": LinearHeadConfig(),
    "fc": FCHeadConfig(channels=7),
    "three fc layers, dropout": FCHeadConfig(channels=7, layers=3, dropout=0.5),
    "lstm": RNNHeadConfig(channels=7),
    "two grus": RNNHeadConfig(cell="gru", channels=7, layers=2),
}


def awoken(head: Head) -> Head:
    """The head with an output layer other than that of zeros, with which every answer is 0."""
    torch.nn.init.normal_(head.output.weight)
    torch.nn.init.normal_(head.output.bias)
    return head


def small_head(name: str, outputs: int = 4, channels: int = 6, dtype: torch.dtype = torch.float64) -> Head:
    """In eval mode, with answers other than 0."""
    torch.manual_seed(0)
    return awoken(Head(HEADS[name], channels, outputs, RATE_HZ)).to(dtype).eval()


def features(calls: int, frames: int, channels: int = 6, seed: int = 0) -> torch.Tensor:
    """[B, 2, T, C] float64."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(calls, 2, frames, channels, generator=draw, dtype=torch.float64)
