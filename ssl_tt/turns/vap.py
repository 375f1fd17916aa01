"""Voice activity projection: the next two seconds of both speakers, in bins that grow (Ekstedt and Skantze 2022).

    t   | 0.2 s |   0.4 s   |     0.6 s     |      0.8 s      |      four bins a speaker, from frame t + 1 on
        |  now              |  future                          |

A bin is active where at least half of its frames are. The 8 bits of both speakers are one of 256 states: bit b of the
number is bin b of the own speaker, bit 4 + b that of the other.
"""

import torch
from torch import Tensor

from ssl_tt.errors import InputError
from ssl_tt.timebase import frames
from ssl_tt.turns.window_activity import check_windows

BIN_SECONDS = (0.2, 0.4, 0.6, 0.8)
BINS = len(BIN_SECONDS)
STATES = 2 ** (2 * BINS)
NOW_BINS = 2
"""Bins of the next 0.6 s, by which shift and hold are told; the rest, up to 2 s, tells of what is to come."""


def bin_frames(frame_rate_hz: float) -> tuple[int, ...]:
    """Frames of each bin; InputError where one would have none."""
    found = tuple(frames(seconds, frame_rate_hz) for seconds in BIN_SECONDS)
    if found[0] == 0:
        raise InputError(
            f"frame rate {frame_rate_hz:g} Hz: a bin of {BIN_SECONDS[0]:g} s would be 0 frames, expected "
            f"{1 / BIN_SECONDS[0]:g} Hz or more"
        )
    return found


def vap_bins(activity: Tensor, frame_rate_hz: float) -> Tensor:
    """Bins [B, 2, T - horizon, 4] bool of activity [B, T, 2] bool: of every frame whose whole horizon is known.

    InputError for other than activity of two speakers, for a rate at which a bin has no frame, and for fewer frames
    than the horizon and one.
    """
    activity = check_windows(activity)
    lengths = bin_frames(frame_rate_hz)
    n_frames, horizon = activity.shape[1], sum(lengths)
    if n_frames <= horizon:
        raise InputError(
            f"activity of {n_frames} frames, expected more than the {horizon} that voice activity projection looks "
            "ahead: give longer windows"
        )
    spoken = torch.nn.functional.pad(activity.transpose(1, 2).int().cumsum(dim=2), (1, 0))  # before each frame
    found, start = [], 1
    for length in lengths:
        first = spoken[:, :, start : start + n_frames - horizon]
        last = spoken[:, :, start + length : start + length + n_frames - horizon]
        found.append(2 * (last - first) >= length)
        start += length
    return torch.stack(found, dim=3)


def states(bins: Tensor) -> Tensor:
    """Number [B, 2, T] int64 of the state that bins [B, 2, T, 4] are, seen from each speaker."""
    weights = 2 ** torch.arange(2 * BINS, device=bins.device)
    return (torch.cat((bins, bins.flip(1)), dim=3) * weights).sum(dim=3)


def bins_of_states() -> Tensor:
    """Bins [256, 2, 4] bool of every state: the own speaker's, the other's."""
    numbers = torch.arange(STATES)
    return (numbers[:, None] >> torch.arange(2 * BINS) & 1).bool().unflatten(1, (2, BINS))


def swapped() -> Tensor:
    """Number [256] of every state seen from the other speaker."""
    numbers = torch.arange(STATES)
    return (numbers >> BINS) | (numbers & (2**BINS - 1)) << BINS
