"""What is kept of a frame, on features made up from the answers, so that what a line can find is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.phones import Phone
from ssl_tt.errors import InputError
from ssl_tt.training import frame_tasks, probe
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.frame_tasks import FRAME_TASKS, fitted, scored
from ssl_tt.training.questions import Asked, ask
from ssl_tt.training.ridge import fit_ridge, moments
from ssl_tt.turns import metrics

RATE_HZ = 50.0
CONFIG = ProbeConfig(tasks=FRAME_TASKS, bootstrap=100, folds=3, frame_every_seconds=0.1)
LABELS = ("a", "b", "s")


def conversation(number: int, speakers: tuple[str, str]) -> tuple[Conversation, list[list[Phone]]]:
    """A minute in which turns of 1 s alternate, each of ten phones drawn for its conversation."""
    rng = np.random.default_rng(number)
    segments = [[Segment(2.0 * turn + s, 2.0 * turn + s + 1.0) for turn in range(30)] for s in range(2)]
    phones = [
        [
            Phone(start + i / 10, start + (i + 1) / 10, LABELS[rng.integers(3)])
            for start, _ in of_channel
            for i in range(10)
        ]
        for of_channel in segments
    ]
    made = Conversation(
        id=f"call{number}",
        audio=None,
        sample_rate_hz=None,
        channels=2,
        duration_seconds=61.0,
        speakers=speakers,
        segments=(tuple(segments[0]), tuple(segments[1])),
    )
    return made, phones


def asked(numbers: range, who: str) -> Asked:
    made = [
        conversation(number, ("doctor" if number % 2 else f"nurse of {who}", f"{who}{number}")) for number in numbers
    ]
    return Asked([ask(each, RATE_HZ, CONFIG, phones) for each, phones in made])


TRAIN, TEST = asked(range(4), "trained"), asked(range(4, 8), "scored")
DRAWS = metrics.draws(len(TEST.questions), CONFIG.bootstrap)


def telling(asked: Asked, task: str, noise: float = 0.0) -> NDArray[np.float32]:
    """Features [F, 2, D]: which class of a task each channel's frame is, among all there are, with noise."""
    rng = np.random.default_rng(len(asked.questions[0].conversation.speakers[1]))
    classes = np.unique(np.concatenate([frame_tasks._rows(task, each).label for each in (TRAIN, TEST)]))
    rows = frame_tasks._rows(task, asked)
    features = np.zeros((len(asked.frame_conversation), 2, len(classes)), dtype=np.float32)
    features[rows.frame, rows.channel] = rows.label[:, None] == classes
    return features + noise * rng.standard_normal(features.shape).astype(np.float32)


def read(frames: NDArray[np.float32]) -> probe.Read:
    return probe.Read(events={}, frames=frames, stretch=frames[:0])


def scores(task: str, train: NDArray[np.float32], test: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    config = CONFIG.model_copy(update={"tasks": (task,)})
    said = probe.answer(read(train), TRAIN, read(test), TEST, config)
    return probe.score(said, TEST, DRAWS).values[task]


@pytest.mark.parametrize("task", FRAME_TASKS)
def test_what_features_tell_plainly_is_read_off_them(task: str) -> None:
    found = scores(task, telling(TRAIN, task, 0.01), telling(TEST, task, 0.01))
    assert {metric: values[0] for metric, values in found.items()} == dict.fromkeys(found, 1.0)


@pytest.mark.parametrize("task", FRAME_TASKS)
def test_noise_tells_no_more_than_guessing(task: str) -> None:
    found = scores(task, telling(TRAIN, task, 1e4), telling(TEST, task, 1e4))
    metric, guessing = {
        "voice_activity": ("roc_auc", 0.5),
        "speaker": ("macro_recall", 1 / 6),
        "phone": ("macro_recall", 1 / 3),
    }[task]
    assert found[metric][0] == pytest.approx(guessing, abs=0.06)


@pytest.mark.parametrize("task", FRAME_TASKS)
def test_a_constant_feature_says_what_the_majority_says(task: str) -> None:
    config = CONFIG.model_copy(update={"tasks": (task,)})
    constant = np.ones((len(TRAIN.frame_conversation), 2, 1), dtype=np.float32)
    found = scores(task, constant, constant[: len(TEST.frame_conversation)])
    floor = probe.score(probe.answer_majority(TRAIN, TEST, config), TEST, DRAWS).values[task]
    for metric, values in floor.items():
        np.testing.assert_allclose(found[metric], values)


def test_rows_are_the_frames_in_which_there_is_something_to_tell() -> None:
    question = TEST.questions[1]
    alone = question.active & ~question.active[:, ::-1]
    for task, expected in ("voice_activity", np.ones_like(alone)), ("speaker", alone), ("phone", question.phones != ""):
        rows = frame_tasks._rows(task, TEST)
        first = len(TEST.questions[0].frames)
        here = rows.conversation == 1
        np.testing.assert_array_equal(
            np.stack([rows.frame[here] - first, rows.channel[here]], axis=1), np.argwhere(expected)
        )
    speakers = np.array(question.conversation.speakers)
    rows = frame_tasks._rows("speaker", TEST)
    here = rows.conversation == 1
    np.testing.assert_array_equal(rows.label[here], speakers[rows.channel[here]])


def test_speakers_are_learned_in_the_first_half_of_each_scored_conversation_and_asked_in_the_second() -> None:
    rows, of = fitted("speaker", TRAIN, TEST, folds=3)
    later = scored("speaker", TEST)
    assert of is TEST
    assert set(rows.label) == set(later.label) == {name for q in TEST.questions for name in q.conversation.speakers}
    for number in range(len(TEST.questions)):
        assert rows.frame[rows.conversation == number].max() < later.frame[later.conversation == number].min()
    # What is held out together is a stretch of every conversation, one after the other.
    for number in range(len(TEST.questions)):
        here = rows.conversation == number
        assert all(a <= b for a, b in pairwise(rows.group[here]))
        assert set(rows.group[here]) == {0, 1, 2}
    assert fitted("phone", TRAIN, TEST, folds=3)[1] is TRAIN


def test_other_labels_of_what_is_scored_change_the_score_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    relabelled = Asked([replace(q, phones=rng.permutation(q.phones)) for q in TEST.questions])
    config = CONFIG.model_copy(update={"tasks": ("phone",)})
    train, test = read(telling(TRAIN, "phone", 0.3)), read(telling(TEST, "phone", 0.3))
    before, after = (probe.answer(train, TRAIN, test, each, config) for each in (TEST, relabelled))
    rows, other = scored("phone", TEST), scored("phone", relabelled)
    said = {(f, c): label for f, c, label in zip(rows.frame, rows.channel, before.frames["phone"], strict=True)}
    for f, c, label in zip(other.frame, other.channel, after.frames["phone"], strict=True):
        assert said.get((f, c), label) == label
    assert before.regularisation == after.regularisation
    one, two = (
        probe.score(a, t, DRAWS).values["phone"]["accuracy"][0] for a, t in ((before, TEST), (after, relabelled))
    )
    assert one > two + 0.2


def test_speech_is_told_from_silence_as_by_linear_discriminant_analysis_that_weighs_both_alike() -> None:
    rng = np.random.default_rng(3)
    features = telling(TRAIN, "voice_activity", 1.0) @ rng.standard_normal((2, 4)).astype(np.float32)
    features += 0.3 * rng.standard_normal(features.shape).astype(np.float32)
    rows, _ = fitted("voice_activity", TRAIN, TEST, CONFIG.folds)
    rare = rows[(rows.label == "silence") | (rng.random(len(rows.label)) < 0.1)]
    config = CONFIG.model_copy(update={"regularisation": (1e6,)})
    said, _ = frame_tasks.answer("voice_activity", rare, features, rows, features, config)
    twin = LinearDiscriminantAnalysis(priors=(0.5, 0.5)).fit(rare.of(features), rare.label == "speech")
    expected = twin.predict(rows.of(features))
    assert np.mean((np.asarray(said) >= 0) == expected) > 0.998
    assert (
        0.3 < np.mean(expected) < 0.7
    )  # where speech is asked for as often as silence; of what was fitted it is a tenth


def test_scores_of_voice_activity_are_those_of_scikit_learn() -> None:
    rows = scored("voice_activity", TEST)
    speech = rows.label == "speech"
    said = 0.2 * speech + np.random.default_rng(4).standard_normal(len(speech))
    found = frame_tasks.score("voice_activity", said, rows, len(TEST.questions), DRAWS)
    for draw in (0, 7):
        weight = DRAWS[draw][rows.conversation]
        cut = balanced_accuracy_score(speech, said >= 0, sample_weight=weight)
        assert found["balanced_accuracy"][draw] == pytest.approx(cut)
        assert found["roc_auc"][draw] == pytest.approx(roc_auc_score(speech, said, sample_weight=weight))


def test_accuracy_and_macro_recall_are_those_of_counting() -> None:
    rows = scored("speaker", TEST)
    rng = np.random.default_rng(1)
    said = rng.permutation(rows.label)
    found = frame_tasks.score("speaker", said, rows, len(TEST.questions), DRAWS)
    for draw in (0, 7):
        weight = DRAWS[draw][rows.conversation]
        assert found["accuracy"][draw] == pytest.approx(np.average(said == rows.label, weights=weight))
        shares = [1 / np.sum(rows.label == name) for name in rows.label]  # every speaker alike
        assert found["macro_recall"][draw] == pytest.approx(np.average(said == rows.label, weights=weight * shares))
    recalls = [np.mean((said == name)[rows.label == name]) for name in np.unique(rows.label)]
    assert found["macro_recall"][0] == pytest.approx(np.mean(recalls))


def test_a_class_that_training_lacks_is_an_error() -> None:
    renamed = Asked([replace(q, phones=np.where(q.phones == "s", "z", q.phones)) for q in TEST.questions])
    config = CONFIG.model_copy(update={"tasks": ("phone",)})
    said = probe.answer(read(telling(TRAIN, "phone")), TRAIN, read(telling(TEST, "phone")), renamed, config)
    share = np.mean(scored("phone", renamed).label == "z")
    assert 0.2 < share < 0.5
    assert probe.score(said, renamed, DRAWS).values["phone"]["accuracy"][0] == pytest.approx(1 - share)


@pytest.mark.parametrize(("phone", "found"), [("a", "1 classes in 4 parts"), ("", "0 classes in 0 parts")])
def test_too_few_classes_are_refused_whoever_answers(phone: str, found: str) -> None:
    uniform = Asked([replace(q, phones=np.full_like(q.phones, phone)) for q in TRAIN.questions])
    config = CONFIG.model_copy(update={"tasks": ("phone",)})
    message = f"phone: {found} to hold out, expected two of each to fit on: give more training conversations"
    with pytest.raises(InputError, match=message):
        probe.answer(read(telling(TRAIN, "phone")), uniform, read(telling(TEST, "phone")), TEST, config)
    with pytest.raises(InputError, match=message):
        probe.answer_majority(uniform, TEST, config)


def test_speakers_who_are_never_alone_are_refused() -> None:
    together = Asked([replace(q, activity=np.ones_like(q.activity)) for q in TEST.questions])
    with pytest.raises(InputError, match=r"speaker: 0 classes .* give more conversations to score"):
        fitted("speaker", TRAIN, together, folds=3)


def test_least_squares_is_that_of_scikit_learn_and_its_penalty_of_least_error_on_folds_left_out() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((60, 30)).astype(np.float32)
    y = (x[:, :2] + rng.standard_normal((60, 2))) > 0
    folds = np.array_split(np.arange(60), 4)
    mean, scale = moments(x)
    candidates = (1e-3, 1e-2, 1e-1, 1.0)
    line = fit_ridge([[(x[fold], y[fold])] for fold in folds], mean, scale, candidates)

    def model(c: float, rows: NDArray[np.int64]) -> Ridge:
        return Ridge(alpha=1 / c).fit((x[rows] - mean) / scale, y[rows].astype(float))

    def error(c: float) -> float:
        left = (np.setdiff1d(np.arange(60), fold) for fold in folds)
        pairs = zip(folds, left, strict=True)
        return sum(((model(c, rest).predict((x[f] - mean) / scale) - y[f]) ** 2).sum() for f, rest in pairs)

    assert line.regularisation == min(candidates, key=error)
    expected = model(line.regularisation, np.arange(60)).predict((x - mean) / scale)
    np.testing.assert_allclose(line(x), expected, atol=1e-4)
