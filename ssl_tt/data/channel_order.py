"""Which channel is whose, by the audio: a speaker is loudest on the own channel while nobody else speaks.

Sums of levels are compared between whole assignments of speakers to channels, so that a channel which is louder
throughout does not matter:

    speaker  channel 1  channel 2
    ann      -25 dB     -45 dB         ann, bob: -25 - 30 = -55 dB
    bob      -50 dB     -30 dB         bob, ann: -45 - 50 = -95 dB
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_tt.data.channel_files import joint_blocks, joint_header
from ssl_tt.data.conversation import Segment, activity_frames
from ssl_tt.data.storage import File
from ssl_tt.timebase import samples

CLEAR_DB = 6.0
"""An assignment is clear if it lies this much above every other: leakage is 10 to 40 dB weaker, chance 1 or 2."""

_FRAME_RATE_HZ = 100
_HEARD_SECONDS = 600.0  # ten minutes tell enough
_ALONE_SECONDS = 1.0


class Order(NamedTuple):
    """The assignment of speakers to channels that the audio speaks for most."""

    channels: tuple[int, ...]
    """Channel, from 0, of each speaker."""
    margin_db: float
    """By how much it is better than the second best; infinite if there is no other."""
    above_given_db: float
    """By how much it is better than the one where speaker n is on channel n."""


def measured_order(files: Sequence[File], segments: Sequence[Sequence[Segment]]) -> Order | None:
    """Order of the speakers [S] with their segments on the channels of the files, S at most the number of channels.

    None where the first ten minutes do not hold a second of each speaker alone. Errors as in `audio.read`.
    """
    levels = _levels_alone_db(files, segments)
    return None if levels is None else _best(levels)


def _levels_alone_db(files: Sequence[File], segments: Sequence[Sequence[Segment]]) -> NDArray[np.float64] | None:
    """Level of each channel while one speaker alone is active, dB: [S, C]."""
    header = joint_header(files)
    hop = header.sample_rate_hz // _FRAME_RATE_HZ
    heard = min(header.n_samples, samples(_HEARD_SECONDS, header.sample_rate_hz)) // hop * hop
    rate = header.sample_rate_hz / hop  # close to 100 Hz where 100 does not divide the sample rate
    active = np.stack([activity_frames(channel, heard // hop, rate) for channel in segments])
    alone = active & (active.sum(axis=0) == 1)
    if alone.sum(axis=1).min() < _ALONE_SECONDS * rate:
        return None
    blocks = joint_blocks(files, 0, heard, block_samples=1000 * hop)  # whole frames
    power = np.concatenate(
        [np.square(block).reshape(len(block), -1, hop).mean(axis=2, dtype=np.float64) for block in blocks], axis=1
    )
    return 10 * np.log10(np.stack([power[:, frames].mean(axis=1) for frames in alone]) + 1e-12)


def _best(levels: NDArray[np.float64]) -> Order:
    from scipy.optimize import linear_sum_assignment

    speakers, channels = linear_sum_assignment(levels, maximize=True)
    best = levels[speakers, channels].sum()
    others = []
    for speaker, channel in zip(speakers, channels, strict=True):
        without = levels.copy()
        without[speaker, channel] = -1e6
        found = without[linear_sum_assignment(without, maximize=True)].sum()
        others.append(best - found if found > -1e5 else np.inf)
    return Order(tuple(channels.tolist()), min(others), best - np.trace(levels))
