"""Scores of turn-taking, with intervals by bootstrap over conversations.

Frames and events of one conversation are not independent, so whole conversations are drawn with replacement. Every
score here is a function of sums over conversations (confusion counts) or over pairs of them (concordant pairs): a draw
is a vector of weights, one a conversation, and all draws are one matrix product. The first "draw" weighs every
conversation once, so its score is the score itself.

Conventions. Class 1 is the positive one (shift, speech). A score is *not defined* where a class has no example, never a
number: NaN inside this module, None in an `Estimate`. Draws in which it is not defined are left out of the interval.
Several seeds of one system are scored on the same draws and averaged inside each draw: the interval is that of the mean
over these seeds for other conversations. Two systems scored on the same draws are compared by the difference of each
draw (paired).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A score and its interval; None where not defined."""

    value: float | None
    low: float | None
    high: float | None


class Concordance(NamedTuple):
    """What ROC AUC needs to know: how often a positive of one conversation outscores a negative of another."""

    pairs: Floats
    """[conversations, conversations], positives by negatives; equal scores count one half."""
    positives: Floats
    """[conversations]"""
    negatives: Floats
    """[conversations]"""


# ------------------------------------------------------------------------------------------------------- validation


def check(truth: ArrayLike, answer: ArrayLike, conversation: ArrayLike, n_conversations: int) -> None:
    """Raise InputError unless all three are finite [n] of one length, truth binary and conversations in range."""
    truth, answer, conversation = np.asarray(truth), np.asarray(answer), np.asarray(conversation)
    if truth.ndim != 1 or not truth.shape == answer.shape == conversation.shape:
        raise InputError(
            f"truth {list(truth.shape)}, answers {list(answer.shape)} and conversations {list(conversation.shape)}: "
            "expected three lists of one length"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("truth holds values other than 0 and 1: give one class as 0, the other as 1")
    if not np.isfinite(answer).all():
        raise InputError("answers hold NaN or infinite values: a system must answer every question")
    if len(conversation) and not (conversation.min() >= 0 and conversation.max() < n_conversations):
        raise InputError(f"conversations are numbered 0 to {n_conversations - 1}, given {conversation.max()}")


# ------------------------------------------------------------------------------------------------------------ draws


def draws(n_conversations: int, n_draws: int, seed: int = 0) -> Floats:
    """Weights of conversations [1 + n_draws, n_conversations]: all ones, then how often each was drawn."""
    if n_conversations < 1:
        raise InputError("no conversation to score")
    generator = np.random.default_rng((seed, n_conversations))
    drawn = generator.multinomial(n_conversations, np.full(n_conversations, 1 / n_conversations), size=n_draws)
    return np.concatenate([np.ones((1, n_conversations)), drawn])


def estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Score and interval of values [1 + draws], or [seeds, 1 + draws] to be averaged over seeds."""
    mean = np.atleast_2d(np.asarray(values, dtype=np.float64)).mean(axis=0)
    value, drawn = float(mean[0]), mean[1:][~np.isnan(mean[1:])]
    if np.isnan(value):
        return Estimate(None, None, None)
    if len(drawn) == 0:
        return Estimate(value, None, None)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high))


# ----------------------------------------------------------------------------------------------------------- scores


def confusion_counts(
    truth: ArrayLike, answer: ArrayLike, conversation: ArrayLike, n_conversations: int
) -> NDArray[np.int64]:
    """Counts [conversations, true class, answered class] of truth, answer (0 or 1) and conversation, each [n]."""
    check(truth, answer, conversation, n_conversations)
    cell = 4 * np.asarray(conversation, dtype=np.int64) + 2 * np.asarray(truth, dtype=np.int64)
    cell += np.asarray(answer, dtype=np.int64)
    return np.bincount(cell, minlength=4 * n_conversations).reshape(n_conversations, 2, 2)


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Mean recall of the two classes, [...] of confusion [..., true, answered]; NaN where a class is missing."""
    counts = np.asarray(confusion, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        recall = np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(axis=-1)
    return recall.mean(axis=-1)


def weighted_f1(confusion: ArrayLike) -> Floats:
    """F1 of the two classes weighed by their true counts, [...] of confusion [..., true, answered].

    NaN where a class is missing; the F1 of a class never answered is 0.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    true, answered = counts.sum(axis=-1), counts.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        f1 = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / (true + answered)
        score = (f1 * true).sum(axis=-1) / true.sum(axis=-1)
    return np.where((true > 0).all(axis=-1), score, np.nan)


def concordance(truth: ArrayLike, score: ArrayLike, conversation: ArrayLike, n_conversations: int) -> Concordance:
    """Concordant pairs of truth (0 or 1), score and conversation, each [n]: all that a ROC AUC of any weights needs."""
    check(truth, score, conversation, n_conversations)
    truth, score, conversation = np.asarray(truth, dtype=bool), np.asarray(score), np.asarray(conversation)
    order = np.argsort(score[~truth], kind="stable")
    negatives = score[~truth][order]
    below = np.zeros((len(negatives) + 1, n_conversations), dtype=np.float32)  # counts below 2**24 are exact
    below[np.arange(1, len(below)), conversation[~truth][order]] = 1
    np.cumsum(below, axis=0, out=below)

    by_conversation = np.argsort(conversation[truth], kind="stable")
    positives = score[truth][by_conversation]
    outscored = below[np.searchsorted(negatives, positives, side="left")].astype(np.float64)
    outscored += below[np.searchsorted(negatives, positives, side="right")]
    n_positives = np.bincount(conversation[truth], minlength=n_conversations)
    ends = np.cumsum(n_positives)
    summed = np.concatenate([np.zeros((1, n_conversations)), np.cumsum(outscored, axis=0)])
    return Concordance(
        pairs=(summed[ends] - summed[ends - n_positives]) / 2,
        positives=n_positives.astype(np.float64),
        negatives=below[-1].astype(np.float64),
    )


def roc_auc(found: Concordance, weights: Floats) -> Floats:
    """Area under the ROC curve [draws] under weights [draws, conversations]; NaN where a class is missing."""
    with np.errstate(invalid="ignore"):
        concordant = np.einsum("di,ij,dj->d", weights, found.pairs, weights, optimize=True)
        return concordant / ((weights @ found.positives) * (weights @ found.negatives))
