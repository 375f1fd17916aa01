"""What a head is trained to foresee at every frame, and who will have the floor by it.

A target takes logits [B, 2, T, K] of a head, in which a speaker comes first whoever it is, and the activity [B, T, 2]
of the window. Its `loss` is a mean over the frames whose horizon lies in the window, in nats: all frames alike, as is
published, so that silence counts by how often it is, unless the settings give what is active another weight. Its
`floor` is how likely each frame makes it that a speaker, and not the other, speaks: [B, 2, T] of what comes now, in the
next 0.6 s, and of what comes later, from 0.6 to 2 s; both sum to 1 over the speakers, and swapping these swaps them.
Row 0 of either is what `floor_scores` asks for.
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
from ssl_tt.turns.binary_loss import binary_loss
from ssl_tt.turns.config import FutureTargetConfig, VAPTargetConfig
from ssl_tt.turns.targets import BIN_SECONDS, FUTURE_BINS, FUTURE_SECONDS
from ssl_tt.turns.window_activity import check_windows

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
    speaker, over those of both. The comparative form knows one share for both times:
    0.4 to 0.5 s before a shift it is a half, two bins being the speaker's and two the next one's.
    """

    horizon_seconds = _LATER_SECONDS

    def __init__(self, config: VAPTargetConfig, frame_rate_hz: float) -> None:
        super().__init__()
        self.config = config
        self.frame_rate_hz = frame_rate_hz
        vap.bin_frames(frame_rate_hz)  # refuses a rate at which a bin has no frame
        self.outputs = {"discrete": vap.STATES, "independent": vap.BINS, "comparative": 1}[config.form]
        own = vap.bins_of_states()[:, 0]
        counts = torch.stack((own[:, : vap.NOW_BINS].sum(dim=1), own[:, vap.NOW_BINS :].sum(dim=1)))
        self.register_buffer("log_counts", counts.float().log(), persistent=False)  # [2, 256], now and later
        self.register_buffer("swapped", vap.swapped(), persistent=False)
        self.log_counts: Tensor
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
                return binary_loss(logits, bins, self.config.positive_weight)
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
                views = self._views(logits)
                return _floor(*((views + counts).logsumexp(dim=3) for counts in self.log_counts))
            case "independent":
                return _floor_of_bins(logits, vap.NOW_BINS, vap.BINS)
            case "comparative":
                share = self._lead(logits).sigmoid()
                return Floor(share, share)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of every state, as each speaker sees it, [B, 2, T, 256] of discrete logits; the two views agree."""
        return self._views(logits).softmax(dim=3)

    def _views(self, logits: Tensor) -> Tensor:
        """Logits [B, 2, T, 256] of what both views say together, as each speaker sees it."""
        views = logits.float().log_softmax(dim=3)
        return (views + views.flip(1)[..., self.swapped]) / 2

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

    def __init__(self, config: FutureTargetConfig, frame_rate_hz: float) -> None:
        super().__init__()
        self.config = config
        self.frame_rate_hz = frame_rate_hz

    def prepare(self, fitted: Iterable[NDArray[np.bool_]], held_out: Iterable[NDArray[np.bool_]]) -> None:
        """As of other targets; nothing is weighted by what the conversations hold."""

    def loss(self, logits: Tensor, activity: Tensor) -> Tensor:
        """A scalar; InputError for windows no longer than the horizon."""
        bins = future_bins(activity, self.frame_rate_hz)
        return binary_loss(logits[:, :, : bins.shape[2]], bins, self.config.positive_weight)

    def floor(self, logits: Tensor) -> Floor:
        now, later = (round(seconds / BIN_SECONDS) for seconds in (_NOW_SECONDS, _LATER_SECONDS))
        return _floor_of_bins(logits, now, later)


def future_bins(activity: Tensor, frame_rate_hz: float) -> Tensor:
    """Bins [B, 2, T - horizon, 60] bool of activity [B, T, 2]; InputError for other than activity of two speakers,
    and for fewer frames than the horizon and one."""
    activity = check_windows(activity)
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


def _floor_of_bins(logits: Tensor, now: int, later: int) -> Floor:
    """Of logits [B, 2, T, bins], one a bin: the first `now`, and from there up to `later`."""
    active = F.logsigmoid(logits.float())
    return _floor(active[..., :now].logsumexp(dim=3), active[..., now:later].logsumexp(dim=3))


def _floor(now: Tensor, later: Tensor) -> Floor:
    """Shares of the bins that each speaker is expected to fill, given in logarithms, [B, 2, T] each: where silence is
    all but certain, none is too small to be compared."""
    return Floor(*((part - part.flip(1)).sigmoid() for part in (now, later)))
