"""Intervals by bootstrap over conversations: whole conversations are drawn with replacement."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError

Floats = NDArray[np.float64]

# Fewer cannot differ from one another.
MIN_CONVERSATIONS = 2

# Draws of n conversations miss k given ones with probability (1 - k/n)^n: 0.25 to 0.37 for one, at most 0.14 for two.
# So a score that is not defined in more draws than this rests, for one of its classes, on a single conversation, or
# for several of them on two; the draws that are left then say little about other conversations.
MAX_UNDEFINED_SHARE = 0.2


class Estimate(NamedTuple):
    """A score and its interval; None where not defined."""

    value: float | None
    low: float | None
    high: float | None


def draws(n_conversations: int, n_draws: int, seed: int = 0) -> Floats:
    """Weights of conversations [1 + n_draws, n_conversations]: all ones, then how often each was drawn.

    Of fewer than MIN_CONVERSATIONS nothing is drawn: [1, n_conversations].
    """
    if n_conversations < 1:
        raise InputError("no conversation to score")
    every = np.ones((1, n_conversations))
    if n_conversations < MIN_CONVERSATIONS:
        return every
    generator = np.random.default_rng((seed, n_conversations))
    drawn = generator.multinomial(n_conversations, np.full(n_conversations, 1 / n_conversations), size=n_draws)
    return np.concatenate([every, drawn])


def estimate(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Score and interval of values [1 + draws], or [seeds, 1 + draws] to be averaged over seeds.

    The interval is not defined without draws, nor where the score is not in more than MAX_UNDEFINED_SHARE of them.
    """
    mean = np.atleast_2d(np.asarray(values, dtype=np.float64)).mean(axis=0)
    value, drawn = float(mean[0]), mean[1:]
    if np.isnan(value):
        return Estimate(None, None, None)
    if len(drawn) == 0 or np.isnan(drawn).mean() > MAX_UNDEFINED_SHARE:
        return Estimate(value, None, None)
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high))


def paired_difference(ours: ArrayLike, theirs: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Our score minus theirs, and its interval, of values under the same draws: each [1 + draws] or [seeds, 1 + draws].

    Seeds are averaged inside each draw; the two may have different numbers of them.
    """
    means = [np.atleast_2d(np.asarray(values, dtype=np.float64)).mean(axis=0) for values in (ours, theirs)]
    if means[0].shape != means[1].shape:
        raise InputError(
            f"{len(means[0])} and {len(means[1])} values to compare, expected scores of both under the same draws"
        )
    return estimate(means[0] - means[1], confidence)
