"""The one home of time: seconds, samples and frames are converted here and nowhere else.

Frame t covers [t * hop, (t + 1) * hop), the hop being one over the frame rate. A count is always of whole units from
zero, so the frame that holds the time x is also the number of whole frames before x.
"""

import math
from typing import TypeVar

import numpy as np

Count = TypeVar("Count", int, np.ndarray)

# 0.3 s at 50 Hz is 14.999999999999998 frames in binary: a time this close below a whole unit counts as the unit. At
# ten hours and 16 kHz the rounding error of a float64 is still a thousand times smaller.
_SLACK = 1e-6


def samples(seconds: float, sample_rate_hz: float) -> int:
    """Seconds as the nearest whole number of samples."""
    return round(seconds * sample_rate_hz)


def samples_of_all(seconds: np.ndarray, sample_rate_hz: np.ndarray) -> np.ndarray:
    """The same of many recordings at once: int64 of the shape given."""
    return np.rint(seconds * sample_rate_hz).astype(np.int64)


def frames(seconds: float, frame_rate_hz: float) -> int:
    """Whole frames before a time, which is also the index of the frame that holds it; binary rounding forgiven."""
    return math.floor(seconds * frame_rate_hz + _SLACK)


def seconds(units: float, rate_hz: float) -> float:
    """Seconds at which a frame (at a frame rate) or a sample (at a sample rate) starts."""
    return units / rate_hz


def frame_edges(n_frames: int, frame_rate_hz: float, start_seconds: float = 0.0) -> np.ndarray:
    """Edges of frames [T + 1] in seconds: frame t covers [edges[t], edges[t + 1])."""
    return start_seconds + np.arange(n_frames + 1) / frame_rate_hz


def resampled_length(n_samples: Count, from_hz: Count, to_hz: int) -> Count:
    """Samples at another rate that lie wholly inside so many samples; of one recording, or of many in int64."""
    # Whole seconds by themselves, so that 64 bits hold every number on the way.
    return n_samples // from_hz * to_hz + n_samples % from_hz * to_hz // from_hz
