"""Scores of answers that name a class: all are functions of confusion counts [..., true class, answered class].

K classes, numbered from 0; leading axes are draws, seeds or whatever the caller sums over. Names and definitions are
those of scikit-learn, but for what is not defined, which is NaN here.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.turns.answers import check, check_classes
from ssl_tt.turns.bootstrap import Floats


def confusion_counts(
    truth: ArrayLike, answer: ArrayLike, conversation: ArrayLike, n_conversations: int, n_classes: int = 2
) -> NDArray[np.int64]:
    """Counts [conversations, true class, answered class] of truth, answer (0 to K - 1) and conversation, each [n]."""
    check(truth, answer, conversation, n_conversations, n_classes)
    check_classes("answers", answer, n_classes)
    cell = np.asarray(conversation, dtype=np.int64)
    for each in (truth, answer):
        cell = n_classes * cell + np.asarray(each, dtype=np.int64)
    shape = (n_conversations, n_classes, n_classes)
    return np.bincount(cell, minlength=n_conversations * n_classes**2).reshape(shape)


def recall(confusion: ArrayLike) -> Floats:
    """Share of each class that was answered so, [..., K]; NaN for a class that is missing."""
    counts = np.asarray(confusion, dtype=np.float64)
    return _ratio(_right(counts), counts.sum(axis=-1))


def precision(confusion: ArrayLike) -> Floats:
    """Share of the answers of each class that are right, [..., K].

    NaN where any class is missing, and for a class that was never answered.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    return np.where(_complete(counts)[..., None], _ratio(_right(counts), counts.sum(axis=-2)), np.nan)


def f1(confusion: ArrayLike) -> Floats:
    """F1 of each class, [..., K]: harmonic mean of precision and recall, 0 for a class never answered.

    NaN where any class is missing: without examples of the others, nobody could have taken them for this one.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    score = _ratio(2 * _right(counts), counts.sum(axis=-1) + counts.sum(axis=-2))
    return np.where(_complete(counts)[..., None], score, np.nan)


def accuracy(confusion: ArrayLike) -> Floats:
    """Share of right answers, [...]; NaN where any class is missing."""
    counts = np.asarray(confusion, dtype=np.float64)
    share = _ratio(_right(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))
    return np.where(_complete(counts), share, np.nan)


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Mean recall of the classes, [...]; NaN where any class is missing (scikit-learn leaves that class out)."""
    return recall(confusion).mean(axis=-1)


def weighted_f1(confusion: ArrayLike) -> Floats:
    """F1 of the classes weighed by their true counts, [...]; NaN where any class is missing."""
    true = np.asarray(confusion, dtype=np.float64).sum(axis=-1)
    return _ratio((f1(confusion) * true).sum(axis=-1), true.sum(axis=-1))


def tpr_minus_fpr(confusion: ArrayLike) -> Floats:
    """True positive rate minus false positive rate of two classes, [...]: 2 * balanced accuracy - 1.

    NaN where a class is missing. Roddy et al. 2018 (code) choose their threshold by it; also known as Youden's J.
    """
    return 2 * balanced_accuracy(confusion) - 1


def _right(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0, as the numerator then is."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator


def _complete(counts: Floats) -> NDArray[np.bool_]:
    """Whether every class has an example, [...]."""
    return (counts.sum(axis=-1) > 0).all(axis=-1)
