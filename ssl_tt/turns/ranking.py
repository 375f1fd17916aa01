"""Scores of an order: ROC AUC and average precision ask which of two is the likelier positive, not how likely it is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.turns.answers import check
from ssl_tt.turns.bootstrap import Floats

# Distinct scores that are weighed at once: with 1000 draws, three arrays of 8 MB.
_BLOCK = 1024


class Concordance(NamedTuple):
    """What ROC AUC needs to know: how often a positive of one conversation outscores a negative of another."""

    pairs: Floats
    """[conversations, conversations], positives by negatives; equal scores count one half."""
    positives: Floats
    """[conversations]"""
    negatives: Floats
    """[conversations]"""


class Cumulated(NamedTuple):
    """What average precision needs to know: how many of each conversation reach each distinct score, from the top.

    The first row is above every score and holds none, the last holds all. Scores that no positive has are passed over:
    there recall does not grow.
    """

    positives: NDArray[np.int32]
    """[1 + scores, conversations]"""
    answered: NDArray[np.int32]
    """[1 + scores, conversations], positives and negatives."""


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


def cumulated(truth: ArrayLike, score: ArrayLike, conversation: ArrayLike, n_conversations: int) -> Cumulated:
    """Counts from the top of truth (0 or 1), score and conversation, each [n]: all that average precision needs."""
    check(truth, score, conversation, n_conversations)
    truth, conversation = np.asarray(truth, dtype=bool), np.asarray(conversation, dtype=np.int64)
    place = -np.asarray(score, dtype=np.float64)
    levels = np.unique(place[truth])
    # A negative counts from the next lower score of a positive on; those below all of these share one more row.
    row = 1 + np.searchsorted(levels, place)

    def counts(chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
        cell = (row * n_conversations + conversation)[chosen]
        found = np.bincount(cell, minlength=(len(levels) + 2) * n_conversations)
        return found.reshape(-1, n_conversations).cumsum(axis=0, dtype=np.int32)

    return Cumulated(positives=counts(truth), answered=counts(np.ones_like(truth)))


def average_precision(found: Cumulated, weights: Floats) -> Floats:
    """Average precision [draws] under weights [draws, conversations]; NaN where a class is missing.

    Precision at each distinct score, weighed by the recall that it adds, as in scikit-learn: no interpolation, and
    equal scores are answered together.
    """
    total = np.zeros(len(weights))
    for first in range(1, len(found.positives), _BLOCK):
        rows = slice(first, first + _BLOCK)
        positives, answered = found.positives[rows] @ weights.T, found.answered[rows] @ weights.T
        added = np.diff(found.positives[first - 1 : first + _BLOCK], axis=0) @ weights.T
        # Above the best score of those drawn there is no precision, but no recall is added either.
        precision = np.divide(positives, answered, out=np.zeros_like(positives), where=answered > 0)
        total += (added * precision).sum(axis=0)
    n_positives = weights @ found.positives[-1]
    n_negatives = weights @ found.answered[-1] - n_positives
    with np.errstate(invalid="ignore"):
        return np.where(n_negatives > 0, total / n_positives, np.nan)
