"""Events of the VAP presets at 20 Hz, where a frame is 50 ms: timelines, a letter a frame, scored frames marked below.

vap2022: silence 3 frames or more, utterances around it 20 or more, scored from the second frame on, 2 frames, none
before frame 60; backchannel 4 to 20 frames, 20 silent before and 40 after, scored 4; windows of 10; horizon 40.
"""

from itertools import pairwise

import numpy as np
import pytest

from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.non_shift import windows_of_non_shift
from ssl_tt.turns.sampling import draw, windows
from ssl_tt.turns.spans import Kind, of_windows
from tests.turns.timelines import marked, of_runs, timeline

RATE_HZ = 20
LEAD = 60  # frames of speech by A before each picture: context, and an utterance long enough
SECOND = "#" * 20
SILENT = "." * 20


def events_of(a: str, b: str, preset: str = "vap2022") -> list[Event]:
    return find_events(timeline(a, b), RATE_HZ, preset)


def row(kind: Kind, a: str, b: str, preset: str = "vap2022", lead: int = LEAD) -> str:
    """The scored frames of one kind in a picture that follows `lead` frames of A alone, which may reach into them."""
    events = events_of("#" * lead + a, "." * lead + b, preset)
    return marked(events, kind, lead + len(a))[lead:]


# --------------------------------------------------------------------------------------------------- shift and hold


def test_another_speaker_after_a_silence_is_a_shift() -> None:
    a = "....." + SILENT
    b = "....." + SECOND
    assert row("shift", a, b) == ".BB.." + SILENT
    assert row("hold", a, b) == "....." + SILENT
    (event,) = (event for event in events_of("#" * LEAD + a, "." * LEAD + b) if event.kind == "shift")
    assert event == Event(60, 65, "shift", 1, (61, 63))
    assert (event.previous, event.decision) == (0, 62)


def test_the_same_speaker_after_a_silence_is_a_hold() -> None:
    a = "....." + SECOND
    b = "....." + SILENT
    assert row("hold", a, b) == ".AA.." + SILENT
    assert row("shift", a, b) == "....." + SILENT


@pytest.mark.parametrize(("preset", "shortest"), [("vap2022", 3), ("vap2023", 5), ("vap_event", 2)])
def test_a_silence_of_exactly_the_minimum_counts_and_one_frame_less_does_not(preset: str, shortest: int) -> None:
    lead = 400
    for length, found in ((shortest, 1), (shortest - 1, 0)):
        silence, speech, silent = "." * length, "#" * 40, "." * 40
        events = events_of("#" * lead + silence + silent, "." * lead + silence + speech, preset)
        holds = events_of("#" * lead + silence + speech, "." * lead + silence + silent, preset)
        if preset == "vap2023":  # where neither kind alone is kept, what follows from a shift tells
            assert len([e for e in events if e.kind == "long"]) == found
        else:
            assert len([e for e in events if e.kind == "shift"]) == found
            assert len([e for e in holds if e.kind == "hold"]) == found


@pytest.mark.parametrize(("preset", "after"), [("vap2022", 20), ("vap_event", 40)])
def test_the_utterance_after_may_end_with_the_dialogue_but_not_earlier(preset: str, after: int) -> None:
    for length, found in ((after, 1), (after - 1, 0)):
        for rest in ("", "." * 30):
            a = "#" * 400 + "....." + "." * length + rest
            b = "." * 400 + "....." + "#" * length + rest
            assert [e.kind for e in events_of(a, b, preset)].count("shift") == found


def test_the_utterance_before_may_begin_with_its_speakers_turn_but_not_later() -> None:
    for length, found in ((20, ".AA.."), (19, ".....")):
        a = "....." + "." * length + "....." + SECOND
        b = "....." + "#" * length + "....." + SILENT
        assert row("shift", a, b)[5 + length :] == found + SILENT


def test_the_other_must_be_silent_for_a_second_on_both_sides() -> None:
    a, b = "....." + SILENT, "....." + SECOND
    assert row("shift", a + "#", b + "#") == ".BB.." + SILENT + "."  # A joins after exactly a second
    assert row("shift", a[:-1] + "##", b + "#") == "....." + SILENT + "."  # and a frame earlier
    for frames, found in ((20, ".BB.."), (19, ".....")):  # B interrupts A, who then has so many frames alone
        before_a, before_b = "#" + "#" * frames, "#" + "." * frames
        assert row("shift", before_a + a, before_b + b)[1 + frames :] == found + SILENT


def test_pauses_inside_a_turn_do_not_end_the_utterance_around_a_silence() -> None:
    a = "....." + "......................."
    b = "....." + "##########...##########"
    assert row("shift", a, b) == ".BB.." + "." * 23
    # B's own pause is a hold only if what lies around it is long enough with further pauses filled.
    assert row("hold", a, b) == "." * 28
    b = "....." + SECOND + "..." + "#.##################"
    assert row("hold", "." * len(b), b) == "." * 25 + ".BB" + "." * 20
    assert row("hold", "." * (len(b) - 1), b[:-1]) == "." * 47


def test_a_pause_with_a_word_of_the_other_is_not_filled() -> None:
    a = "....." + "..........#.........."
    b = "....." + "#########...#########"
    assert row("shift", a, b) == "." * 26


@pytest.mark.parametrize(
    ("lead", "found"), [(59, ".BB.."), (58, ".....")]
)  # the scored region begins at frame 60, or at 59
def test_nothing_is_scored_before_three_seconds(lead: int, found: str) -> None:
    assert row("shift", "....." + SILENT, "....." + SECOND, lead=lead) == found + SILENT


def test_silences_at_the_ends_are_no_events() -> None:
    kinds = {e.kind for e in events_of("." * 80 + "#" * 30 + "." * 20, "." * 130)}
    assert not kinds & {"shift", "hold", "shift_overlap"}


def test_speakers_who_begin_at_once_after_a_silence_are_no_event() -> None:
    a = "....." + "##" + SILENT
    b = "....." + "##" + SECOND
    for kind in ("shift", "hold", "shift_overlap"):
        assert row(kind, a, b) == "." * 27


def test_speakers_who_end_at_once_before_a_silence_are_no_event() -> None:
    a = SECOND + "....." + SILENT
    b = SECOND + "....." + SECOND
    for kind in ("shift", "hold", "shift_overlap"):
        assert row(kind, a, b) == "." * 45


# ---------------------------------------------------------------------------------------------- shift with overlap


@pytest.mark.parametrize("overlap", [1, 2, 3, 30])
def test_a_turn_that_changes_by_an_overlap_of_any_length_is_a_kind_of_its_own(overlap: int) -> None:
    a = "#" * overlap + SILENT
    b = "#" * overlap + SECOND
    expected = (".BB" + "." * 50)[: len(a)]  # the region may outlast the overlap
    assert row("shift_overlap", a, b) == expected
    assert row("shift", a, b) == "." * len(a)
    assert row("predict_shift", a, b) == row("long", a, b) == "." * len(a)


def test_an_overlap_counts_between_a_second_of_each_alone() -> None:
    for after, found in ((20, ".BB"), (19, "...")):
        assert row("shift_overlap", "###" + "." * after, "###" + "#" * after) == found + "." * after
    for before, found in ((20, ".AA"), (19, "...")):
        a = "....." + "." * before + "###" + SECOND
        b = "....." + "#" * before + "###" + SILENT
        assert row("shift_overlap", a, b)[5 + before :] == found + SILENT


def test_an_overlap_after_which_the_same_speaker_goes_on_is_no_shift() -> None:
    assert row("shift_overlap", "###" + SECOND, "###" + SILENT) == "." * 23
    # Nor is one that a silence separates from the turn on either side.
    assert row("shift_overlap", "###." + SILENT, "###." + SECOND) == "." * 24
    assert row("shift_overlap", ".###" + SILENT, ".###" + SECOND) == "." * 24


@pytest.mark.parametrize(("lead", "found"), [(59, ".BB"), (58, "...")])
def test_no_overlap_is_scored_before_three_seconds(lead: int, found: str) -> None:
    assert row("shift_overlap", "###" + SILENT, "###" + SECOND, lead=lead) == found + SILENT


# ----------------------------------------------------------------------------------------------------- backchannels


def backchannel(length: int, before: int = 60, after: int = 40) -> tuple[str, str]:
    """A speaks on, B says something of `length` after so much silence, and is silent for so long after it."""
    return "#" * (before + length + after), "." * before + "#" * length + "." * after


@pytest.mark.parametrize(("length", "is_one"), [(3, False), (4, True), (20, True), (21, False)])
def test_a_backchannel_lasts_from_a_fifth_of_a_second_to_a_second(length: int, is_one: bool) -> None:
    a, b = backchannel(length)
    found = "." * 60 + "BBBB" + "." * (length + 36) if is_one else "." * (100 + length)
    for kind in ("backchannel", "short"):
        assert marked(events_of(a, b), kind, len(a)) == found
    if is_one:
        (event,) = (e for e in events_of(a, b) if e.kind == "backchannel")
        assert event == Event(60, 60 + length, "backchannel", 1, (60, 64))
        assert event.previous == 0


@pytest.mark.parametrize(("before", "is_one"), [(20, True), (19, False)])
def test_its_speaker_says_nothing_for_a_second_before(before: int, is_one: bool) -> None:
    a = "#" * 30 + "." * 10 + "#" * (before + 6 + 40)
    b = "." * 30 + "#" * 10 + "." * before + "######" + "." * 40
    lead = "#" * 30, "." * 30
    found = marked(events_of(lead[0] + a, lead[1] + b), "backchannel", 30 + len(a))
    assert found == "." * (70 + before) + ("BBBB.." if is_one else "......") + "." * 40


@pytest.mark.parametrize(
    ("preset", "after", "is_one"),
    [("vap2022", 40, True), ("vap2022", 39, False), ("vap2023", 20, True), ("vap2023", 19, False)],
)
def test_its_speaker_says_nothing_for_a_while_after(preset: str, after: int, is_one: bool) -> None:
    a, b = backchannel(6, after=after)
    for rest in ("", "#"):  # the silence ends with the dialogue, or with speech
        events = events_of(a + rest, b + rest, preset)
        assert [e.kind for e in events].count("backchannel") == is_one


def test_it_comes_after_the_other_alone_not_after_both_and_not_at_the_ends() -> None:
    lead = "#" * 80, "." * 80
    tail = "#" * 40, "." * 40

    def found(a: str, b: str) -> str:
        return marked(events_of(lead[0] + a + tail[0], lead[1] + b + tail[1]), "backchannel", 120 + len(a))[80:-40]

    # After a silence the other, who spoke last, still has the turn.
    assert found("........######", "........######") == "........BBBB.."
    assert found("#" * 14, "........######") == "........BBBB.."
    # B spoke last, even if long ago: a short utterance in B's own turn.
    assert found("." * 33 + "#", "#######....................######.") == "." * 34
    # Both spoke last, B a second ago.
    assert found("#" * 7 + "." * 26 + "#", "#######....................######.") == "." * 34
    # At the very start nobody has the turn, and at the very end nobody knows of a silence after it.
    assert not [e for e in events_of("." * 200, "." * 80 + "######" + "." * 114) if e.kind == "backchannel"]
    assert not [e for e in events_of("#" * 100, "." * 94 + "######") if e.kind == "backchannel"]


@pytest.mark.parametrize(("before", "is_one", "is_predicted"), [(59, 0, 0), (60, 1, 0), (69, 1, 0), (70, 1, 1)])
def test_none_begins_before_three_seconds_and_none_is_predicted_there(
    before: int, is_one: int, is_predicted: int
) -> None:
    a, b = backchannel(6, before=before)
    kinds = [e.kind for e in events_of(a, b)]
    assert (kinds.count("backchannel"), kinds.count("predict_backchannel")) == (is_one, is_predicted)


def test_a_backchannel_is_predicted_of_the_listener_in_the_half_second_before() -> None:
    a, b = backchannel(6, before=75)
    assert marked(events_of(a, b), "predict_backchannel", len(a)) == "." * 65 + "B" * 10 + "." * 46


# ------------------------------------------------------------------------------------------------- what lies ahead


def test_a_shift_is_predicted_in_the_half_second_before_and_followed_by_a_long_utterance() -> None:
    a = SECOND + "..." + SILENT
    b = SILENT + "..." + SECOND
    assert row("predict_shift", a, b) == "." * 10 + "B" * 10 + "..." + SILENT
    assert row("long", a, b) == SILENT + "..." + "BBBB" + "." * 16
    # The window may reach into pauses, and to before three seconds: it is the shift's.
    assert marked(events_of("#" * 59 + a[20:], "." * 59 + b[20:]), "predict_shift", 82)[49:59] == "B" * 10


def test_non_shift_is_where_only_the_last_speaker_speaks_within_two_seconds() -> None:
    # From three seconds on, and as long as the horizon of 40 frames lies inside the dialogue.
    assert marked(events_of("#" * 110, "." * 110), "non_shift", 110) == "." * 60 + "A" * 10 + "." * 40
    # B's first word at frame 105 ends it at frame 64, whose horizon ends before that word.
    b = "." * 105 + "#" * 5
    assert marked(events_of("#" * 110, b), "non_shift", 110) == "." * 60 + "A" * 5 + "." * 45


def test_non_shift_goes_on_in_a_pause_and_ends_where_nobody_will_speak() -> None:
    #    A until frame 70, again from 90 to 94, then silence: seen until the last word begins within the horizon
    a = "#" * 70 + "." * 20 + "#####" + "." * 60
    assert marked(events_of(a, "." * 155), "non_shift", 155) == "." * 60 + "A" * 34 + "." * 61


def test_nobody_has_the_turn_in_an_overlap_or_after_it() -> None:
    a = "#" * 70 + "." * 5 + "#" * 60
    b = "." * 65 + "#" * 5 + "." * 65
    # At 60 to 64 B is about to speak; until 75 both spoke last; then A has the turn.
    assert marked(events_of(a, b), "non_shift", 135) == "." * 75 + "A" * 20 + "." * 40


def test_negatives_of_a_shift_lie_where_one_speaks_and_goes_on() -> None:
    # Non-shift 60 to 99, all of it speech: windows of 10 from the fourth frame on, never to the last frame.
    a = "#" * 120 + "#" * 20 + "..." + SILENT
    b = "." * 140 + "..." + SECOND
    (negative,) = (e for e in events_of(a, b) if e.kind == "predict_shift_negative")
    assert negative.start in (63, 73, 83)
    assert (negative.end, negative.speaker, negative.previous) == (negative.start + 10, 0, 0)
    # With pauses in it no window of 10 frames is speech throughout.
    a = "#####." * 23 + "##" + "..." + SILENT
    assert [e.kind for e in events_of(a, b)].count("predict_shift") == 1
    assert [e.kind for e in events_of(a, b)].count("predict_shift_negative") == 0


def test_negatives_of_a_backchannel_lie_in_non_shift_and_ask_the_listener() -> None:
    # Before B's word non-shift ends at frame 119, speech and pauses alike.
    a = "#####." * 40
    b = "." * 160 + "######" + "." * 74
    events = events_of(a, b)
    assert [e.kind for e in events].count("predict_backchannel") == 1
    (negative,) = (e for e in events if e.kind == "predict_backchannel_negative")
    assert (negative.speaker, negative.previous) == (1, 0)
    assert negative.start in (63, 73, 83, 93, 103, *range(169, 199))


@pytest.mark.parametrize("preset", ["vap2022", "vap2023"])
def test_there_are_as_many_negatives_as_positives_where_there_is_room(preset: str) -> None:
    rng = np.random.default_rng(0)
    turns = [(state, int(n)) for n in rng.integers(60, 160, 20) for state, n in ((1, n), (0, 5), (2, n), (0, 5))]
    # In every turn of A's but the first, B says something.
    spoken = of_runs([(1, 100), (3, 6), (1, 100), (0, 5), (2, 100), (0, 5)] * 10 + turns)
    kinds = [event.kind for event in find_events(spoken, RATE_HZ, preset)]
    assert kinds.count("predict_shift_negative") == kinds.count("predict_shift") > 30
    assert kinds.count("predict_backchannel_negative") == kinds.count("predict_backchannel") >= 9


def test_windows_lie_side_by_side_and_only_inside() -> None:
    starts, stretch = windows(np.array([0, 100, 200]), np.array([29, 109, 210]), 10)
    assert starts.tolist() == [0, 10, 200]
    assert stretch.tolist() == [0, 0, 2]
    assert windows(np.array([5]), np.array([2]), 10)[0].tolist() == []


@pytest.mark.parametrize(
    ("length", "starts"), [(10, []), (11, [0]), (13, [0]), (14, [3]), (23, [3]), (24, [3, 13]), (34, [3, 13, 23])]
)
def test_windows_of_non_shift_leave_three_frames_where_there_is_room_and_the_last_one(
    length: int, starts: list[int]
) -> None:
    found = windows_of_non_shift(of_windows(np.array([100]), np.array([100 + length]), np.array([1])), 10)
    assert (found.start - 100).tolist() == starts
    assert (found.end - found.start).tolist() == [10] * len(starts)
    assert set(found.speaker) <= {1}


def test_more_positives_add_negatives_and_drop_none() -> None:
    spans = of_windows(np.arange(50), np.arange(50) + 1, np.zeros(50, int))
    chosen = [set(draw(spans, n, seed=0).start.tolist()) for n in range(60)]
    assert all(before < after for before, after in pairwise(chosen[:51]))
    assert chosen[50] == chosen[59] == set(range(50))
    assert chosen[10] != set(draw(spans, 10, seed=1).start.tolist())
    assert draw(spans, 20, seed=0).start.tolist() == sorted(chosen[20])


# ---------------------------------------------------------------------------------------------- vap2023, vap_event


def test_vap2023_keeps_as_many_shifts_as_holds() -> None:
    turn = SECOND + "....."
    nothing = SILENT + "....."
    #    a hold by A, a shift, a hold by B, a shift, a shift
    a = turn * 2 + nothing * 2 + turn + nothing + turn
    b = nothing * 2 + turn * 2 + nothing + turn + nothing
    a, b = "#" * 60 + "....." + a, "." * 65 + b
    kinds = [e.kind for e in events_of(a, b, "vap2022")]
    assert (kinds.count("hold"), kinds.count("shift")) == (3, 4)
    events = events_of(a, b, "vap2023")
    kinds = [e.kind for e in events]
    assert (kinds.count("hold"), kinds.count("shift")) == (3, 3)
    assert (kinds.count("predict_shift"), kinds.count("long")) == (4, 4)  # of all of them
    assert {e.region[1] - e.region[0] for e in events if e.kind == "shift"} == {4}
    assert {e.region[0] - e.start for e in events if e.kind == "shift"} == {1}


def test_vap2023_asks_the_listener_inside_turns_away_from_what_the_listener_says() -> None:
    # A's turn from 20 to 160 with a pause in it: windows between 1 s after its start (but 3 s) and 2 s before its end.
    a = "." * 20 + "#" * 60 + "...." + "#" * 76 + "." * 26 + "#" * 80
    b = "#" * 15 + "." * 155 + "######" + "." * 90
    a, b = a[: len(b)], b[: len(a)]
    events = events_of(a, b, "vap2023")
    assert [e.kind for e in events].count("predict_backchannel") == 1
    (negative,) = (e for e in events if e.kind == "predict_backchannel_negative")
    assert negative.start in (*range(60, 111, 10), *range(206, len(a) - 49, 10))
    assert (negative.speaker, negative.previous) == (1, 0)


def test_vap_event_asks_once_after_twenty_seconds_a_fifth_of_a_second_into_the_silence() -> None:
    for lead, found in ((396, 1), (395, 0)):
        a = "#" * lead + "." * 45
        b = "." * lead + "....." + "#" * 40
        events = events_of(a, b, "vap_event")
        assert [(e.kind, e.region) for e in events] == [("shift", (lead + 4, lead + 8))] * found
