"""Linear models of frozen features, and least squares for all folds and penalties at the price of one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_COLUMNS = 64
_PART = 2**24
Block = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features [P, D] and answers [P, K]."""


@dataclass(frozen=True)
class Line:
    """A linear model on features standardised by the training conversations."""

    mean: Floats
    scale: Floats
    weights: Floats
    """[D] or [D, outputs]"""
    bias: Floats | float
    """One number, or [outputs]"""
    regularisation: float
    """The inverse regularisation C that validation chose."""

    def __call__(self, features: NDArray[np.float32]) -> Floats:
        """Scores [P] or [P, outputs] of features [P, D]."""
        weights = (self.weights.T / self.scale).T
        bias = self.bias - self.mean @ weights
        n_parts = -(-features.size // _PART)  # each is copied in double precision
        return np.concatenate([part @ weights + bias for part in np.array_split(features, max(1, n_parts))])


def moments(features: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and standard deviation [D] of features [P, D]; a constant feature is divided by 1."""
    # By parts, as the deviations of all columns would fill twice the memory of the features; one column alone would be
    # summed in another order.
    parts = np.array_split(np.arange(features.shape[1]), -(-features.shape[1] // _COLUMNS))
    columns = [features[:, part[0] : part[-1] + 1] for part in parts]
    mean = np.concatenate([each.mean(axis=0, dtype=np.float64) for each in columns])
    scale = np.concatenate([each.std(axis=0, dtype=np.float64) for each in columns])
    return mean, np.where(scale > 1e-6 * (np.abs(mean) + 1e-3), scale, 1.0)


def fit_ridge(folds: Sequence[Iterable[Block]], mean: Floats, scale: Floats, regularisation: Sequence[float]) -> Line:
    """Ridge regression of answers from features, standardised by `mean` and `scale` [D].

    folds: blocks of features and answers, each in the fold that it is held out with. The penalty 1/C is that of least
    squared error on the folds left out. All of it follows from sums of products over each fold, which are taken once:
    scikit-learn's Ridge for every fold and penalty, at the price of one.
    """
    products = [_products(blocks, mean, scale) for blocks in folds]
    whole = [sum(parts) for parts in zip(*products, strict=True)]

    def solve(gram: Floats, cross: Floats, penalty: float) -> Floats:
        from scipy.linalg import solve

        penalised = gram + penalty * np.diag(np.append(np.ones(len(mean)), 0.0))  # the last column is the intercept
        return solve(penalised, cross, assume_a="pos")

    def error(c: float) -> float:
        total = 0.0
        for gram, cross in products:
            weights = solve(whole[0] - gram, whole[1] - cross, 1 / c)
            total += float((weights * (gram @ weights - 2 * cross)).sum())  # but for the sum of squares of the answers
        return total

    best = min(sorted(regularisation), key=error)
    weights = solve(whole[0], whole[1], 1 / best)
    return Line(mean, scale, weights[:-1], weights[-1], best)


def _products(blocks: Iterable[Block], mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Sums of x x' and x y', x being the standardised features and a 1."""
    gram: Floats = np.zeros(())
    cross: Floats = np.zeros(())
    for features, answers in blocks:
        x = np.ones((len(features), len(mean) + 1), dtype=np.float32)
        x[:, :-1] = (features - mean) / scale
        gram = gram + x.T @ x
        cross = cross + x.T @ answers.astype(np.float32)
    return gram, cross
