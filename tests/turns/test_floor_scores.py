"""Scores of events by the floor: read by hand, event by event, and of one who knows what comes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.errors import InputError
from ssl_tt.turns import metrics
from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.floor_scores import Scores, floor_scores
from tests.turns.small_targets import RATE_HZ, TARGETS, knowing, small_target
from tests.turns.timelines import of_runs, timeline

FORESEEING = [name for name in TARGETS if not name.startswith("activity")]
PRESETS = ["vap2022", "vap2023", "inoue2024", "vap_event"]


def conversation(seed: int, turns: int = 40) -> np.ndarray:
    """Activity [T, 2] at 50 Hz: turns of 1.5 to 3 s, pauses of 0.26 to 0.4 s, backchannels inside some turns.

    A silence ends within the next 0.6 s of each of its frames, as the floor now asks, and no turn is over before 2 s.
    """
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(turns):
        speaker = int(rng.integers(1, 3))
        runs += [(speaker, int(rng.integers(75, 150))), (0, int(rng.integers(13, 21)))]
        if rng.random() < 0.2:  # the listener is heard in the middle of a long turn
            runs += [(speaker, 125), (3, int(rng.integers(12, 40))), (speaker, 150), (0, 15)]
    return of_runs(runs)


def slow_scores(now: list[float], later: list[float], events: list[Event]) -> dict[str, list[tuple[bool, float, int]]]:
    """Truth, score and event of every frame, each kind by itself."""
    found: dict[str, list[tuple[bool, float, int]]] = {
        name: [] for name in ("shift_hold", "predict_shift", "predict_backchannel", "short_long")
    }
    numbers = dict.fromkeys(found, 0)

    def of(floor: list[float], frame: int, speaker: int) -> float:
        return floor[frame] if speaker == 0 else 1 - floor[frame]

    for event in events:
        speaker, other = event.speaker, 1 - event.speaker
        match event.kind:
            case "shift":
                question, truth, floor, who = "shift_hold", True, now, speaker
            case "hold":
                question, truth, floor, who = "shift_hold", False, now, other
            case "predict_shift":
                question, truth, floor, who = "predict_shift", True, later, speaker
            case "predict_shift_negative":
                question, truth, floor, who = "predict_shift", False, later, other
            case "predict_backchannel":
                question, truth, floor, who = "predict_backchannel", True, now, speaker
            case "predict_backchannel_negative":
                question, truth, floor, who = "predict_backchannel", False, now, speaker
            case "long":
                question, truth, floor, who = "short_long", True, later, speaker
            case "short":
                question, truth, floor, who = "short_long", False, later, speaker
            case _:
                continue
        for frame in range(*event.region):
            found[question].append((truth, of(floor, frame, who), numbers[question]))
        numbers[question] += 1
    return found


def balanced_accuracy(scores: Scores, threshold: float = 0.5) -> float:
    one = np.zeros(len(scores.truth), dtype=np.int64)
    return float(metrics.balanced_accuracy(metrics.confusion_counts(scores.truth, scores.score > threshold, one, 1)[0]))


def floor_of(name: str, activity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Now and later of speaker 0, each [T], by one who knows; silence is added, so that the last frames are known."""
    longer = torch.from_numpy(np.concatenate([activity, np.zeros((160, 2), dtype=bool)]))[None]
    floor = small_target(name).floor(knowing(name, longer))
    assert floor is not None
    return floor.now[0, 0, : len(activity)].numpy(), floor.later[0, 0, : len(activity)].numpy()


def test_a_shift_is_as_likely_as_the_floor_is_of_the_one_who_was_silent() -> None:
    # At 20 Hz, a pad of one frame and two scored ones; a context of 60 frames lies before.
    speaking = "#" * 80, "." * 80
    a = speaking[0] + "....." + "#" * 25 + "....." + "." * 25
    b = speaking[1] + "....." + "." * 25 + "....." + "#" * 25
    events = find_events(timeline(a, b), 20, "vap2022")
    now, later = np.full(140, 0.9), np.full(140, 0.2)
    now[111:113] = 0.3, 0.4
    found = floor_scores(now, later, events)
    scores = found["shift_hold"]
    assert scores.truth.tolist() == [False, False, True, True]
    assert scores.score == pytest.approx([0.1, 0.1, 0.7, 0.6])
    assert scores.event.tolist() == [0, 0, 1, 1]
    assert scores.weight.tolist() == [0.5] * 4
    once = scores.event_wise()
    assert once.truth.tolist() == [False, True]
    assert once.score == pytest.approx([0.1, 0.65])
    assert once.event.tolist() == [0, 1]
    before = found["predict_shift"]  # of the 10 frames before the shift, and of a window in which A goes on
    assert before.truth.tolist().count(True) == 10
    assert before.score == pytest.approx(np.full(20, 0.8))  # in both it is asked about B
    assert found["short_long"].score == pytest.approx(np.full(4, 0.8))


def test_a_backchannel_is_as_likely_as_the_floor_now_is_of_the_listener() -> None:
    a = "#" * 160
    b = "." * 90 + "#" * 8 + "." * 62
    events = find_events(timeline(a, b), 20, "vap2022")
    found = floor_scores(np.full(160, 0.7), np.full(160, 0.6), events)
    assert found["predict_backchannel"].score == pytest.approx(np.full(20, 0.3))
    assert found["predict_backchannel"].truth.sum() == 10
    assert found["short_long"].score == pytest.approx(np.full(4, 0.4))
    assert not found["short_long"].truth.any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), preset=st.sampled_from(PRESETS))
def test_scores_are_those_of_every_event_by_itself(seed: int, preset: str) -> None:
    activity = conversation(seed, turns=15)
    events = find_events(activity, RATE_HZ, preset)
    now, later = np.random.default_rng(seed).random((2, len(activity)))
    expected = slow_scores(now.tolist(), later.tolist(), events)
    found = floor_scores(now, later, events)
    assert list(found) == list(expected)
    for question, rows in expected.items():
        scores = found[question]  # type: ignore[index]
        assert list(zip(scores.truth.tolist(), scores.score.tolist(), scores.event.tolist(), strict=True)) == rows
        once = scores.event_wise()
        for number, (truth, score) in enumerate(zip(once.truth, once.score, strict=True)):
            of_event = [row for row in rows if row[2] == number]
            assert truth == of_event[0][0]
            assert score == pytest.approx(np.mean([row[1] for row in of_event]))
        assert len(once.truth) == len({row[2] for row in rows})
        assert scores.weight.sum() == pytest.approx(len(once.truth))


@pytest.mark.parametrize("preset", [*PRESETS, "skantze2017", "roddy2018"])
def test_swapping_the_speakers_leaves_the_scores(preset: str) -> None:
    rate = 20.0 if preset in ("skantze2017", "roddy2018") else RATE_HZ
    activity = conversation(3)
    now, later = np.random.default_rng(0).random((2, len(activity)))
    found = floor_scores(now, later, find_events(activity, rate, preset))
    swapped = floor_scores(1 - now, 1 - later, find_events(activity[:, ::-1], rate, preset))
    assert len(found["shift_hold"].truth)
    for question, scores in found.items():
        # Events of one frame and kind stand in the order of their speakers, which are swapped.
        rows, others = (
            np.array(sorted(zip(each.truth, each.score, strict=True))) for each in (scores, swapped[question])
        )
        np.testing.assert_allclose(rows, others, rtol=1e-12)


@pytest.mark.parametrize("name", FORESEEING)
def test_who_knows_the_future_tells_every_shift_and_foresees_it(name: str) -> None:
    n_scored = 0
    for seed in range(4):
        activity = conversation(seed)
        floor = floor_of(name, activity)
        for preset in PRESETS:
            found = floor_scores(*floor, find_events(activity, RATE_HZ, preset))
            for question in "shift_hold", "predict_shift":
                if question == "predict_shift" and preset not in ("vap2022", "vap2023"):
                    assert len(found[question].truth) == 0  # these presets foresee nothing
                    continue
                n_scored += 1
                # One share for both times is a half where two bins are the speaker's and two the next one's.
                threshold = 0.3 if (name, question) == ("comparative", "predict_shift") else 0.5
                assert balanced_accuracy(found[question], threshold) == 1.0, (preset, question)
                assert balanced_accuracy(found[question].event_wise(), threshold) == 1.0, (preset, question)
    assert n_scored == 4 * 6


def test_one_share_for_both_times_is_a_half_early_before_a_shift() -> None:
    activity = conversation(0)
    scores = floor_scores(*floor_of("comparative", activity), find_events(activity, RATE_HZ, "vap2022"))
    windows = scores["predict_shift"].score[scores["predict_shift"].truth].reshape(-1, 25)  # of 0.5 s
    assert np.unique(windows[:, :5]).tolist() == [0.5]  # the speaker still has half of the bin that ends at 0.6 s
    assert (windows[:, 5:] > 0.5).all()


@pytest.mark.parametrize("constant", [0.0, 0.3, 0.5, 1.0])
def test_who_always_says_the_same_of_the_silent_one_is_right_half_of_the_time(constant: float) -> None:
    activity = conversation(1)
    events = find_events(activity, RATE_HZ, "vap2022")
    # The same of whoever was last silent: a number that is constant over time favours a speaker, not an answer.
    for question in "shift_hold", "predict_shift", "predict_backchannel", "short_long":
        scores = floor_scores(np.full(len(activity), 0.5), np.full(len(activity), 0.5), events)[question]  # type: ignore[index]
        same = scores._replace(score=np.full(len(scores.truth), constant))
        assert 0 < scores.truth.mean() < 1
        assert balanced_accuracy(scores) == balanced_accuracy(same) == 0.5


def test_without_events_there_is_nothing_to_score() -> None:
    for scores in floor_scores(np.zeros(0), np.zeros(0), []).values():
        assert len(scores.truth) == len(scores.score) == len(scores.weight) == len(scores.event_wise().truth) == 0


def test_what_is_no_floor_of_the_events_is_refused() -> None:
    shift = Event(70, 80, "shift", 1, (71, 73))
    half = np.full(80, 0.5)
    assert floor_scores(half[:73], half[:73], [shift])["shift_hold"].score.tolist() == [0.5, 0.5]
    with pytest.raises(InputError, match="a shift is scored in frames 71 to 72, given are probabilities of 72"):
        floor_scores(half[:72], half[:72], [shift])
    with pytest.raises(InputError, match=r"\[80\] of now and \[79\] of later, expected two lists of one length"):
        floor_scores(half, half[1:], [shift])
    with pytest.raises(InputError, match="give those of speaker 0 of one conversation"):
        floor_scores(half.reshape(2, 40), half.reshape(2, 40), [])
    for wrong in np.nan, -0.1, 1.1:
        with pytest.raises(InputError, match="outside of 0 to 1, or NaN"):
            floor_scores(half, np.append(half[1:], wrong), [shift])
