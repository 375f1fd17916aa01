"""Dialogues drawn as text, read back from it."""

import numpy as np
import pytest

from ssl_tt.errors import InputError
from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.timeline import timeline
from tests.turns.timelines import timeline as parsed

A = "####################....####################........................"
B = "..............##..............................######################"


def test_a_column_a_frame_draws_what_was_given() -> None:
    assert timeline(parsed(A, B), [], 10, column_seconds=0.1).split("\n") == [
        "seconds 0         1         2         3         4         5         6",
        f"A       {A}",
        f"B       {B}",
    ]


def test_events_stand_where_they_are_scored_under_the_letter_of_their_speaker() -> None:
    activity = np.repeat(parsed("#" * 40 + "....." + "#" * 25, "." * 70), 5, axis=0)
    hold = next(event for event in find_events(activity, 50, "vap2022") if event.kind == "hold")
    assert hold.region == (202, 207)
    rows = timeline(activity, [hold], 50).split("\n")
    assert rows[3] == "hold    " + " " * 40 + "AA"  # 4.04 to 4.14 s
    rows = timeline(activity, [hold], 50, column_seconds=0.02, columns=400).split("\n")
    assert rows[3] == "hold    " + " " * 202 + "AAAAA"


def test_each_kind_has_a_row_and_two_speakers_in_a_column_a_star() -> None:
    made_up = [
        Event(0, 2, "non_shift", 0, (0, 2)),
        Event(2, 6, "shift", 1, (3, 5)),
        Event(2, 4, "non_shift", 1, (2, 4)),
        Event(3, 8, "non_shift", 0, (3, 8)),
    ]
    assert timeline(np.zeros((9, 2), bool), made_up, 20).split("\n") == [
        "seconds   0",
        "A         .....",
        "B         .....",
        "shift      BB",
        "non_shift A*AA",
    ]


def test_half_of_a_column_is_speech_and_the_last_may_be_shorter() -> None:
    activity = parsed("#.....##.#", "..........")  # columns of 2: half, none, none, all, half
    assert timeline(activity, [], 20).split("\n")[1] == "A       #..##"
    assert timeline(activity[:9], [], 20).split("\n")[1] == "A       #..#."
    assert timeline(activity[:7], [], 20).split("\n")[1] == "A       #..#"


def test_blocks_of_columns_continue_each_other() -> None:
    whole = timeline(parsed(A, B), [], 10)
    blocks = [block.split("\n") for block in timeline(parsed(A, B), [], 10, columns=30).split("\n\n")]
    assert [len(block) for block in blocks] == [3, 3, 3]
    assert "".join(block[1][8:] for block in blocks) == whole.split("\n")[1][8:]
    assert blocks[1][0] == "seconds 3         4         5"


def test_seconds_stand_at_the_first_column_of_theirs_where_there_is_room() -> None:
    clock = timeline(np.zeros((50, 2), bool), [], 12.5).split("\n")[0]
    assert clock == "seconds 0            1           2            3"
    clock = timeline(np.zeros((24, 2), bool), [], 2, column_seconds=1.0).split("\n")[0]
    assert clock == "seconds 0 2 4 6 8 10"


def test_a_dialogue_of_no_frames_is_empty() -> None:
    assert timeline(np.zeros((0, 2), bool), [], 50) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frame_rate_hz": 0}, "frame rate 0 Hz: expected a positive number"),
        ({"frame_rate_hz": float("nan")}, "frame rate nan Hz: expected a positive number"),
        ({"column_seconds": 0.01}, "columns of 0.01 s at 50 Hz: expected at least a frame, 0.02 s; raise column"),
        ({"column_seconds": -1.0}, "columns of -1 s"),
        ({"column_seconds": float("nan")}, "columns of nan s"),
        ({"columns": 0}, "blocks of 0 columns, expected 1 or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        timeline(np.zeros((9, 2), bool), [], **{"frame_rate_hz": 50, **changes})
    with pytest.raises(InputError, match="activity of 3 speakers"):
        timeline(np.zeros((9, 3), bool), [], 50)
