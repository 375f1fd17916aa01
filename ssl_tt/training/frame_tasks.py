"""What a representation keeps of one channel's frame: does it speak, who is it, which phone?

The classic questions asked of CPC (van den Oord et al. 2018, arXiv 1807.03748, section 3.1), by least squares on the
classes (Hastie et al. 2009, section 4.2): as cheap as it is linear. Asked at the frames of future activity.

`voice_activity`  every frame of either channel; the positive class is speech.
`phone`           frames of which a phone is known. Fitted on the training conversations, scored on the others; a phone
                  that training does not have counts as an error.
`speaker`         frames in which the channel alone speaks. Speakers of training are not those that are scored, so
                  the line is fitted on the first half of each scored conversation and scored on the second. The room
                  and its noise may help to tell them apart: log-mel beside it says how much.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ssl_tt.errors import InputError
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.questions import Asked
from ssl_tt.training.ridge import Floats, Line, fit_ridge, moments
from ssl_tt.turns import metrics

FRAME_TASKS = ("voice_activity", "speaker", "phone")
"""Tasks of one channel's frame. Who spoke when, which is what the first one asks, is no baseline of theirs."""

_BLOCK = 4096


@dataclass(frozen=True)
class Rows:
    """The frames [P] that a task asks about."""

    frame: NDArray[np.int64]
    """Place among all frames that are read."""
    channel: NDArray[np.int64]
    label: NDArray[np.str_]
    conversation: NDArray[np.int64]
    group: NDArray[np.int64]
    """What is held out together while the penalty is chosen."""

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Rows":
        return Rows(
            self.frame[chosen],
            self.channel[chosen],
            self.label[chosen],
            self.conversation[chosen],
            self.group[chosen],
        )

    def of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Their features [P, D] of all frames' [F, 2, D]."""
        return features[self.frame, self.channel]


def fitted(task: str, train: Asked, asked: Asked, folds: int) -> tuple[Rows, Asked]:
    """The rows that a task's line is fitted on, and whose frames they are; InputError if they are too few for that."""
    of = asked if task == "speaker" else train
    rows = _rows(task, of)
    if task == "speaker":
        place = _place_in_conversation(asked)[rows.frame]
        # Folds by conversation would hold out whole speakers: here they are stretches of time, everyone in each.
        rows = replace(rows, group=(2 * folds * place).astype(np.int64))[place < 0.5]
    classes, groups = len(np.unique(rows.label)), len(np.unique(rows.group))
    if classes < 2 or groups < 2:
        raise InputError(
            f"{task}: {classes} classes in {groups} parts to hold out, expected two of each to fit on: give more "
            f"{'conversations to score' if task == 'speaker' else 'training conversations'}, or drop the task"
        )
    return rows, of


def scored(task: str, asked: Asked) -> Rows:
    """The rows that are scored."""
    rows = _rows(task, asked)
    return rows if task != "speaker" else rows[_place_in_conversation(asked)[rows.frame] >= 0.5]


def count_classes(task: str, asked: Asked) -> int:
    """How many classes a task has in all of these questions."""
    return len(np.unique(_rows(task, asked).label))


def answer(
    task: str, rows: Rows, features: NDArray[np.float32], asked: Rows, wanted: NDArray[np.float32], config: ProbeConfig
) -> tuple[NDArray[np.str_] | Floats, float]:
    """Labels [P] of the rows asked about, or, of voice activity, scores [P]; and the C that was chosen.

    From a score of 0 on the answer is speech: halfway between the mean scores of the two classes in what was fitted,
    where linear discriminant analysis cuts if both weigh alike (Hastie et al. 2009, section 4.3), as they do in the
    metric.

    rows, features [F, 2, D]: to fit on, as `fitted` gives them; of the others, only which frames they are is looked at.
    """
    classes = np.unique(rows.label)
    groups = np.unique(rows.group)
    x = rows.of(features)
    parts = np.array_split(groups, min(config.folds, len(groups)))
    held_out = [np.flatnonzero(np.isin(rows.group, part)) for part in parts]

    def blocks(of_fold: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        for block in np.array_split(of_fold, len(of_fold) // _BLOCK + 1):
            yield x[block], rows.label[block, None] == classes

    line: Line = fit_ridge([blocks(fold) for fold in held_out], *moments(x), config.regularisation)
    said = line(asked.of(wanted))
    if task == "voice_activity":
        known, speech = _contrast(line(x)), rows.label == "speech"
        return _contrast(said) - (known[speech].mean() + known[~speech].mean()) / 2, line.regularisation
    return classes[said.argmax(axis=1)], line.regularisation


def _contrast(scores: Floats) -> Floats:
    """Scores of speech against silence [P] of those of both classes [P, 2], which are in the order of their names."""
    return scores[:, 1] - scores[:, 0]


def majority(task: str, rows: Rows, asked: Rows) -> NDArray[np.str_] | Floats:
    """The most frequent class of what would be fitted on, for every row."""
    if task == "voice_activity":
        return np.full(len(asked.label), 1.0 if np.mean(rows.label == "speech") >= 0.5 else -1.0)
    classes, counts = np.unique(rows.label, return_counts=True)
    return np.full(len(asked.label), classes[counts.argmax()])


def score(
    task: str, said: NDArray[np.str_] | Floats, asked: Rows, n_conversations: int, draws: Floats
) -> dict[str, Floats]:
    """Scores under every draw of conversations, NaN where there is nothing to score.

    ROC AUC and balanced accuracy of voice activity. Else accuracy, the share of frames that are right, and macro
    recall, the mean over the classes of that share among theirs, as some speakers are heard in many conversations. In
    a draw a class weighs by how many of its frames are drawn, of all that it has: classes that are not drawn are left
    out without moving the mean towards those that always are.
    """
    if task == "voice_activity":
        speech, scores = asked.label == "speech", np.asarray(said, dtype=np.float64)
        pairs = metrics.concordance(speech, scores, asked.conversation, n_conversations)
        confusion = metrics.confusion_counts(speech, scores >= 0, asked.conversation, n_conversations)
        return {
            "roc_auc": metrics.roc_auc(pairs, draws),
            "balanced_accuracy": metrics.balanced_accuracy(np.tensordot(draws, confusion, axes=1)),
        }
    classes, place = np.unique(asked.label, return_inverse=True)
    cells, shape = asked.conversation * len(classes) + place, (n_conversations, len(classes))
    n = draws @ np.bincount(cells, minlength=np.prod(shape)).reshape(shape)  # [draws, classes]
    right = draws @ np.bincount(cells, weights=said == asked.label, minlength=np.prod(shape)).reshape(shape)
    with np.errstate(invalid="ignore"):
        return {
            "accuracy": right.sum(axis=1) / n.sum(axis=1),
            "macro_recall": (right / n[0]).sum(axis=1) / (n / n[0]).sum(axis=1),  # the first draw is of all, once
        }


def _rows(task: str, asked: Asked) -> Rows:
    """All rows of a task, conversation by conversation."""
    active = np.concatenate([question.active for question in asked.questions])  # [F, 2]
    match task:
        case "voice_activity":
            label = np.where(active, "speech", "silence")
        case "speaker":
            names = np.concatenate(
                [np.tile(question.conversation.speakers, (len(question.frames), 1)) for question in asked.questions]
            )
            label = np.where(active & ~active[:, ::-1], names, "")
        case _:
            label = np.concatenate([question.phones for question in asked.questions])
    frame, channel = np.nonzero(label != "")
    conversation = asked.frame_conversation[frame]
    return Rows(frame, channel, label[frame, channel], conversation, asked.dialogue[conversation])


def _place_in_conversation(asked: Asked) -> Floats:
    """Where in its conversation each frame is, 0 at the first and below 1 at the last, [F]."""
    return np.concatenate([np.arange(n) / max(n, 1) for n in (len(question.frames) for question in asked.questions)])
