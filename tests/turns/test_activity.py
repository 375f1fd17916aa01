import numpy as np
import pytest

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError
from ssl_tt.turns.activity import activity


def conversation(*segments: list[tuple[float, float]] | None, duration_seconds: float = 1.0) -> Conversation:
    labelled = None if segments[0] is None else tuple(tuple(Segment(*s) for s in of or []) for of in segments)
    return Conversation(
        id="call",
        audio=None,
        sample_rate_hz=None,
        channels=len(segments),
        duration_seconds=duration_seconds,
        speakers=tuple(f"speaker{i}" for i in range(len(segments))),
        segments=labelled,
    )


def test_a_frame_is_active_where_speech_covers_half_of_it() -> None:
    # Frames of 0.1 s: half of frame 2, less than half of frame 5.
    found = activity(conversation([(0.25, 0.54)], []), 10)
    assert found.shape == (10, 2)
    assert np.flatnonzero(found[:, 0]).tolist() == [2, 3, 4]
    assert not found[:, 1].any()


def test_a_part_equals_the_same_part_of_the_whole() -> None:
    call = conversation([(0.03, 0.31), (0.5, 0.9)], [(0.2, 0.6)])
    assert (activity(call, 50, start_seconds=0.2, frames=25) == activity(call, 50)[10:35]).all()


def test_a_conversation_without_segments_is_refused() -> None:
    with pytest.raises(InputError, match="'call' has no speech segments"):
        activity(conversation(None, None), 50)
