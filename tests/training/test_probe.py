"""Probes on features made up from the answers, so that what a line can find is known."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError
from ssl_tt.training import probe
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.features import Features, Frames, Reader, activity_reader
from ssl_tt.training.probe import Asked, Question
from ssl_tt.turns import metrics

RATE_HZ = 50.0
CONFIG = ProbeConfig(bootstrap=100, folds=3, frame_every_seconds=0.2)


def dialogue(number: int, turns: int = 20) -> Conversation:
    """Turns of 1.5 s with silences of 0.4 s, each a shift or a hold by the toss of a coin."""
    rng = np.random.default_rng(number)
    segments: tuple[list[Segment], list[Segment]] = ([], [])
    speaker, start = 0, 0.0
    for _ in range(turns):
        segments[speaker].append(Segment(start, start + 1.5))
        start += 1.9
        speaker = speaker if rng.random() < 0.5 else 1 - speaker
    return Conversation(
        id=f"dialogue{number}",
        audio=None,
        sample_rate_hz=None,
        channels=2,
        duration_seconds=start,
        speakers=(f"a{number}", f"b{number}"),
        segments=(tuple(segments[0]), tuple(segments[1])),
    )


def asked(numbers: range, config: ProbeConfig = CONFIG) -> Asked:
    return Asked([probe.ask(dialogue(number), RATE_HZ, config) for number in numbers])


def oracle(noise: float, seed: int = 0) -> Reader:
    """Features by channel: will this speaker be active half a second on? With noise, and beside a constant."""

    def read(conversation: Conversation, frames: Frames) -> Features:
        spoken = probe.ask(conversation, RATE_HZ, CONFIG).activity
        rng = np.random.default_rng((seed, *conversation.id.encode()))
        later = spoken[np.minimum(frames + 25, len(spoken) - 1)].astype(np.float32)
        later += noise * rng.standard_normal(later.shape).astype(np.float32)
        return {"oracle": np.stack([later, np.full_like(later, 7.0)], axis=2)}

    return read


TRAIN, TEST = asked(range(6)), asked(range(6, 12))
DRAWS = metrics.draws(len(TEST.questions), CONFIG.bootstrap)


def answers(reader: Reader, test: Asked = TEST) -> probe.Answers:
    (train_read,), (test_read,) = (probe.read(reader, each).values() for each in (TRAIN, test))
    return probe.answer(train_read, TRAIN, test_read, test, CONFIG)


def test_what_features_say_plainly_is_read_off_them() -> None:
    scores = probe.score(answers(oracle(noise=0.1)), TEST, DRAWS)
    assert scores.values["shift_hold"]["balanced_accuracy"][0] > 0.99
    assert scores.values["shift_hold"]["roc_auc"][0] > 0.99
    assert scores.horizons is not None
    assert scores.horizons[9] > 0.95  # the bin half a second on
    assert scores.values["future_activity"]["roc_auc"][0] == pytest.approx(scores.horizons.mean())


def test_noise_is_at_chance() -> None:
    found = probe.score(answers(oracle(noise=1e4)), TEST, DRAWS)
    interval = metrics.estimate(found.values["shift_hold"]["balanced_accuracy"], 0.99)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 0.5 < interval.high


def test_the_majority_is_the_floor() -> None:
    scores = probe.score(probe.answer_majority(TRAIN, TEST, CONFIG), TEST, DRAWS)
    assert scores.values["shift_hold"]["balanced_accuracy"][0] == 0.5
    assert scores.values["shift_hold"]["roc_auc"][0] == 0.5
    assert scores.values["future_activity"]["roc_auc"][0] == pytest.approx(0.5)


def test_other_labels_on_test_change_the_scores_and_nothing_else() -> None:
    rng = np.random.default_rng(0)

    def shuffled(question: Question) -> Question:
        asked = question.events["shift_hold"]
        kinds = [asked[i].kind for i in rng.permutation(len(asked))]
        # Who spoke before a silence is known at the decision; who speaks next is the label.
        events = [
            replace(e, kind=kind, speaker=e.previous if kind == "hold" else 1 - e.previous)
            for e, kind in zip(asked, kinds, strict=True)
        ]
        return replace(question, events={"shift_hold": events}, future=rng.permutation(question.future))

    relabelled = Asked([shuffled(question) for question in TEST.questions])
    assert (relabelled.rows("shift_hold").truth != TEST.rows("shift_hold").truth).any()
    reader = oracle(noise=0.5)
    before, after = answers(reader), answers(reader, relabelled)
    assert before.future is not None
    np.testing.assert_array_equal(before.events["shift_hold"].score, after.events["shift_hold"].score)
    np.testing.assert_array_equal(before.future, after.future)
    assert before.regularisation == after.regularisation
    one, other = probe.score(before, TEST, DRAWS), probe.score(after, relabelled, DRAWS)
    for task in CONFIG.tasks:
        assert one.values[task]["roc_auc"][0] > other.values[task]["roc_auc"][0] + 0.1


def test_swapping_the_speakers_swaps_the_answer() -> None:
    def swapped(conversation: Conversation) -> Conversation:
        assert conversation.segments is not None
        return replace(conversation, segments=conversation.segments[::-1])

    mirrored = Asked([probe.ask(swapped(question.conversation), RATE_HZ, CONFIG) for question in TEST.questions])
    reader = activity_reader(RATE_HZ)
    here, there = answers(reader), answers(reader, mirrored)
    assert here.future is not None
    assert there.future is not None
    np.testing.assert_allclose(here.events["shift_hold"].score, there.events["shift_hold"].score)
    np.testing.assert_allclose(here.future, there.future[:, ::-1])


def test_the_ridge_is_that_of_scikit_learn() -> None:
    config = CONFIG.model_copy(update={"regularisation": (0.1,)})
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, 2.0, (300, 2, 5)).astype(np.float32)
    future = rng.random((300, 2, 60)) < 0.4
    line = probe.fit_future(features, future, np.repeat(np.arange(6), 50), config)
    rows = np.concatenate([probe.by_role(features, np.full(300, speaker)) for speaker in (0, 1)])
    standardised = (rows - line.mean) / line.scale
    np.testing.assert_allclose(standardised.std(axis=0), 1, rtol=1e-5)
    twin = Ridge(alpha=10.0).fit(standardised, np.concatenate([future[:, 0], future[:, 1]]))
    np.testing.assert_allclose(line(rows), twin.predict(standardised), atol=1e-5)


def test_the_penalty_of_the_ridge_is_that_of_least_error_on_conversations_left_out() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(120, 2, 20)).astype(np.float32)
    conversation = np.repeat(np.arange(6), 20)
    future = (features[:, :, :1] + 2 * rng.normal(size=(120, 2, 60))) > 0
    rows = np.concatenate([probe.by_role(features, np.full(120, speaker)) for speaker in (0, 1)])
    answers, groups = np.concatenate([future[:, 0], future[:, 1]]).astype(float), np.tile(conversation, 2)
    line = probe.fit_future(features, future, conversation, CONFIG)
    x = (rows - line.mean) / line.scale
    errors = {}
    for c in CONFIG.regularisation:
        residuals = []
        for held_out in probe._folds(groups, CONFIG.folds):
            twin = Ridge(alpha=1 / c).fit(x[~held_out], answers[~held_out])
            residuals.append(((twin.predict(x[held_out]) - answers[held_out]) ** 2).sum())
        errors[c] = sum(residuals)
    assert line.regularisation == min(errors, key=lambda c: errors[c])
    assert len({round(error, 3) for error in errors.values()}) == len(errors)


def test_a_conversation_is_in_one_fold_alone() -> None:
    conversation = np.repeat(np.arange(7), [3, 9, 1, 4, 4, 6, 2])
    folds = list(probe._folds(conversation, 3))
    assert len(folds) == 3
    assert (np.sum(folds, axis=0) == 1).all()
    for fold in folds:
        assert not set(conversation[fold]) & set(conversation[~fold])


def test_validation_prefers_strong_regularisation_to_learning_noise() -> None:
    rng = np.random.default_rng(0)
    shift, conversation = rng.random(200) < 0.5, np.repeat(np.arange(10), 20)
    features = rng.normal(size=(200, 150)).astype(np.float32)
    features[:, 0] += shift
    found = probe.fit_events("shift_hold", features, shift, conversation, CONFIG)
    assert found.regularisation < max(CONFIG.regularisation)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    line = probe.fit_events(
        "shift_hold",
        np.stack([np.full(60, 3e4), np.tile([0.0, 1.0], 30)], axis=1).astype(np.float32),
        np.tile([False, True], 30),
        np.repeat(np.arange(4), 15),
        CONFIG,
    )
    assert line.scale[0] == 1
    assert np.isfinite(line.weights).all()


@pytest.mark.parametrize(
    ("shift", "conversation", "message"),
    [
        ([True] * 8, [0, 0, 1, 1, 2, 2, 3, 3], "8 times shift and 0 times hold"),
        ([True, False] * 4, [0] * 8, "1 training conversation"),
        ([True, True, False, False], [0, 0, 1, 1], "several conversations with both"),
    ],
)
def test_what_cannot_be_fitted_is_refused(shift: list[bool], conversation: list[int], message: str) -> None:
    features = np.arange(2.0 * len(shift), dtype=np.float32).reshape(-1, 2)
    with pytest.raises(InputError, match=message):
        probe.fit_events("shift_hold", features, np.array(shift), np.array(conversation), CONFIG)


def test_without_both_classes_a_score_is_not_defined() -> None:
    shifts = Asked(
        [
            replace(q, events={"shift_hold": [e for e in q.events["shift_hold"] if e.kind == "shift"]})
            for q in TEST.questions
        ]
    )
    scores = probe.score(answers(oracle(noise=0.5), shifts), shifts, DRAWS)
    for values in scores.values["shift_hold"].values():
        assert metrics.estimate(values) == (None, None, None)


def test_questions_are_asked_where_the_whole_future_is_known() -> None:
    question = probe.ask(dialogue(0), RATE_HZ, CONFIG)
    assert question.frames[0] == 9  # after 0.2 s
    assert (np.diff(question.frames) == 10).all()
    left = question.conversation.duration_seconds - (question.frames[-1] + 1) / RATE_HZ
    assert 3.0 - 1e-6 <= left < 3.2
    assert question.future.shape == (len(question.frames), 2, 60)
    alone = probe.ask(dialogue(0), RATE_HZ, CONFIG.model_copy(update={"tasks": ("shift_hold",)}))
    assert len(alone.frames) == 0
    assert alone.events == question.events


def test_the_belief_over_time_is_the_answer_at_each_decision() -> None:
    stretch = np.arange(len(TEST.questions[0].activity))
    drawn = Asked([replace(TEST.questions[0], stretch=stretch), *TEST.questions[1:]])
    found = answers(activity_reader(RATE_HZ), drawn)
    assert found.stretch is not None
    rows = drawn.rows("shift_hold")
    decisions = rows.frame[rows.conversation == 0]
    said = found.events["shift_hold"].score[: len(decisions)]
    np.testing.assert_allclose(found.stretch[decisions], 1 / (1 + np.exp(-said)), rtol=1e-5)


def test_scores_survive_being_written_down() -> None:
    scores = probe.score(answers(oracle(noise=0.5)), TEST, DRAWS)
    scores.values["shift_hold"]["roc_auc"][3] = np.nan
    again = probe.Scores.from_json(scores.as_json())
    assert scores.horizons is not None
    assert again.horizons is not None
    np.testing.assert_array_equal(again.horizons, scores.horizons)
    for task, of_task in scores.values.items():
        for metric, values in of_task.items():
            np.testing.assert_array_equal(again.values[task][metric], values)


def test_recordings_of_one_dialogue_are_held_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["a", "b", "a", "c"]
    questions = [
        replace(question, conversation=replace(question.conversation, provenance={"dialogue": name}))
        for question, name in zip(asked(range(4)).questions, said, strict=True)
    ]
    train = Asked(questions)
    expected = {
        len(train.rows("shift_hold").truth): np.array(said)[train.rows("shift_hold").conversation],
        len(train.future): np.array(said)[train.frame_conversation],
    }
    folds, seen = probe._folds, set()

    def watched(dialogue: Frames, n_folds: int) -> Iterator[NDArray[np.bool_]]:
        names = expected[len(dialogue)]
        for held_out in folds(dialogue, n_folds):
            assert not set(names[held_out]) & set(names[~held_out])
            seen.add(len(dialogue))
            yield held_out

    monkeypatch.setattr(probe, "_folds", watched)
    read = probe.read(oracle(noise=0.5), train)["oracle"]
    probe.answer(read, train, read, train, CONFIG)
    assert seen == set(expected)
