"""What a silence becomes depends on the cues before it and on nothing else."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_tt.data.conversation import Segment, activity_frames
from ssl_tt.data.simulate import timing
from ssl_tt.data.simulate.plan import Silence, Utterance, plan_dialogue
from ssl_tt.turns.events import find_events

SECONDS = 120.0


@pytest.fixture(scope="module")
def plans() -> list[tuple[list[Utterance], list[Silence]]]:
    lengths = timing.builtin()
    return [plan_dialogue(lengths, SECONDS, 0.5, 1.0, np.random.default_rng((0, i))) for i in range(150)]


@pytest.mark.parametrize("probe", ["linear", "trees"])
def test_timing_before_a_silence_does_not_tell_what_it_becomes(
    plans: list[tuple[list[Utterance], list[Silence]]], probe: str
) -> None:
    """Activity of both channels over the last 8 s and more, at the events that are scored, cues at full strength."""
    features, labels = [], []
    for utterances, _ in plans:
        activity = activity_of(utterances)
        for event in find_events(activity, 50.0):
            if event.start >= 400:
                past = activity[event.start - 400 : event.start, [event.previous, 1 - event.previous]]
                features.append([*past.reshape(20, 20, 2).mean(axis=1).ravel(), event.start])
                labels.append(event.kind == "shift")
    x, y = np.array(features), np.array(labels)
    assert len(y) > 3000
    classifier = (
        make_pipeline(StandardScaler(), LogisticRegression())
        if probe == "linear"
        else HistGradientBoostingClassifier(max_iter=30, random_state=0)
    )
    score = balanced_accuracy_score(y, cross_val_predict(classifier, x, y, cv=3))
    assert abs(score - 0.5) < 3 * np.sqrt(0.25 / len(y))


def test_silences_last_as_long_before_shifts_as_before_holds(
    plans: list[tuple[list[Utterance], list[Silence]]],
) -> None:
    lengths = {
        label: [s.end_seconds - s.start_seconds for _, silences in plans for s in silences if s.label == label]
        for label in ("shift", "hold")
    }
    assert ks_2samp(lengths["shift"], lengths["hold"]).pvalue > 0.01


def test_shifts_are_as_frequent_as_asked_for() -> None:
    _, silences = plan_dialogue(timing.builtin(), 7200.0, 0.25, 1.0, np.random.default_rng(1))
    assert np.mean([silence.label == "shift" for silence in silences]) == pytest.approx(0.25, abs=0.03)


def test_dialogues_have_gaps_pauses_overlaps_and_backchannels(
    plans: list[tuple[list[Utterance], list[Silence]]],
) -> None:
    overlaps = backchannels = events = 0
    for utterances, _ in plans:
        for before, after in pairwise(sorted(utterances, key=lambda utterance: utterance.start_seconds)):
            inside = after.start_seconds + after.seconds < before.start_seconds + before.seconds
            backchannels += inside
            overlaps += not inside and after.start_seconds < before.start_seconds + before.seconds
        events += len(find_events(activity_of(utterances), 50.0))
    minutes = len(plans) * SECONDS / 60
    assert overlaps / minutes > 1
    assert backchannels / minutes > 0.3
    assert events / minutes > 10


def test_nobody_overlaps_themselves_and_a_dialogue_ends_in_silence(
    plans: list[tuple[list[Utterance], list[Silence]]],
) -> None:
    for utterances, _ in plans:
        for channel in range(2):
            own = sorted(u for u in utterances if u.channel == channel)
            assert all(a.start_seconds + a.seconds <= b.start_seconds for a, b in pairwise(own))
        assert max(u.start_seconds + u.seconds for u in utterances) < SECONDS - 0.9


def activity_of(utterances: list[Utterance]) -> np.ndarray:
    """Activity at 50 Hz, [T, 2]."""
    return np.stack(
        [
            activity_frames(
                sorted(
                    Segment(u.start_seconds, u.start_seconds + u.seconds) for u in utterances if u.channel == channel
                ),
                int(SECONDS * 50),
                50.0,
            )
            for channel in range(2)
        ],
        axis=1,
    )
