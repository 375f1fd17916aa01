"""From scores to answers: a threshold is chosen on one set (validation) and applied to another (test).

threshold = best_threshold(validation_truth, validation_score, weighted_f1)
counts = confusion_counts(test_truth, threshold(test_score), test_conversation, n)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.turns.answers import check
from ssl_tt.turns.bootstrap import Floats
from ssl_tt.turns.classification import balanced_accuracy

# Scores closer than this are equal: the same number reached by sums in another order.
_DECIMALS = 12


@dataclass(frozen=True)
class Threshold:
    """A cut of scores."""

    value: float
    """The lowest score whose answer is 1; infinite where the answer is always 0."""
    reached: float
    """The metric on the set on which it was chosen: better than on others, so not to be reported as a score."""

    def __call__(self, score: ArrayLike) -> NDArray[np.int64]:
        """Answers 0 and 1 to scores of any shape."""
        return (np.asarray(score, dtype=np.float64) >= self.value).astype(np.int64)


def best_threshold(
    truth: ArrayLike, score: ArrayLike, metric: Callable[[Floats], Floats] = balanced_accuracy
) -> Threshold:
    """The cut of score [n] at which `metric` is highest against truth [n] (0 or 1); of equals, the highest cut.

    metric: from confusion counts [..., 2, 2] to scores [...], such as `balanced_accuracy`, `weighted_f1` and
    `tpr_minus_fpr`. Every distinct score is tried, and to answer 1 never, as in scikit-learn's `roc_curve`. Raises
    InputError where a class is missing.
    """
    check(truth, score, np.zeros(np.shape(truth), np.int64), 1)
    truth, score = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    n_positives, n_negatives = int(truth.sum()), int((~truth).sum())
    if not (n_positives and n_negatives):
        raise InputError(
            f"{n_positives} examples of class 1 and {n_negatives} of class 0 to choose a threshold on, expected both: "
            "add validation conversations"
        )
    cuts, place = np.unique(-score, return_inverse=True)
    cuts = np.append(np.inf, -cuts)
    tp, fp = (np.append(0, np.bincount(place[of], minlength=len(cuts) - 1).cumsum()) for of in (truth, ~truth))
    confusion = np.stack([np.stack([n_negatives - fp, fp], -1), np.stack([n_positives - tp, tp], -1)], -2)
    found = metric(confusion.astype(np.float64))
    best = int(np.nanargmax(np.round(found, _DECIMALS)))
    return Threshold(float(cuts[best]), float(found[best]))
