"""Voice activity in frames, from segments in seconds."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt import timebase
from ssl_tt.data.conversation import Conversation, activity_frames
from ssl_tt.errors import InputError


def activity(
    conversation: Conversation, frame_rate_hz: float, start_seconds: float = 0.0, frames: int | None = None
) -> NDArray[np.bool_]:
    """Who speaks in each frame, [T, S] bool: true where speech covers at least half of the frame.

    Frame t covers [start + t * hop, start + (t + 1) * hop); T is `frames`, or all that fit into the conversation.
    Raises InputError for a conversation without segments.
    """
    if conversation.segments is None:
        raise InputError(
            f"conversation {conversation.id!r} has no speech segments: give an annotated manifest, or let "
            "`ssl-tt prepare` detect them"
        )
    if frames is None:
        frames = timebase.frames(conversation.duration_seconds - start_seconds, frame_rate_hz)
    return np.stack(
        [activity_frames(segments, frames, frame_rate_hz, start_seconds) for segments in conversation.segments], axis=1
    )
