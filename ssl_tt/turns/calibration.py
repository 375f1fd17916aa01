"""Are probabilities to be believed: of the silences given a shift with 0.7, are 0.7 shifts?

All follows from sums over each conversation and bin. Forecasts are sorted into N_BINS bins of equal width, (0, 1/15],
(1/15, 2/15] ... with 0 in the first: Guo et al. 2017, On Calibration of Modern Neural Networks, sections 2 and 4.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ssl_tt.errors import InputError
from ssl_tt.turns.answers import check
from ssl_tt.turns.bootstrap import Floats

N_BINS = 15


class Forecasts(NamedTuple):
    """What the scores of calibration need to know, each [conversations, bins]."""

    n: Floats
    positives: Floats
    probability: Floats
    """Summed."""
    squared_error: Floats
    """Summed."""


class ReliabilityCurve(NamedTuple):
    """What was forecast and what came, each [draws, bins]; NaN in a bin without forecasts and without both classes."""

    forecast: Floats
    """Mean probability."""
    observed: Floats
    """Share of positives."""
    n: Floats
    """Number of forecasts."""


class BrierParts(NamedTuple):
    """Brier score = reliability - resolution + uncertainty + within_bins, each [draws].

    Murphy 1973, A New Vector Partition of the Probability Score.
    """

    reliability: Floats
    """Squared distance of the mean forecast of a bin from what came: 0 is best."""
    resolution: Floats
    """Squared distance of what came in a bin from what comes at all: how much the forecasts tell apart."""
    uncertainty: Floats
    """Variance of what comes, whatever is forecast."""
    within_bins: Floats
    """What the bins hide: 0 where the forecasts in a bin are equal."""


def forecasts(
    truth: ArrayLike, probability: ArrayLike, conversation: ArrayLike, n_conversations: int, n_bins: int = N_BINS
) -> Forecasts:
    """Sums over truth (0 or 1), probability of class 1 and conversation, each [n].

    Raises InputError for probabilities outside of 0 to 1.
    """
    check(truth, probability, conversation, n_conversations)
    truth, probability = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if len(probability) and not (probability.min() >= 0 and probability.max() <= 1):
        raise InputError(
            f"probabilities from {probability.min():g} to {probability.max():g}, expected 0 to 1: a score that is no "
            "probability has no calibration"
        )
    place = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], probability)
    cell = np.asarray(conversation, dtype=np.int64) * n_bins + place

    def summed(values: Floats) -> Floats:
        total = np.bincount(cell, values, n_conversations * n_bins).astype(np.float64)
        return total.reshape(n_conversations, n_bins)

    return Forecasts(
        n=summed(np.ones_like(probability)),
        positives=summed(truth),
        probability=summed(probability),
        squared_error=summed((probability - truth) ** 2),
    )


def brier_score(found: Forecasts, weights: Floats) -> Floats:
    """Mean squared error of the probability [draws] under weights [draws, conversations]; NaN where a class is missing.

    The best constant forecast, the share of positives, scores that share times the rest.
    """
    drawn = _drawn(found, weights)
    with np.errstate(invalid="ignore"):
        return drawn.squared_error.sum(axis=-1) / drawn.n.sum(axis=-1)


def expected_calibration_error(found: Forecasts, weights: Floats) -> Floats:
    """Distance of mean forecast and share of positives, averaged over forecasts by bin, [draws]; NaN as `brier_score`.

    Few forecasts in a bin are off by chance: the error of a calibrated system is above 0, the more so the smaller n.
    """
    drawn = _drawn(found, weights)
    with np.errstate(invalid="ignore"):
        return np.abs(drawn.probability - drawn.positives).sum(axis=-1) / drawn.n.sum(axis=-1)


def reliability_curve(found: Forecasts, weights: Floats) -> ReliabilityCurve:
    """The points of a reliability diagram under weights [draws, conversations]."""
    drawn = _drawn(found, weights)
    with np.errstate(invalid="ignore"):
        return ReliabilityCurve(drawn.probability / drawn.n, drawn.positives / drawn.n, weights @ found.n)


def brier_parts(found: Forecasts, weights: Floats) -> BrierParts:
    """The Brier score taken apart, under weights [draws, conversations]; NaN as `brier_score`."""
    curve = reliability_curve(found, weights)
    with np.errstate(invalid="ignore"):
        share = curve.n / curve.n.sum(axis=-1, keepdims=True)
        rate = (weights @ found.positives).sum(axis=-1) / curve.n.sum(axis=-1)
    brier = brier_score(found, weights)

    def mean(of_bin: Floats) -> Floats:
        return np.where(np.isnan(brier), np.nan, np.nansum(share * of_bin, axis=-1))

    reliability = mean((curve.forecast - curve.observed) ** 2)
    resolution = mean((curve.observed - rate[:, None]) ** 2)
    uncertainty = np.where(np.isnan(brier), np.nan, rate * (1 - rate))
    return BrierParts(reliability, resolution, uncertainty, brier - reliability + resolution - uncertainty)


def _drawn(found: Forecasts, weights: Floats) -> Forecasts:
    """The sums [draws, bins] of each draw; NaN in draws without both classes."""
    n, positives = ((weights @ each).sum(axis=-1) for each in (found.n, found.positives))
    defined = np.where((positives > 0) & (positives < n), weights.T, np.nan).T
    return Forecasts(*(defined @ each for each in found))
