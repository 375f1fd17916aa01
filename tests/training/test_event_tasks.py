"""Tasks at events: where they ask, and what they score, against what scikit-learn makes of the same rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError
from ssl_tt.training import event_tasks, head_answers, probe
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.event_tasks import EVENT_TASKS, Rows, Said
from ssl_tt.training.features import Features, Frames, Reader, activity_reader
from ssl_tt.training.questions import Asked
from ssl_tt.turns import metrics
from ssl_tt.turns.config import ActivityTargetConfig, EventsTargetConfig, FutureTargetConfig, VAPTargetConfig
from ssl_tt.turns.events import Event
from ssl_tt.turns.floor_scores import READINGS, EventTask

RATE_HZ = 50.0
CONFIG = ProbeConfig(tasks=EVENT_TASKS, bootstrap=100, folds=3)
DRAWS = metrics.draws(4, 50)


def dialogue(number: int) -> Conversation:
    """Turns of 4 s with silences of 0.4 s, one in three of which is a shift; the listener now and then says "mhm"."""
    rng = np.random.default_rng(number)
    segments: tuple[list[Segment], list[Segment]] = ([], [])
    speaker, start = 0, 0.0
    for turn in range(40):
        segments[speaker].append(Segment(start, start + 4.0))
        if turn % 2:
            segments[1 - speaker].append(Segment(start + 1.5, start + 1.9))
        start += 4.4
        speaker = 1 - speaker if rng.random() < 1 / 3 else speaker
    return Conversation(
        id=f"dialogue{number}",
        audio=None,
        sample_rate_hz=None,
        channels=2,
        duration_seconds=start,
        speakers=(f"a{number}", f"b{number}"),
        segments=(tuple(segments[0]), tuple(segments[1])),
    )


def asked(numbers: range) -> Asked:
    return Asked([probe.ask(dialogue(number), RATE_HZ, CONFIG) for number in numbers])


TRAIN, TEST = asked(range(4)), asked(range(4, 8))


def test_every_task_asks_both_questions_here() -> None:
    for task in EVENT_TASKS:
        for of_split in (TRAIN, TEST):
            truth = of_split.rows(task).truth
            assert 0 < truth.sum() < len(truth), task


def test_a_region_is_asked_from_its_last_frame_back_and_shift_or_hold_once() -> None:
    shift = Event(100, 120, "shift", 1, (102, 113))
    coming = Event(75, 100, "predict_shift", 1, (75, 100))
    none = Event(10, 35, "predict_shift_negative", 0, (10, 35))
    decided = event_tasks.rows("shift_hold", [([], RATE_HZ), ([shift], RATE_HZ)])
    assert [list(column) for column in decided] == [[112], [0], [True], [0], [0.4], [1]]
    ahead = event_tasks.rows("predict_shift", [([none, coming], RATE_HZ), ([coming], 10.0)])
    assert list(ahead.frame) == [14, 19, 24, 29, 34, 79, 84, 89, 94, 99, *range(75, 100)]
    assert list(ahead.truth) == [False] * 5 + [True] * 30
    assert list(ahead.event) == [0] * 5 + [1] * 5 + [2] * 25
    assert list(ahead.conversation) == [0] * 10 + [1] * 25
    assert set(ahead.previous) == {0}
    assert ahead.n_events == 3
    assert event_tasks.rows("short_long", []).n_events == 0


def made_up(seed: int, per_event: int) -> tuple[Rows, Said]:
    rng = np.random.default_rng(seed)
    n_events = 60
    event = np.repeat(np.arange(n_events), per_event)
    truth = (rng.random(n_events) < 0.4)[event]
    conversation = rng.integers(0, 4, n_events)[event]
    seconds = rng.exponential(1, n_events)[event]
    logit = rng.normal(size=len(event)) + truth
    rows = Rows(np.arange(len(event)), 0 * event, truth, event, seconds, conversation)
    return rows, Said(logit, event_tasks.with_prior(logit, 0.4))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([1, 5]))
def test_scores_are_those_of_scikit_learn(seed: int, per_event: int) -> None:
    rows, said = made_up(seed, per_event)
    found = event_tasks.score(said, rows, 4, DRAWS)
    answered = said.score >= 0
    negative, positive = sklearn.f1_score(rows.truth, answered, average=None)
    expected = {
        "balanced_accuracy": sklearn.balanced_accuracy_score(rows.truth, answered),
        "weighted_f1": sklearn.f1_score(rows.truth, answered, average="weighted"),
        "f1_positive": positive,
        "f1_negative": negative,
        "roc_auc": sklearn.roc_auc_score(rows.truth, said.score),
        "average_precision": sklearn.average_precision_score(rows.truth, said.score),
        "brier": sklearn.brier_score_loss(rows.truth, said.probability),
    }
    if per_event > 1:
        mean = said.score.reshape(-1, per_event).mean(axis=1)
        truth = rows.truth[::per_event]
        expected["event_balanced_accuracy"] = sklearn.balanced_accuracy_score(truth, mean >= 0)
        expected["event_weighted_f1"] = sklearn.f1_score(truth, mean >= 0, average="weighted")
    assert found.keys() == {*expected, "expected_calibration_error"}
    for metric, value in expected.items():
        assert found[metric][0] == pytest.approx(value), metric
        assert found[metric].shape == (51,)
    np.testing.assert_array_equal(event_tasks.confusion(said, rows), sklearn.confusion_matrix(rows.truth, answered))
    for group in event_tasks.by_silence(said, rows, 4, DRAWS):
        chosen = (rows.seconds >= group.shortest) & (rows.seconds < group.longest)
        assert group.n == chosen.sum()
        if len(set(rows.truth[chosen])) == 2:
            value = sklearn.balanced_accuracy_score(rows.truth[chosen], answered[chosen])
            assert group.values[0] == pytest.approx(value)
        else:
            assert np.isnan(group.values[0])


def test_who_knows_scores_one_and_who_always_says_the_same_one_half() -> None:
    rows, _ = made_up(0, 5)
    knows = event_tasks.score(Said(2.0 * rows.truth - 1, 1.0 * rows.truth), rows, 4, DRAWS)
    assert {metric: values[0] for metric, values in knows.items()} == {
        metric: 0 if metric in ("brier", "expected_calibration_error") else 1 for metric in knows
    }
    share = np.full(len(rows.truth), rows.truth.mean())
    same = event_tasks.score(Said(np.ones(len(rows.truth)), share), rows, 4, DRAWS)
    assert same["balanced_accuracy"][0] == same["roc_auc"][0] == same["event_balanced_accuracy"][0] == 0.5
    assert same["brier"][0] == pytest.approx(rows.truth.var())


def test_a_class_that_is_missing_leaves_every_score_undefined() -> None:
    rows, said = made_up(0, 5)
    only = rows._replace(truth=np.ones_like(rows.truth))
    for values in event_tasks.score(said, only, 4, DRAWS).values():
        assert np.isnan(values).all()


def test_a_logit_at_equal_weight_gets_its_share_back() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200_000) < 0.1
    score = rng.normal(size=len(truth)) + truth  # log odds at equal weight: score - 1/2
    said = event_tasks.with_prior(score - 0.5, 0.1)
    assert said.mean() == pytest.approx(0.1, abs=0.002)
    sums = metrics.forecasts(truth, said, np.zeros(len(truth), int), 1)
    assert metrics.expected_calibration_error(sums, np.ones((1, 1)))[0] < 0.005
    assert event_tasks.with_prior(np.array([0.7]), 0.5)[0] == pytest.approx(1 / (1 + np.exp(-0.7)))


def oracle(noise: float) -> Reader:
    """Will this speaker be active 1 s, 2.5 s on? With noise."""

    def read(conversation: Conversation, frames: Frames) -> Features:
        spoken = activity_reader(RATE_HZ)(conversation, frames)
        active = probe.ask(conversation, RATE_HZ, CONFIG).activity
        rng = np.random.default_rng(list(conversation.id.encode()))
        ahead = [active[np.minimum(frames + step, len(active) - 1)] for step in (25, 50, 125)]
        later = np.stack(ahead, axis=2) + noise * rng.standard_normal((len(frames), 2, 3))
        return {"oracle": later.astype(np.float32), **spoken}

    return read


def test_a_line_reads_what_features_say_of_every_task_without_a_look_at_the_truth() -> None:
    rng = np.random.default_rng(0)

    def shuffled(events: list[Event], kinds: tuple[str, str]) -> list[Event]:
        """The same frames and the same one who had the turn, under labels drawn at random."""
        negative, positive = kinds
        found = []
        for event, truth in zip(events, rng.permutation([e.kind == positive for e in events]), strict=True):
            kind = positive if truth else negative
            turned = replace(event, kind=kind)
            speaker = event.speaker if turned.previous == event.previous else 1 - event.speaker
            found.append(replace(turned, speaker=speaker))
        return found

    relabelled = Asked(
        [
            replace(q, events={task: shuffled(events, READINGS[task].kinds) for task, events in q.events.items()})
            for q in TEST.questions
        ]
    )
    (train_read, *_), (test_read, *_) = (probe.read(oracle(0.3), each).values() for each in (TRAIN, TEST))
    before = probe.answer(train_read, TRAIN, test_read, TEST, CONFIG)
    after = probe.answer(train_read, TRAIN, test_read, relabelled, CONFIG)
    one, other = (probe.score(before, each, DRAWS) for each in (TEST, relabelled))
    for task in EVENT_TASKS:
        np.testing.assert_array_equal(before.events[task].score, after.events[task].score)
        assert (TEST.rows(task).truth != relabelled.rows(task).truth).any()
        assert one.values[task]["roc_auc"][0] > 0.8, task
        assert one.values[task]["roc_auc"][0] > other.values[task]["roc_auc"][0] + 0.1, task
    assert sum(map(sum, one.confusion["shift_hold"])) == len(TEST.rows("shift_hold").truth)
    again = probe.Scores.from_json(json.loads(json.dumps(one.as_json(), allow_nan=False)))
    assert again.confusion == one.confusion
    assert [group[:3] for group in again.silences] == [group[:3] for group in one.silences]
    for ours, theirs in zip(again.silences, one.silences, strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)


@pytest.mark.parametrize(
    ("target", "answered"),
    [
        (ActivityTargetConfig(), []),
        (EventsTargetConfig(), ["shift_hold"]),
        (FutureTargetConfig(), list(EVENT_TASKS)),
        (VAPTargetConfig(), list(EVENT_TASKS)),
    ],
)
def test_targets_answer_what_they_are_about(
    target: ActivityTargetConfig | EventsTargetConfig | FutureTargetConfig | VAPTargetConfig, answered: list[EventTask]
) -> None:
    assert head_answers.answerable(target, TEST.tasks) == answered
    head_answers.check_held_out(target, TEST)
    shifts = Asked(
        [
            replace(q, events=q.events | {"shift_hold": [e for e in q.events["shift_hold"] if e.kind == "shift"]})
            for q in TEST.questions
        ]
    )
    if answered:
        with pytest.raises(InputError, match=r"shift_hold: .* \d+ frames of shift and 0 of hold"):
            head_answers.check_held_out(target, shifts)
    else:
        head_answers.check_held_out(target, shifts)
