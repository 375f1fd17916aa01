"""Made-up answers to score, some of them equal."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.turns import metrics

N = 5


def answers(seed: int, n: int = 200, n_conversations: int = N) -> tuple[NDArray, NDArray, NDArray]:
    """Truth, score and conversation, each [n]; scores are rounded, so that some are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    score = np.round(rng.normal(truth, 1.0), 1)
    return truth, score, rng.integers(0, n_conversations, n)


def drawn(counts: NDArray, weights: NDArray) -> NDArray:
    """Confusion counts [draws, true, answered] of counts [conversations, true, answered]."""
    return np.tensordot(weights, counts, axes=1)


def one_class_sets() -> list[tuple[NDArray, NDArray, NDArray]]:
    """Truth, probability and conversation of sets in which a class is missing, the last of them empty."""
    return [(np.full(n, truth), np.linspace(0, 1, n), np.arange(n) % 2) for truth, n in ((1, 4), (0, 4), (0, 0))]


def is_not_defined(values: NDArray) -> bool:
    return metrics.estimate(np.repeat(np.atleast_1d(values)[:1], 10)) == (None, None, None)
