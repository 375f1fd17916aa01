"""What a head is trained to foresee at every frame, and who will have the floor by it.

A target takes logits [B, 2, T, K] of a head, in which a speaker comes first whoever it is, and the activity [B, T, 2]
of the window. Its `loss` is a mean over the frames whose horizon lies in the window, in nats: all frames alike, as is
published, so that silence counts by how often it is. Its `floor` is how likely each frame makes it that a speaker, and
not the other, speaks: [B, 2, T] of what comes now, in the next 0.6 s, and of what comes later, from 0.6 to 2 s; both
sum to 1 over the speakers, and swapping these swaps them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.errors import InputError
from ssl_tt.turns import vap
from ssl_tt.turns.config import VAPTargetConfig
from ssl_tt.turns.targets import BIN_SECONDS, FUTURE_BINS, FUTURE_SECONDS

_NOW_SECONDS, _LATER_SECONDS = sum(vap.BIN_SECONDS[: vap.NOW_BINS]), sum(vap.BIN_SECONDS)


class Floor(NamedTuple):
    """How likely it is that each speaker, rather than the other, speaks: [B, 2, T] each."""

    now: Tensor
    """In the next 0.6 s."""
    later: Tensor
    """From 0.6 to 2 s."""


class VAPTarget(nn.Module):
    """Voice activity projection (Ekstedt and Skantze 2022, Interspeech, section 2) in one of three forms.

    `discrete`: cross-entropy of the 256 states, log 256 at first; seen from either speaker, and what both say is
    averaged (in logarithms), so that there is one answer. `independent`: binary cross-entropy of each bin.
    `comparative`: cross-entropy of a speaker's share of the bins that are active, where any is.

    The floor is that of the aggregation of 2023 (arXiv 2401.04868, section 2.2): the bins expected to be active of each
    speaker, over those of both. The comparative form knows one share for both times.
    """

    horizon_seconds = _LATER_SECONDS

    def __init__(self, config: VAPTargetConfig, frame_rate_hz: float) -> None:
        super().__init__()
        self.config = config
        self.frame_rate_hz = frame_rate_hz
        vap.bin_frames(frame_rate_hz)  # refuses a rate at which a bin has no frame
        self.outputs = {"discrete": vap.STATES, "independent": vap.BINS, "comparative": 1}[config.form]
        self.register_buffer("bins", vap.bins_of_states().float(), persistent=False)
        self.register_buffer("swapped", vap.swapped(), persistent=False)
        self.bins: Tensor
        self.swapped: Tensor

    def prepare(self, fitted: Iterable[NDArray[np.bool_]], held_out: Iterable[NDArray[np.bool_]]) -> None:
        """As of other targets; nothing is weighted by what the conversations hold."""

    def loss(self, logits: Tensor, activity: Tensor) -> Tensor:
        """A scalar; InputError for windows no longer than the horizon."""
        bins = vap.vap_bins(activity, self.frame_rate_hz)
        logits = logits[:, :, : bins.shape[2]].float()
        match self.config.form:
            case "discrete":
                return F.cross_entropy(logits.flatten(0, 2), vap.states(bins).flatten())
            case "independent":
                return F.binary_cross_entropy_with_logits(logits, bins.float())
            case "comparative":
                active = bins.sum(dim=3).float()
                both = active.sum(dim=1, keepdim=True)
                share = (active / both.clamp(min=1))[:, 0]
                each = F.binary_cross_entropy_with_logits(self._lead(logits)[:, 0], share, reduction="none")
                known = both[:, 0] > 0
                return (each * known).sum() / known.sum().clamp(min=1)

    def floor(self, logits: Tensor) -> Floor:
        logits = logits.float()
        match self.config.form:
            case "discrete":
                expected = self.probabilities(logits) @ self.bins.flatten(1)  # of either view: own and other bins
                own = expected.unflatten(3, (2, vap.BINS))[:, :, :, 0]
                return _floor(own, vap.NOW_BINS, vap.BINS)
            case "independent":
                return _floor(logits.sigmoid(), vap.NOW_BINS, vap.BINS)
            case "comparative":
                share = self._lead(logits).sigmoid()
                return Floor(share, share)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of every state, as each speaker sees it, [B, 2, T, 256] of discrete logits; the two views agree."""
        views = logits.float().log_softmax(dim=3)
        return ((views + views.flip(1)[..., self.swapped]) / 2).softmax(dim=3)

    def _lead(self, logits: Tensor) -> Tensor:
        """Log odds [B, 2, T] that the share is each speaker's, from what is said of both."""
        return logits[..., 0] - logits.flip(1)[..., 0]


class FutureTarget(nn.Module):
    """Each speaker's activity in the next 60 bins of 50 ms (Skantze 2017, section 3), binary cross-entropy.

    A bin is active where speech covers at least half of it; one that no whole frames make up is cut from the frames it
    touches. The floor is by the bins expected to be active, as of `VAPTarget`.
    """

    outputs = FUTURE_BINS
    horizon_seconds = FUTURE_SECONDS

    def __init__(self, frame_rate_hz: float) -> None:
        super().__init__()
        self.frame_rate_hz = frame_rate_hz

    def prepare(self, fitted: Iterable[NDArray[np.bool_]], held_out: Iterable[NDArray[np.bool_]]) -> None:
        """As of other targets; nothing is weighted by what the conversations hold."""

    def loss(self, logits: Tensor, activity: Tensor) -> Tensor:
        """A scalar; InputError for windows no longer than the horizon."""
        bins = future_bins(activity, self.frame_rate_hz)
        return F.binary_cross_entropy_with_logits(logits[:, :, : bins.shape[2]].float(), bins.float())

    def floor(self, logits: Tensor) -> Floor:
        now, later = (round(seconds / BIN_SECONDS) for seconds in (_NOW_SECONDS, _LATER_SECONDS))
        return _floor(logits.float().sigmoid(), now, later)


def future_bins(activity: Tensor, frame_rate_hz: float) -> Tensor:
    """Bins [B, 2, T - horizon, 60] bool of activity [B, T, 2]; InputError for fewer frames than the horizon and one."""
    n_frames = activity.shape[1]
    known = int(n_frames - FUTURE_SECONDS * frame_rate_hz + 1e-6)
    if known < 1:
        raise InputError(
            f"activity of {n_frames / frame_rate_hz:g} s, expected more than the {FUTURE_SECONDS:g} s that future "
            "activity looks ahead: give longer windows"
        )
    spoken = F.pad(activity.transpose(1, 2).double().cumsum(dim=2), (1, 0))  # frames of speech before each edge
    edges = torch.arange(FUTURE_BINS + 1, device=activity.device, dtype=torch.float64) * (BIN_SECONDS * frame_rate_hz)
    places = 1 + torch.arange(known, device=activity.device)[:, None] + edges  # in frames, [known, 61]
    below = places.floor().long().clamp(max=n_frames - 1)
    before = spoken[:, :, below] + (places - below) * (spoken[:, :, below + 1] - spoken[:, :, below])
    return before.diff(dim=3) >= 0.5 * BIN_SECONDS * frame_rate_hz - 1e-6


def _floor(expected: Tensor, now: int, later: int) -> Floor:
    """Of how active each bin [B, 2, T, bins] is expected to be; the first `now`, and from there up to `later`."""
    parts = expected[..., :now].sum(dim=3), expected[..., now:later].sum(dim=3)
    return Floor(*(part / (part + part.flip(1)) for part in parts))
