"""What a model of turn-taking is asked at a frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError

# Skantze 2017, section 3: the next 3 s of each speaker's voice activity, 60 bins of 50 ms.
FUTURE_BINS = 60
BIN_SECONDS = 0.05
FUTURE_SECONDS = FUTURE_BINS * BIN_SECONDS


def future_activity(conversation: Conversation, frame_rate_hz: float, at: ArrayLike) -> NDArray[np.bool_]:
    """Who will speak, [F, S, 60] bool, seen from each of the frames `at` [F].

    Bins are cut from the segments in seconds, so they fit any frame rate. The first begins where frame t ends, at
    (t + 1) * hop; a bin is active where speech covers at least half of it. Raises InputError for a conversation
    without segments and for bins that would end after it. Reference: Skantze 2017 (SIGDIAL).
    """
    if conversation.segments is None:
        raise InputError(f"conversation {conversation.id!r} has no speech segments: future activity is not known")
    first_edges = (np.asarray(at, dtype=np.int64) + 1) / frame_rate_hz
    edges = first_edges[:, None] + np.arange(FUTURE_BINS + 1) * BIN_SECONDS  # [F, 61]
    if edges.size and edges[:, -1].max() > conversation.duration_seconds + 1e-6:
        raise InputError(
            f"conversation {conversation.id!r} ends at {conversation.duration_seconds:.2f} s: no frame after "
            f"{conversation.duration_seconds - FUTURE_SECONDS:.2f} s has {FUTURE_SECONDS:g} s of future"
        )
    spoken = np.stack([_spoken_before(segments, edges) for segments in conversation.segments], axis=1)
    return np.diff(spoken, axis=-1) >= 0.5 * BIN_SECONDS - 1e-9


def _spoken_before(segments: Sequence[Segment], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of speech before each time: linear between the bounds of segments, which are sorted and disjoint."""
    if not segments:
        return np.zeros_like(times)
    bounds = np.array(segments, dtype=np.float64)  # [segments, 2]
    ends = np.cumsum(bounds[:, 1] - bounds[:, 0])
    spoken = np.stack([np.concatenate([[0.0], ends[:-1]]), ends], axis=1)
    return np.interp(times, bounds.ravel(), spoken.ravel())
