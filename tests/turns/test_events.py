"""Events of preset inoue2024 at 20 Hz, where a frame is 50 ms: drawn as timelines, a letter a frame.

silence above 0.25 s: 6 frames or more          decision 0.05 s into it: the first frame of the silence
utterances above 1 s: 21 frames or more         context of 3 s: silences from frame 59 on
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.data.corpora import read_corpus
from ssl_tt.errors import InputError
from ssl_tt.turns.activity import activity as activity_of
from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.states import dialogue_states, filled, last_speaker, last_states, runs
from tests.turns.timelines import timeline

RATE_HZ = 20
LEAD = 60  # frames of speech by A before each picture: context, and an utterance long enough


def after_lead(a: str, b: str) -> list[Event]:
    """Events of a picture that follows three seconds of A alone, counted from the start of the picture."""
    events = find_events(timeline("#" * LEAD + a, "." * LEAD + b), RATE_HZ)
    return [
        Event(e.start - LEAD, e.end - LEAD, e.kind, e.speaker, (e.region[0] - LEAD, e.region[1] - LEAD)) for e in events
    ]


def test_another_speaker_after_a_silence_is_a_shift() -> None:
    a = "......" + "....................."
    b = "......" + "#####################"
    assert after_lead(a, b) == [Event(start=0, end=6, kind="shift", speaker=1, region=(0, 1))]
    assert after_lead(a, b)[0].previous == 0


def test_the_same_speaker_after_a_silence_is_a_hold() -> None:
    a = "......" + "#####################"
    b = "......" + "....................."
    assert after_lead(a, b) == [Event(start=0, end=6, kind="hold", speaker=0, region=(0, 1))]
    assert after_lead(a, b)[0].previous == 0


@pytest.mark.parametrize("a_goes_on", [True, False])
def test_a_silence_of_exactly_a_quarter_second_is_too_short(a_goes_on: bool) -> None:
    speech, silence = "#" * 21, "." * 21
    rows = (speech, silence) if a_goes_on else (silence, speech)
    assert after_lead("....." + rows[0], "....." + rows[1]) == []
    assert len(after_lead("......" + rows[0], "......" + rows[1])) == 1


def test_the_next_utterance_is_longer_than_a_second() -> None:
    b = "......" + "####################"
    assert after_lead("." * 26, b) == []
    assert len(after_lead("." * 27, b + "#")) == 1


def test_the_utterance_before_is_longer_than_a_second() -> None:
    # B speaks last for 20 frames, then for 21, after A's lead and a silence; A goes on.
    for frames, found in ((20, 0), (21, 1)):
        a = "......" + "." * frames + "......" + "#" * 21
        b = "......" + "#" * frames + "......" + "." * 21
        events = after_lead(a, b)
        assert [e.kind for e in events if e.start > 0] == ["shift"] * found


def test_pauses_inside_a_turn_do_not_end_the_utterance() -> None:
    #    silence    two short pieces of B's, a pause of three frames between
    a = "......" + "......................."
    b = "......" + "##########...##########"
    assert [e.kind for e in after_lead(a, b)] == ["shift"]


def test_a_pause_that_counts_belongs_to_the_turn_around_it() -> None:
    # B's pause is an event itself only if what B says around it is long enough.
    a = "......" + "." * 37
    b = "......" + "#" * 10 + "......" + "#" * 21
    events = after_lead(a, b)
    assert [(e.kind, e.start) for e in events] == [("shift", 0)]
    b = "......" + "#" * 21 + "......" + "#" * 21
    events = after_lead("." * len(b), b)
    assert [(e.kind, e.start) for e in events] == [("shift", 0), ("hold", 27)]


def test_the_other_must_be_silent_around_the_silence() -> None:
    a = "......" + "....................."
    b = "......" + "#####################"
    assert after_lead(a[:-1] + "#", b) == []  # A begins inside B's first second
    for frames, found in ((20, 0), (21, 1)):  # B interrupts A, who then has so many frames alone
        interrupted = timeline("#" * LEAD + a, "." * (LEAD - frames - 1) + "#" + "." * frames + b)
        assert len(find_events(interrupted, RATE_HZ)) == found


def test_silence_after_both_spoke_at_once_is_no_event() -> None:
    a = "##########" + "......" + "#####################"
    b = "##########" + "......" + "....................."
    assert after_lead(a, b) == []


def test_silences_at_the_ends_are_no_events() -> None:
    assert find_events(timeline("." * 80 + "#" * 30, "." * 110), RATE_HZ) == []
    assert find_events(timeline("#" * 80 + "." * 30, "." * 110), RATE_HZ) == []


def test_no_decision_is_due_before_three_seconds() -> None:
    # Decision 1 frame into the silence: its end is frame 60, or 59.
    tail_a, tail_b = "......" + "." * 21, "......" + "#" * 21
    assert len(find_events(timeline("#" * 59 + tail_a, "." * 59 + tail_b), RATE_HZ)) == 1
    assert find_events(timeline("#" * 58 + tail_a, "." * 58 + tail_b), RATE_HZ) == []


def test_the_decision_frame_ends_by_the_decision_time() -> None:
    for rate, frame in ((20, 0), (50, 1), (100, 4)):
        spoken = np.zeros((rate * 8, 2), dtype=bool)
        spoken[: rate * 4, 0] = spoken[rate * 5 :, 1] = True
        (event,) = find_events(spoken, rate)
        assert event.decision == event.start + frame
        assert (frame + 1) / rate <= 0.05 < (frame + 2) / rate


activities = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=14
)  # runs of a state: who speaks (in bits) and frames


def drawn(stretches: list[tuple[int, int]]) -> np.ndarray:
    states = np.repeat([state for state, _ in stretches], [length for _, length in stretches])
    return np.stack([states & 1, states >> 1], axis=1).astype(bool)


def slow_events(activity: np.ndarray) -> list[Event]:
    """The definition word for word, frame by frame, at 20 Hz."""
    n = len(activity)
    a_only, b_only = activity[:, 0] & ~activity[:, 1], activity[:, 1] & ~activity[:, 0]
    alone = [0 if a_only[t] else 1 if b_only[t] else None for t in range(n)]
    silences = []
    t = 0
    while t < n:
        end = t
        while end < n and not activity[end].any():
            end += 1
        if end > t:
            silences.append((t, end))
        t = end + 1
    filled = activity.copy()
    for start, end in silences:
        if start > 0 and end < n and alone[start - 1] is not None and alone[start - 1] == alone[end]:
            filled[start:end, alone[end]] = True
    events = []
    for start, end in silences:
        if start == 0 or end == n or alone[start - 1] is None or alone[end] is None:
            continue
        before, after = alone[start - 1], alone[end]
        pre, post = filled[max(0, start - 21) : start], filled[end : end + 21]
        if (
            end - start >= 6
            and start + 1 >= 60
            and len(pre) == len(post) == 21
            and pre[:, before].all()
            and not pre[:, 1 - before].any()
            and post[:, after].all()
            and not post[:, 1 - after].any()
        ):
            events.append(Event(start, end, "hold" if before == after else "shift", after, (start, start + 1)))
    return events


@settings(deadline=None)
@given(activities)
def test_events_are_those_of_the_slow_definition(stretches: list[tuple[int, int]]) -> None:
    activity = drawn([(1, LEAD), *stretches])
    assert find_events(activity, RATE_HZ) == slow_events(activity)


@settings(deadline=None)
@given(activities)
def test_swapping_the_speakers_swaps_the_answer(stretches: list[tuple[int, int]]) -> None:
    activity = drawn([(1, LEAD), *stretches])
    swapped = [Event(e.start, e.end, e.kind, 1 - e.speaker, e.region) for e in find_events(activity, RATE_HZ)]
    assert find_events(activity[:, ::-1], RATE_HZ) == swapped


@settings(deadline=None)
@given(activities, st.integers(1, 50))
def test_later_events_move_with_time_and_silence_at_the_end_adds_none(
    stretches: list[tuple[int, int]], frames: int
) -> None:
    activity = drawn([(1, LEAD), *stretches])
    moved = np.concatenate([np.repeat(activity[:1], frames, axis=0), activity])
    later = [
        Event(e.start + frames, e.end + frames, e.kind, e.speaker, (e.region[0] + frames, e.region[1] + frames))
        for e in find_events(activity, RATE_HZ)
    ]
    assert find_events(moved, RATE_HZ) == later
    padded = np.concatenate([activity, np.zeros((frames, 2), dtype=bool)])
    assert find_events(padded, RATE_HZ) == find_events(activity, RATE_HZ)


def test_nothing_said_is_no_event() -> None:
    assert find_events(np.zeros((0, 2), dtype=bool), RATE_HZ) == []
    assert find_events(np.zeros((500, 2), dtype=bool), RATE_HZ) == []
    assert find_events(np.ones((500, 2), dtype=bool), RATE_HZ) == []


def test_zeros_and_ones_will_do() -> None:
    activity = drawn([(1, 60), (0, 6), (2, 21)])
    assert find_events(activity.astype(float), RATE_HZ) == find_events(activity, RATE_HZ) != []


@pytest.mark.parametrize(
    ("activity", "message"),
    [
        (np.zeros((10, 1), dtype=bool), "1 speakers"),
        (np.zeros((10, 3), dtype=bool), "3 speakers"),
        (np.zeros(10, dtype=bool), r"shape \[10\]"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0, 2]]), "other than 0 and 1"),
    ],
)
def test_other_activity_is_refused(activity: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_events(activity, RATE_HZ)


@pytest.mark.parametrize("rate", [0, -50, float("nan"), float("inf")])
def test_what_is_no_frame_rate_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="positive"):
        find_events(np.zeros((10, 2), dtype=bool), rate)


def test_a_rate_at_which_a_duration_vanishes_is_refused() -> None:
    assert find_events(np.zeros((10, 2), dtype=bool), 20) == []
    with pytest.raises(InputError, match=r"0\.05 s of preset 'inoue2024' would be 0 frames; give activity at 20 Hz"):
        find_events(np.zeros((10, 2), dtype=bool), 19.9)


@pytest.mark.parametrize(
    ("given", "hint"), [("inoue2042", "did you mean 'inoue2024'"), ("zzz", "known presets: inoue2024")]
)
def test_an_unknown_preset_is_refused_with_a_hint(given: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        find_events(np.zeros((10, 2), dtype=bool), 50, preset=given)


def test_runs_are_the_stretches_of_one_state() -> None:
    starts, ends, states = runs(dialogue_states(timeline("##..##.", "..#.#..")))
    assert [(s, e, x) for s, e, x in zip(starts, ends, states, strict=True)] == [
        (0, 2, 0), (2, 3, 3), (3, 4, 1), (4, 5, 2), (5, 6, 0), (6, 7, 1),
    ]  # fmt: skip


def test_pauses_of_one_speaker_alone_are_filled_and_no_other_silence() -> None:
    #         a pause of A's   of B's    between both   between two overlaps   at the ends
    found = filled(runs(dialogue_states(timeline(".#..#......##..##..##.", "......#.#..##..##..##."))))
    states = np.repeat(found.states, found.ends - found.starts).tolist()
    assert "".join("A.2B"[state] for state in states) == ".AAAA.BBB..22..22..22."


def test_nobody_was_last_active_at_the_start_and_both_were_after_an_overlap() -> None:
    found = last_states(runs(dialogue_states(timeline("..##...##..#.", ".....#..#...."))))
    assert "".join("A.2B"[state] for state in found) == "22AAABBA222AA"


def test_the_last_speaker_is_carried_over_silence_and_overlap() -> None:
    assert last_speaker(timeline("..##....#..", ".....##.##.")).tolist() == [-1, -1, 0, 0, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.data
def test_events_of_real_dialogues_are_those_of_the_slow_definition(data_root: Path) -> None:
    kinds = set()
    for conversation in list(read_corpus("primock57", data_root / "primock57"))[:4]:
        activity = activity_of(conversation, RATE_HZ)
        events = find_events(activity, RATE_HZ)
        assert events == slow_events(activity)
        kinds |= {event.kind for event in events}
    assert kinds == {"shift", "hold"}
