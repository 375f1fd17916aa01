"""Linear probes: how much of turn-taking can be read off frozen features by a line?

The tasks of turn-taking are those of `event_tasks`, such as shift or hold at a silence, and `future_activity`: which of
the next 60 bins of 50 ms will a speaker fill? Features of both channels stand side by side, the speaker in question
first (at an event the one who had the turn), so that swapping the speakers swaps the answer. The tasks of one channel's
frame are in `frame_tasks`.

Everything is fitted and chosen on the training conversations, by validation that keeps a dialogue together. The
conversations that are scored meet their labels in `score` alone (but for `speaker`, see there).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_tt.errors import InputError
from ssl_tt.training import event_tasks, frame_tasks
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.event_tasks import Said, with_prior
from ssl_tt.training.features import Frames, Reader
from ssl_tt.training.frame_tasks import FRAME_TASKS
from ssl_tt.training.logistic import fit_folds
from ssl_tt.training.questions import Asked, Question, ask
from ssl_tt.training.ridge import Block, Floats, Line, fit_ridge, moments
from ssl_tt.turns import metrics
from ssl_tt.turns.floor_scores import READINGS, EventTask
from ssl_tt.turns.metrics import SilenceGroup
from ssl_tt.turns.targets import FUTURE_BINS

__all__ = ["Asked", "Line", "Question", "ask"]

_LARGE = 2**24
"""Numbers in the features of events above which shift or hold is fitted for all folds and penalties at once."""


# ------------------------------------------------------------------------------------------------- reading features


@dataclass(frozen=True)
class Read:
    """One representation at all that was asked, the two speakers by channel."""

    events: dict[EventTask, NDArray[np.float32]]
    """At the rows of each task, [R, 2, D]."""
    frames: NDArray[np.float32]
    """[F, 2, D]"""
    stretch: NDArray[np.float32]
    """[Q, 2, D]"""


def read(reader: Reader, asked: Asked) -> dict[str, Read]:
    """Every representation of a reader at all that is asked; each conversation is read once.

    Conversations side by side on a thread each: two threads that share a block of one wait for each other more than
    they work, above all where the machine has other things to do.
    """
    rows = {task: asked.rows(task) for task in asked.tasks}

    def parts(place: int) -> dict[str, tuple[NDArray[np.float32], ...]]:
        question = asked.questions[place]
        at_events = [each.frame[each.conversation == place] for each in rows.values()]
        wanted = (*at_events, question.frames, question.stretch)
        points = np.unique(np.concatenate(wanted))
        if len(points) == 0:
            return {}
        found = reader(question.conversation, points)
        return {name: tuple(each[np.searchsorted(points, frames)] for frames in wanted) for name, each in found.items()}

    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        every = [found for found in pool.map(parts, range(len(asked.questions))) if found]
    read = {}
    for name in every[0] if every else {}:
        *events, frames, stretch = map(np.concatenate, zip(*(found[name] for found in every), strict=True))
        read[name] = Read(dict(zip(rows, events, strict=True)), frames, stretch)
    return read


def by_role(features: NDArray[np.float32], first: Frames) -> NDArray[np.float32]:
    """Features [P, 2, D] by channel as [P, 2 * D]: those of the speakers `first` [P], then those of the others."""
    order = np.stack([first, 1 - first], axis=1)
    return np.take_along_axis(features, order[:, :, None], axis=1).reshape(len(features), 2 * features.shape[2])


# ---------------------------------------------------------------------------------------------------- linear models


def fit_events(
    task: EventTask, features: NDArray[np.float32], truth: NDArray[np.bool_], dialogue: Frames, config: ProbeConfig
) -> Line:
    """Logistic regression of class 1 (above 0) against 0 from features [R, D], both classes of equal weight.

    C is the candidate of best balanced accuracy on the conversations left out; of equals, the most regularised.
    """
    folds = list(_folds(dialogue, config.folds))
    for held_out in (*folds, np.zeros(len(truth), dtype=bool)):
        if not 0 < truth[~held_out].sum() < (~held_out).sum():
            negative, positive = (kind.replace("_", " ") for kind in READINGS[task].kinds)
            raise InputError(
                f"{task}: training conversations with {int(truth.sum())} times {positive} and {int((~truth).sum())} "
                f"times {negative}, expected several conversations with both: add training conversations, or drop the "
                "task"
            )
    mean, scale = moments(features)
    candidates = sorted(config.regularisation)
    whole: Iterator[tuple[Floats, float]]
    if features.size > _LARGE and len(features) > 20 * features.shape[1]:
        found = fit_folds(features, truth, folds, mean, scale, candidates)
        answered, whole = found.answered, zip(found.weights, found.bias, strict=True)
    else:
        x = (features - mean) / scale
        answered = np.zeros((len(candidates), len(x)), dtype=bool)
        for held_out in folds:
            for place, (weights, bias) in enumerate(_path(x[~held_out], truth[~held_out], candidates)):
                answered[place, held_out] = x[held_out] @ weights + bias >= 0
        whole = _path(x, truth, candidates)
    one = np.zeros(len(truth), np.int64)
    scores = {
        c: metrics.balanced_accuracy(metrics.confusion_counts(truth, of_c, one, 1)[0])
        for c, of_c in zip(candidates, answered, strict=True)
    }
    best = max(scores, key=lambda c: (float(scores[c]), -c))
    weights, bias = next(line for c, line in zip(candidates, whole, strict=False) if c == best)
    return Line(mean, scale, weights, float(bias), best)


def _path(x: Floats, truth: NDArray[np.bool_], candidates: Sequence[float]) -> Iterator[tuple[Floats, float]]:
    """Weights and bias under each C in turn, by scikit-learn, begun from those before."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Newton's method costs events * features**2 a step, L-BFGS events * features: timed on 1,000 to 50,000 events.
    solver = "newton-cholesky" if len(x) > 20 * x.shape[1] else "lbfgs"
    model = LogisticRegression(class_weight="balanced", solver=solver, max_iter=1000, warm_start=True)
    for c in candidates:
        with threadpool_limits(1):  # threads that wait for each other make products this small 5 to 8 times slower
            model.set_params(C=c).fit(x, truth)
        yield model.coef_[0].copy(), float(model.intercept_[0])


def fit_future(features: NDArray[np.float32], future: NDArray[np.bool_], dialogue: Frames, config: ProbeConfig) -> Line:
    """Ridge regression of a speaker's 60 bins from features [F, 2, D] of both, each speaker's in turn coming first."""
    width = features.shape[2]
    mean, scale = (np.tile(moment, 2) for moment in moments(features.reshape(-1, width)))

    def blocks(rows: Frames) -> Iterator[Block]:
        for block in np.array_split(rows, len(rows) // 4096 + 1):
            for speaker in (0, 1):
                yield by_role(features[block], np.full(len(block), speaker)), future[block, speaker]

    folds = [blocks(np.flatnonzero(fold)) for fold in _folds(dialogue, config.folds)]
    return fit_ridge(folds, mean, scale, config.regularisation)


def answer_future(line: Line, features: NDArray[np.float32]) -> Floats:
    """Scores [F, 2, 60] of features [F, 2, D]."""
    orders = (by_role(features, np.full(len(features), speaker)) for speaker in (0, 1))
    return np.stack([line(order) for order in orders], axis=1)


def _folds(dialogue: Frames, folds: int) -> Iterator[NDArray[np.bool_]]:
    """Rows held out in turn, [P] bool; a dialogue is in one fold alone."""
    from sklearn.model_selection import GroupKFold

    n_groups = len(np.unique(dialogue))
    if n_groups < 2:
        raise InputError(
            f"{n_groups} training conversation{'s' * (n_groups != 1)} to probe with, expected at least 2, so that the "
            "regularisation can be validated: add annotated conversations"
        )
    for _, rows in GroupKFold(min(folds, n_groups)).split(dialogue, groups=dialogue):
        held_out = np.zeros(len(dialogue), dtype=bool)
        held_out[rows] = True
        yield held_out


# ---------------------------------------------------------------------------------------------- answers and scores


@dataclass(frozen=True)
class Answers:
    """What a system says to all that was asked; made without a look at the truth."""

    events: dict[EventTask, Said]
    """What is said at the rows of each task."""
    future: Floats | None
    """Scores [F, 2, 60]."""
    stretch: Floats | None
    """Probability of a shift [Q], were there a decision now; NaN before anyone has spoken alone."""
    frames: dict[str, NDArray[np.str_] | Floats]
    """What is said of the frames of each task of `frame_tasks`."""
    regularisation: dict[str, float]
    """The inverse regularisation chosen for each task."""


def answer(train: Read, asked_train: Asked, test: Read, asked_test: Asked, config: ProbeConfig) -> Answers:
    """Fit on the training conversations, answer for the others: of their questions, only frames and speakers count."""
    future = stretch = None
    chosen: dict[str, float] = {}
    events: dict[EventTask, Said] = {}
    for task in asked_test.tasks:
        rows, wanted = asked_train.rows(task), asked_test.rows(task)
        x, dialogue = by_role(train.events[task], rows.previous), asked_train.dialogue[rows.conversation]
        line = fit_events(task, x, rows.truth, dialogue, config)
        score, chosen[task] = line(by_role(test.events[task], wanted.previous)), line.regularisation
        events[task] = Said(score, with_prior(score, rows.truth.mean()))
        if task == "shift_hold":
            last = asked_test.last_speaker
            belief = 1 / (1 + np.exp(-line(by_role(test.stretch, np.maximum(last, 0)))))
            stretch = np.where(last >= 0, belief, np.nan)
    if "future_activity" in config.tasks:
        groups = asked_train.dialogue[asked_train.frame_conversation]
        line = fit_future(train.frames, asked_train.future, groups, config)
        future, chosen["future_activity"] = answer_future(line, test.frames), line.regularisation
    said = {}
    for name in _frame_tasks(config):
        frames, of = frame_tasks.fitted(name, asked_train, asked_test, config.folds)
        known, scored = train if of is asked_train else test, frame_tasks.scored(name, asked_test)
        said[name], chosen[name] = frame_tasks.answer(name, frames, known.frames, scored, test.frames, config)
    return Answers(events, future, stretch, said, chosen)


def answer_majority(asked_train: Asked, asked_test: Asked, config: ProbeConfig) -> Answers:
    """The floor: always the more frequent class of training, and for every frame the same."""
    future = stretch = None
    events: dict[EventTask, Said] = {}
    for task in asked_test.tasks:
        share, n = asked_train.rows(task).truth.mean(), len(asked_test.rows(task).truth)
        events[task] = Said(np.full(n, 1.0 if share >= 0.5 else -1.0), np.full(n, share))
        if task == "shift_hold":
            stretch = np.full(sum(len(question.stretch) for question in asked_test.questions), share)
    if "future_activity" in config.tasks:
        future = np.broadcast_to(asked_train.future.mean(axis=(0, 1)), asked_test.future.shape)
    said = {}
    for name in _frame_tasks(config):
        frames, _ = frame_tasks.fitted(name, asked_train, asked_test, config.folds)
        said[name] = frame_tasks.majority(name, frames, frame_tasks.scored(name, asked_test))
    return Answers(events, future, stretch, said, {})


def _frame_tasks(config: ProbeConfig) -> list[str]:
    return [task for task in config.tasks if task in FRAME_TASKS]


@dataclass(frozen=True)
class Scores:
    """Scores under every draw of conversations, the first being the score itself; NaN where not defined."""

    values: dict[str, dict[str, Floats]]
    """task -> metric -> [1 + draws]"""
    horizons: Floats | None
    """ROC AUC of each bin of future activity [60]."""
    silences: list[SilenceGroup] = field(default_factory=list)
    """Balanced accuracy of shift or hold by how long the silence lasts."""
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    """Counts [true class, answered class] of the rows of each task at events."""

    def as_json(self) -> dict[str, Any]:
        return {
            "values": {
                task: {metric: numbers(values) for metric, values in scores.items()}
                for task, scores in self.values.items()
            },
            "horizons": None if self.horizons is None else numbers(self.horizons),
            "silences": [[each.shortest, each.n, numbers(each.values)] for each in self.silences],
            "confusion": self.confusion,
        }

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> "Scores":
        return cls(
            values={
                task: {metric: np.array(values, dtype=np.float64) for metric, values in scores.items()}
                for task, scores in table["values"].items()
            },
            horizons=None if table["horizons"] is None else np.array(table["horizons"], dtype=np.float64),
            silences=[
                SilenceGroup(shortest, longest, n, np.array(values, dtype=np.float64))
                for (shortest, n, values), longest in zip(
                    table["silences"], [*(each[0] for each in table["silences"][1:]), np.inf], strict=False
                )
            ],
            confusion=table["confusion"],
        )


def score(answers: Answers, asked: Asked, draws: Floats) -> Scores:
    """Answers against the truth, under weights `draws` [1 + draws, conversations] of `metrics.draws`.

    future_activity: mean over the 60 bins of the ROC AUC over frames and speakers. The others: see `event_tasks` and
    `frame_tasks`.
    """
    n = len(asked.questions)
    values: dict[str, dict[str, Floats]] = {}
    silences: list[SilenceGroup] = []
    confusion: dict[str, list[list[int]]] = {}
    horizons = None
    for event_task, at_events in answers.events.items():
        rows = asked.rows(event_task)
        values[event_task] = event_tasks.score(at_events, rows, n, draws)
        confusion[event_task] = event_tasks.confusion(at_events, rows).tolist()
        if event_task == "shift_hold":
            silences = event_tasks.by_silence(at_events, rows, n, draws)
    if answers.future is not None:
        truth = asked.future.reshape(-1, FUTURE_BINS)
        said = answers.future.reshape(-1, FUTURE_BINS)
        conversation = np.repeat(asked.frame_conversation, 2)
        bins = range(FUTURE_BINS)
        found = [metrics.concordance(truth[:, i], said[:, i], conversation, n) for i in bins]
        curves = np.stack([metrics.roc_auc(pairs, draws) for pairs in found])
        values["future_activity"] = {"roc_auc": curves.mean(axis=0)}
        horizons = curves[:, 0]
    for task, of_frames in answers.frames.items():
        values[task] = frame_tasks.score(task, of_frames, frame_tasks.scored(task, asked), n, draws)
    return Scores(values, horizons, silences, confusion)


def numbers(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
