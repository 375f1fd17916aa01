"""Who has spoken when, as features of a frame: what a probe or a head may know beside the audio."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.errors import InputError
from ssl_tt.timebase import frames

HISTORY_SECONDS = (0.0, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Edges of the stretches before a frame in which the share of speech is taken."""

HISTORY_FEATURES = len(HISTORY_SECONDS) - 1 + 2


class ActivityHistory(nn.Module):
    """Voice activity of speakers [R, T] up to each frame, in 11 features: [R, T, 11] float32, each row by itself.

    Share of speech in nine stretches of the last minute; log of 1 + seconds since the last speech; log of 1 + seconds
    of that last unbroken run of speech. What is longer ago than the minute does not count, so the state is the activity
    of the last one, [R, minute]; before a state of None there was silence. InputError for a frame rate at which a
    stretch has no frame, and for other than bool of two dimensions.
    """

    def __init__(self, frame_rate_hz: float) -> None:
        super().__init__()
        edges = [frames(seconds, frame_rate_hz) for seconds in HISTORY_SECONDS]
        if len(set(edges)) < len(edges):
            raise InputError(
                f"frame rate {frame_rate_hz:g} Hz: the {HISTORY_SECONDS[1]:g} s of voice-activity history would be 0 "
                f"frames; expected {1 / HISTORY_SECONDS[1]:g} Hz or more"
            )
        self.frame_rate_hz = frame_rate_hz
        self.minute = edges[-1]
        self.register_buffer("edges", torch.tensor(edges), persistent=False)
        self.edges: Tensor

    def forward(self, active: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features and the state after them, of activity and of the state before it."""
        if active.ndim != 2 or active.dtype != torch.bool:
            raise InputError(f"voice activity {list(active.shape)} of {active.dtype}, expected bool [speakers, frames]")
        if past is None:
            past = active.new_zeros(len(active), self.minute)
        known = torch.cat((past, active), dim=1)
        place = torch.arange(known.shape[1], device=known.device)
        now = place[self.minute :]
        spoken = F.pad(known.long().cumsum(dim=1), (1, 0))[:, now[:, None] + 1 - self.edges]  # [R, T, 10]
        shares = -spoken.diff(dim=2) / self.edges.diff()

        onsets = known & ~F.pad(known, (1, 0))[:, :-1]
        last, onset = (torch.where(at, place, -1).cummax(dim=1).values[:, self.minute :] for at in (known, onsets))
        silent = (now - last).clamp(max=self.minute)
        run = (last - onset.maximum(now - self.minute + 1) + 1).clamp(min=0)
        clocks = torch.log1p(torch.stack((silent, run), dim=2) / self.frame_rate_hz)
        return torch.cat((shares, clocks), dim=2), known[:, -self.minute :]
