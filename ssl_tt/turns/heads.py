"""Heads: what each of two speakers will do, read from what is known of both; causal, with state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ssl_tt.encoder.conv import ChannelNorm
from ssl_tt.encoder.recurrent import build_recurrent
from ssl_tt.errors import InputError
from ssl_tt.turns.config import FCHeadConfig, HeadConfig, LinearHeadConfig, RNNHeadConfig


class FullyConnected(nn.Module):
    """Hidden layers with ReLU, each frame by itself: [B, T, channels[0]] -> [B, T, channels[-1]].

    Of one number of channels alone there is no layer, and the frames stay as they are.
    """

    def __init__(self, channels: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            linear = nn.Linear(inputs, outputs)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU(), nn.Dropout(dropout) if dropout else nn.Identity()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.layers(x), None


class Head(nn.Module):
    """What each speaker will do, from features of both: [B, 2, T, C] -> logits [B, 2, T, K], K being `outputs`.

    The features of each frame are normalised over their channels, then one set of weights reads (own, other) for either
    speaker, so that swapping the speakers swaps the answer. The logits of frame t depend on frames up to t, all of them
    or that one alone. They start at 0: a binary target costs log 2, whatever it is. The tensors of the state are
    [(B 2), ...], a row for each speaker, whose network has seen the other's features too.

    Raises InputError for other than two speakers, and ValueError where a frame has a single channel, whose norm is 0.
    """

    def __init__(self, config: HeadConfig, in_channels: int, outputs: int) -> None:
        super().__init__()
        if in_channels < 2:
            raise ValueError(f"features of {in_channels} channel, expected 2 or more: a single one is normalised to 0")
        if outputs < 1:
            raise ValueError(f"outputs {outputs}, expected 1 or more: one for each thing that is asked of a speaker")
        self.norm = ChannelNorm(in_channels)
        both = 2 * in_channels
        self.hidden: nn.Module
        match config:
            case LinearHeadConfig():
                width, self.hidden = both, FullyConnected([both])
            case FCHeadConfig():
                width = config.channels
                self.hidden = FullyConnected([both, *[width] * config.layers], config.dropout)
            case RNNHeadConfig():
                width = config.channels
                self.hidden = build_recurrent(config.cell, both, width, config.layers)
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, z: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if z.shape[1] != 2:
            raise InputError(f"features of {z.shape[1]} speakers, expected 2, one a channel: a head reads both")
        z = self.norm(z)
        own_and_other = torch.cat((z, z.flip(1)), dim=3)
        h, state = self.hidden(rearrange(own_and_other, "b s t c -> (b s) t c"), state)
        return rearrange(self.output(h), "(b s) t k -> b s t k", s=2), state
