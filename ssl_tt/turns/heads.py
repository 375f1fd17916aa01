"""Heads: what each of two speakers will do, read from what is known of both; causal, with state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ssl_tt.encoder.conv import ChannelNorm
from ssl_tt.encoder.recurrent import build_recurrent
from ssl_tt.errors import InputError
from ssl_tt.turns.activity_history import HISTORY_FEATURES, ActivityHistory
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


class HeadState(NamedTuple):
    """Past of the network, and of the voice activity, a row for each speaker."""

    hidden: Any = None
    """Tensors [(B 2), ...]; the network of a speaker has seen the other's features too."""
    activity: Tensor | None = None
    """[(B 2), minute], where the head reads voice-activity history; before None there was silence."""


class Head(nn.Module):
    """What each speaker will do, from features of both: [B, 2, T, C] -> logits [B, 2, T, K], K being `outputs`.

    The features of each frame are normalised over their channels, then one set of weights reads (own, other) for either
    speaker, so that swapping the speakers swaps the answer. The logits of frame t depend on frames up to t, all of them
    or that one alone. They start at 0: a binary target costs log 2, whatever it is. With `activity_history` the head
    reads that of [B, T, 2] too, beside the normalised features; frame t of it up to frame t.

    Raises InputError for other than two speakers, where activity is missing or not asked for, and for a frame rate too
    low for its history; ValueError where a frame has a single channel, whose norm is 0.
    """

    def __init__(self, config: HeadConfig, in_channels: int, outputs: int, frame_rate_hz: float) -> None:
        super().__init__()
        if in_channels < 2:
            raise ValueError(f"features of {in_channels} channel, expected 2 or more: a single one is normalised to 0")
        if outputs < 1:
            raise ValueError(f"outputs {outputs}, expected 1 or more: one for each thing that is asked of a speaker")
        self.norm = ChannelNorm(in_channels)
        self.history = ActivityHistory(frame_rate_hz) if config.activity_history else None
        both = 2 * (in_channels + (HISTORY_FEATURES if config.activity_history else 0))
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

    def forward(
        self, z: Tensor, state: HeadState | None = None, activity: Tensor | None = None
    ) -> tuple[Tensor, HeadState]:
        if z.shape[1] != 2:
            raise InputError(f"features of {z.shape[1]} speakers, expected 2, one a channel: a head reads both")
        hidden, past = state or HeadState()
        z = self.norm(z)
        if self.history is not None:
            history, past = self.history(rearrange(self._checked(activity, z), "b t s -> (b s) t"), past)
            z = torch.cat((z, rearrange(history, "(b s) t k -> b s t k", s=2).to(z.dtype)), dim=3)
        elif activity is not None:
            raise InputError("voice activity given to a head that reads none: leave it out, or set activity_history")
        own_and_other = torch.cat((z, z.flip(1)), dim=3)
        h, hidden = self.hidden(rearrange(own_and_other, "b s t c -> (b s) t c"), hidden)
        return rearrange(self.output(h), "(b s) t k -> b s t k", s=2), HeadState(hidden, past)

    def _checked(self, activity: Tensor | None, z: Tensor) -> Tensor:
        """Activity of the frames of z."""
        expected = [len(z), z.shape[2], 2]
        if activity is None or list(activity.shape) != expected:
            given = "none" if activity is None else list(activity.shape)
            raise InputError(f"voice activity {given}, expected {expected}: this head reads who speaks in each frame")
        return activity
