"""A conversation cannot contradict itself, and its activity is where half of a frame is speech."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.data.conversation import Conversation, Segment, activity_frames, clipped, joined, segments_by_channel
from ssl_tt.errors import InputError

VALID: dict[str, Any] = {
    "id": "call",
    "audio": None,
    "sample_rate_hz": None,
    "channels": 2,
    "duration_seconds": 10.0,
    "speakers": ("ann", "bob"),
    "segments": ((Segment(0.0, 4.0), Segment(4.0, 10.0)), ()),
}


@pytest.mark.parametrize(
    ("change", "valid", "message"),
    [
        ({"segments": ((Segment(8.0, 10.0004),), ())}, True, ""),
        ({"segments": ((Segment(8.0, 10.5),), ())}, False, "ends after the 10.000 s of the recording"),
        ({"segments": ((), (Segment(1.0, 2.0), Segment(2.0, 3.0)))}, True, ""),
        ({"segments": ((), (Segment(1.0, 2.0), Segment(1.9, 3.0)))}, False, "of 'bob' overlaps the one before"),
        ({"segments": ((Segment(1.0, 2.0),), (Segment(1.5, 3.0),))}, True, ""),
        ({"segments": ((), (Segment(2.0, 2.0),))}, False, "expected 0 <= start < end"),
        ({"segments": ((), (Segment(-0.1, 2.0),))}, False, "expected 0 <= start < end"),
        ({"segments": ((), (Segment(float("nan"), 2.0),))}, False, "expected 0 <= start < end"),
        ({"segments": ((),)}, False, "segments of 1 speakers for 2 channels"),
        ({"segments": None}, True, ""),
        ({"speakers": ("ann",)}, False, "1 speakers for 2 channels"),
        ({"speakers": ("ann", "ann")}, False, "expected another name for each channel"),
        ({"channels": 1000}, False, "1000 channels, expected 1 to 64"),
        ({"channels": 1, "speakers": ("ann",), "segments": None}, True, ""),
        ({"duration_seconds": 0.0}, False, "expected more than 0"),
        ({"duration_seconds": float("inf")}, False, "expected more than 0"),
        ({"duration_seconds": float("nan")}, False, "expected more than 0"),
        ({"duration_seconds": 1e15}, False, "1000000000000000.0 s, expected more than 0 and at most 604800"),
        ({"audio": Path("call.wav"), "sample_rate_hz": 8000}, True, ""),
        ({"audio": Path("call.wav"), "sample_rate_hz": 999}, False, "999 Hz, expected 1000 to 384000"),
        ({"audio": Path("call.wav"), "sample_rate_hz": 1 << 31}, False, "2147483648 Hz, expected 1000 to 384000"),
        ({"sample_rate_hz": 16000}, False, "audio and sample_rate_hz go together"),
        ({"id": ""}, False, "empty id"),
    ],
)
def test_contradictions_are_refused_in_one_line(change: dict[str, Any], valid: bool, message: str) -> None:
    if valid:
        Conversation(**VALID | change)
        return
    with pytest.raises(InputError) as caught:
        Conversation(**VALID | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_speaker_without_a_channel_is_named() -> None:
    assert segments_by_channel("call", ("ann", "bob"), {"bob": [(0, 1)]}) == ((), (Segment(0, 1),))
    with pytest.raises(
        InputError, match=r"'call': segments of 'eve', who has no channel; expected one of 'ann', 'bob'"
    ):
        segments_by_channel("call", ("ann", "bob"), {"eve": [(0, 1)]})


def frames_from(timeline: str) -> list[bool]:
    return [mark == "#" for mark in timeline]


def test_a_frame_is_active_from_half_of_it_on() -> None:
    # Frames of 100 ms.
    segments = (Segment(0.15, 0.35), Segment(0.46, 0.54), Segment(0.62, 0.64), Segment(0.66, 0.69), Segment(0.8, 1.0))
    assert activity_frames(segments, 10, 10).tolist() == frames_from(".###..#.##")
    assert activity_frames(segments, 5, 10, start_seconds=0.5).tolist() == frames_from(".#.##")
    assert activity_frames((), 3, 10).tolist() == frames_from("...")


@settings(deadline=None)
@given(
    bounds=st.lists(st.integers(0, 400), unique=True, max_size=20).map(sorted),
    first=st.integers(0, 400),
    frame_rate_hz=st.sampled_from([10, 25, 50]),
)
def test_activity_equals_a_count_of_milliseconds(bounds: list[int], first: int, frame_rate_hz: int) -> None:
    pairs = list(zip(bounds[::2], bounds[1::2], strict=False))
    speech = np.zeros(3000, dtype=bool)
    for start, end in pairs:
        speech[start:end] = True
    hop, n_frames = 1000 // frame_rate_hz, 20
    expected = [2 * speech[first + t * hop : first + (t + 1) * hop].sum() >= hop for t in range(n_frames)]
    segments = [Segment(start / 1000, end / 1000) for start, end in pairs]
    assert activity_frames(segments, n_frames, frame_rate_hz, first / 1000).tolist() == expected
    as_array = np.array(segments).reshape(-1, 2)
    assert activity_frames(as_array, n_frames, frame_rate_hz, first / 1000).tolist() == expected


def test_joining_makes_one_of_what_overlaps_touches_or_is_near() -> None:
    segments = [Segment(5, 6), Segment(0, 3), Segment(1, 2), Segment(3, 4), Segment(6.5, 7)]
    assert joined(segments) == (Segment(0, 4), Segment(5, 6), Segment(6.5, 7))
    assert joined(segments, gap_seconds=0.5) == (Segment(0, 4), Segment(5, 7))
    assert joined([]) == ()


def test_an_end_that_was_rounded_up_is_cut_and_what_is_further_out_is_left_to_be_refused() -> None:
    given = [Segment(8.0, 9.0), Segment(9.5, 10.05), Segment(10.01, 10.04), Segment(9.5, 10.06), Segment(11.0, 12.0)]
    assert clipped(given, 10.0) == (
        Segment(8.0, 9.0),
        Segment(9.5, 10.0),
        Segment(9.5, 10.06),
        Segment(11.0, 12.0),
    )
