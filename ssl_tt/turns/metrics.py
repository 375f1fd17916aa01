"""Scores of turn-taking, with intervals by bootstrap over conversations.

Frames and events of one conversation are not independent, so whole conversations are drawn with replacement. Every
score is a function of sums over conversations (confusion counts, counts from the top, sums of a bin) or over pairs of
them (concordant pairs): a draw is a vector of weights, one a conversation, and all draws are one matrix product. The
first "draw" weighs every conversation once, so its score is the score itself.

    draws(n, 1000)                                          weights [1 + draws, conversations]
    confusion_counts -> tensordot(weights, counts, axes=1)  -> accuracy, balanced_accuracy, weighted_f1, f1, ...
    concordance      -> roc_auc(pairs, weights)
    cumulated        -> average_precision(counts, weights)
    forecasts        -> brier_score(sums, weights), expected_calibration_error, reliability_curve, brier_parts
    estimate(values) or paired_difference(ours, theirs)     a score or a difference, with its interval

Conventions. Class 1 is the positive one (shift, speech). A score is *not defined* where a class has no example, never a
number: NaN in values, None in an `Estimate`. Draws in which it is not defined are left out of the interval, and where
these are many, or there is but one conversation, the interval is not defined either. Several seeds of one system are
scored on the same draws and averaged inside each draw: the interval is that of the mean over these seeds for other
conversations. Two systems scored on the same draws are compared by the difference of each draw (paired).
"""

from ssl_tt.turns.answers import check
from ssl_tt.turns.bootstrap import Estimate, Floats, draws, estimate, paired_difference
from ssl_tt.turns.breakdown import SilenceGroup, by_silence, event_wise
from ssl_tt.turns.calibration import (
    brier_parts,
    brier_score,
    expected_calibration_error,
    forecasts,
    reliability_curve,
)
from ssl_tt.turns.classification import (
    accuracy,
    balanced_accuracy,
    confusion_counts,
    f1,
    precision,
    recall,
    tpr_minus_fpr,
    weighted_f1,
)
from ssl_tt.turns.ranking import average_precision, concordance, cumulated, roc_auc
from ssl_tt.turns.thresholds import Threshold, best_threshold

__all__ = [
    "Estimate",
    "Floats",
    "SilenceGroup",
    "Threshold",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "best_threshold",
    "brier_parts",
    "brier_score",
    "by_silence",
    "check",
    "concordance",
    "confusion_counts",
    "cumulated",
    "draws",
    "estimate",
    "event_wise",
    "expected_calibration_error",
    "f1",
    "forecasts",
    "paired_difference",
    "precision",
    "recall",
    "reliability_curve",
    "roc_auc",
    "tpr_minus_fpr",
    "weighted_f1",
]
