"""Events of the presets that count frames of 50 ms, skantze2017 and roddy2018: timelines, a letter a frame."""

import pytest

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.spans import Kind
from tests.turns.timelines import marked, timeline

RATE_HZ = 20
BOTH_PRESETS = pytest.mark.parametrize("preset", ["skantze2017", "roddy2018"])


def events_of(a: str, b: str, preset: str, *kinds: Kind) -> list[Event]:
    return [event for event in find_events(timeline(a, b), RATE_HZ, preset) if event.kind in kinds]


def turns(a: str, b: str, preset: str) -> list[tuple[Kind, int, int]]:
    """Kind, speaker and decision of what is found at pauses."""
    return [(e.kind, e.speaker, e.decision) for e in events_of(a, b, preset, "shift", "hold")]


# ------------------------------------------------------------------------------------------------------------ pauses


def test_a_pause_is_asked_about_at_every_length_it_reaches() -> None:
    #       asked:  ^   ^    ^
    a = "####" + ".............."
    b = "...." + "..........####"
    assert marked(events_of(a, b, "skantze2017", "shift"), "shift", 18) == "....B...B....B...."
    assert marked(events_of(a, b, "roddy2018", "shift"), "shift", 18) == "....B........B...."
    assert {(e.start, e.end, e.previous) for e in events_of(a, b, "skantze2017", "shift")} == {(4, 14, 0)}
    a = "####" + "..........####"
    assert marked(events_of(a, "." * 18, "skantze2017", "hold"), "hold", 18) == "....A...A....A...."


def test_a_pause_one_frame_too_short_is_not_asked_about() -> None:
    for silence, asked in ((1, 1), (4, 1), (5, 2), (9, 2), (10, 3)):
        a, b = "####" + "." * silence + "....", "...." + "." * silence + "####"
        assert len(turns(a, b, "skantze2017")) == asked
    for silence, asked in ((1, 1), (5, 1), (9, 1), (10, 2)):
        a, b = "####" + "." * silence + "....", "...." + "." * silence + "####"
        assert len(turns(a, b, "roddy2018")) == asked


@BOTH_PRESETS
def test_exactly_one_speaks_in_the_second_after_it(preset: str) -> None:
    def after_one_frame(a: str, b: str) -> list[tuple[Kind, int, int]]:
        return [turn for turn in turns("####." + a, "....." + b, preset) if turn[2] == 4]

    nobody = "." * 25
    assert after_one_frame(nobody, "." * 19 + "#.....") == [("shift", 1, 4)]
    assert after_one_frame(nobody, "." * 20 + "#....") == []
    assert after_one_frame("." * 19 + "#.....", nobody) == [("hold", 0, 4)]
    assert after_one_frame("." * 19 + "#.....", "#" + "." * 24) == []
    assert after_one_frame("." * 20 + "#....", "#" + "." * 24) == [("shift", 1, 4)]


@BOTH_PRESETS
def test_speakers_who_begin_at_once_are_no_event(preset: str) -> None:
    assert turns("####.#####", ".....#####", preset) == []


@BOTH_PRESETS
def test_a_pause_after_both_or_at_the_start_is_not_asked_about(preset: str) -> None:
    assert turns("####..####", "...#......", preset) == []
    assert turns("...###", "......", preset) == []
    assert turns("...###", ".....#", preset) == []


@BOTH_PRESETS
def test_the_end_of_the_dialogue_counts_as_silence_in_the_time_looked_ahead(preset: str) -> None:
    assert turns("####..", ".....#", preset) == [("shift", 1, 4)]
    assert turns("####..", "......", preset) == []


# ------------------------------------------------------------------------------------------------------------ onsets


def onset(said: str, before: int = 30, after: int = 100) -> tuple[str, str]:
    """B says this after so much silence, and then nothing for so long; A speaks all the time."""
    b = "." * before + said + "." * after
    return "#" * len(b), b


@pytest.mark.parametrize(
    ("preset", "length", "kind"),
    [
        ("skantze2017", 9, None),
        ("skantze2017", 10, "short"),
        ("skantze2017", 19, "short"),
        ("skantze2017", 20, None),
        ("skantze2017", 60, None),
        ("skantze2017", 61, "long"),
        ("roddy2018", 9, None),
        ("roddy2018", 10, "short"),
        ("roddy2018", 18, "short"),
        ("roddy2018", 19, None),
        ("roddy2018", 60, None),
        ("roddy2018", 61, "long"),
    ],
)
def test_an_utterance_is_short_or_long_or_neither_by_its_length(preset: str, length: int, kind: Kind | None) -> None:
    events = events_of(*onset("#" * length, after=110), preset, "short", "long")
    expected = [Event(30, 40, kind, 1, (39, 40))] if kind else []
    assert events == expected


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [(0.97, "short"), (0.98, None), (3.02, None), (3.03, "long")],  # 19.4, 19.6, 60.4 and 60.6 frames: 19, 20, 60, 61
)
def test_short_is_less_than_half_a_second_more_and_long_more_than_two_and_a_half(
    seconds: float, kind: Kind | None
) -> None:
    call = Conversation(
        id="call",
        audio=None,
        sample_rate_hz=None,
        channels=2,
        duration_seconds=12.0,
        speakers=("A", "B"),
        segments=((Segment(2.0, 2.0 + seconds),), ()),
    )
    onsets = find_events(activity(call, RATE_HZ), RATE_HZ, "skantze2017")
    # After 2 s of silence it is asked at 2.5 s, at the last frame of the first half second.
    assert onsets == ([Event(40, 50, kind, 0, (49, 50))] if kind else [])


@BOTH_PRESETS
@pytest.mark.parametrize(("before", "found"), [(30, 1), (29, 0)])
def test_its_speaker_is_silent_for_a_second_and_a_half_before(preset: str, before: int, found: int) -> None:
    for said in ("#" * 12, "#" * 61):
        a, b = onset(said, before)
        assert len(events_of(a, b, preset, "short", "long")) == found
        assert len(events_of("#" + a, "#" + b, preset, "short", "long")) == found


@pytest.mark.parametrize(("preset", "after"), [("skantze2017", 100), ("roddy2018", 51)])
def test_silence_follows_a_short_utterance(preset: str, after: int) -> None:
    for silence, found in ((after, 1), (after - 1, 0)):
        a, b = onset("#" * 12, after=silence)
        rest = "#" + "." * 100
        assert len(events_of(a + rest, b + rest, preset, "short")) == found


def test_the_silence_after_a_short_utterance_lies_inside_the_dialogue() -> None:
    for after, found in ((100, 1), (99, 0)):
        assert len(events_of(*onset("#" * 12, after=after), "skantze2017", "short")) == found
    for length, found in ((111, 1), (110, 0)):  # Roddy's code wants this many frames from every onset on
        assert len(events_of(*onset("#" * 12, after=length - 12), "roddy2018", "short")) == found
        assert len(events_of(*onset("#" * length, after=0), "roddy2018", "long")) == found
    for length, found in ((61, 1), (60, 0)):
        assert len(events_of(*onset("#" * length, after=0), "skantze2017", "long")) == found


def test_a_long_utterance_may_have_pauses_in_roddys_code_alone() -> None:
    said = "#" * 30 + "." * 9 + "#" * 30
    assert len(events_of(*onset(said), "roddy2018", "long")) == 1
    assert len(events_of(*onset(said), "skantze2017", "long")) == 0
    # Silent in 10 of the first 60 frames, or in the frame after them: not long.
    assert len(events_of(*onset("#" * 30 + "." * 10 + "#" * 30), "roddy2018", "long")) == 0
    assert len(events_of(*onset("#" * 60 + "." + "#" * 9), "roddy2018", "long")) == 0


# ---------------------------------------------------------------------------------------------------------- overlaps


def overlap(before_a: str, overlapping: int, later_a: str, later_b: str) -> tuple[str, str]:
    """A speaks before, B begins; `later` rows follow the overlap and are filled up with silence."""
    length = len(before_a) + overlapping + 40
    a = before_a + "#" * overlapping + later_a
    b = "." * len(before_a) + "#" * overlapping + later_b
    return a.ljust(length, "."), b.ljust(length, ".")


def overlaps(a: str, b: str) -> list[Event]:
    return events_of(a, b, "roddy2018", "overlap")


def test_who_speaks_more_a_second_after_the_start_of_an_overlap_has_the_turn() -> None:
    a, b = overlap("#" * 28, 3, "", "#" * 27)
    assert overlaps(a, b) == [Event(28, 31, "overlap", 1, (29, 30), interrupted=0)]
    assert overlaps(a, b)[0].previous == 0
    a, b = overlap("#" * 28, 3, "#" * 27, "")
    assert overlaps(a, b) == [Event(28, 31, "overlap", 0, (29, 30), interrupted=0)]
    assert overlaps(b, a) == [Event(28, 31, "overlap", 1, (29, 30), interrupted=1)]


def test_only_the_frames_from_twenty_to_thirty_decide() -> None:
    # After three frames of overlap, frame 20 is the eighteenth of what follows.
    assert overlaps(*overlap("#" * 28, 3, "#" * 17, "." * 17 + "#")) != []
    assert overlaps(*overlap("#" * 28, 3, "#" * 17, "." * 16 + "#")) == []  # nobody speaks in them
    assert overlaps(*overlap("#" * 28, 3, "#" * 17, "." * 26 + "#")) != []
    assert overlaps(*overlap("#" * 28, 3, "#" * 17, "." * 27 + "#")) == []
    assert overlaps(*overlap("#" * 28, 3, "." * 17 + "##", "." * 17 + "..##")) == []  # as much from both


@pytest.mark.parametrize(("gaps", "found"), [(5, 1), (6, 0)])
def test_the_one_interrupted_may_pause_for_five_of_28_frames(gaps: int, found: int) -> None:
    for before in ("#" * (28 - gaps) + "." * gaps, "." * gaps + "#" * (28 - gaps)):
        assert len(overlaps(*overlap(before, 3, "", "#" * 27))) == found


def test_the_one_who_begins_was_silent_before() -> None:
    a, b = overlap("#" * 40, 3, "", "#" * 27)
    for frame, found in ((11, 1), (12, 0)):
        assert len(overlaps(a, b[:frame] + "#" + b[frame + 1 :])) == found


def test_an_overlap_lasts_two_frames_and_has_room_around_it() -> None:
    for frames, found in ((2, 1), (1, 0)):
        assert len(overlaps(*overlap("#" * 28, frames, "", "#" * 29))) == found
    for before, found in ((28, 1), (27, 0)):
        assert len(overlaps(*overlap("#" * before, 3, "", "#" * 27))) == found
    a, b = overlap("#" * 28, 3, "", "#" * 27)
    for length, found in ((59, 1), (58, 0)):
        assert len(overlaps(a[:length], b[:length])) == found
