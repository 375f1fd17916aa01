"""Logistic regression for all folds and penalties at once: every pass over the features serves each of them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_tt.training.ridge import Floats

T = TypeVar("T")

_BLOCK = 4096
_TOLERANCE = 1e-6
"""Largest entry of the gradient of the mean loss at which a model is done; scikit-learn's default is 1e-4."""
_PASSES = 300
_MEMORY = 10
"""Steps of which L-BFGS keeps the change of the gradient."""
_SLACK = 1e-7
"""By how much of itself a loss may grow in a step: what rounding does to it."""


class Fits(NamedTuple):
    """Logistic regressions of each C [K], sorted."""

    answered: NDArray[np.bool_]
    """Answers [K, P] to each row by the model that was fitted without the row's fold."""
    weights: Floats
    """[K, D], those of standardised features, of the model fitted on all rows."""
    bias: Floats
    """[K]"""


class _Block(NamedTuple):
    rows: NDArray[np.int64]
    fold: int
    is_true: bool


def fit_folds(
    features: NDArray[np.float32],
    truth: NDArray[np.bool_],
    folds: Sequence[NDArray[np.bool_]],
    mean: Floats,
    scale: Floats,
    candidates: Sequence[float],
) -> Fits:
    """Logistic regressions of truth [P] on features [P, D], standardised by `mean` and `scale`, under each candidate C.

    Classes weigh alike, and the intercept is not penalised: scikit-learn's LogisticRegression with
    `class_weight="balanced"`. folds: the rows [P] held out in turn, which together are all; both classes are in what
    is left. Minimised by L-BFGS for all models together, which begins from the second derivative at 0 (the largest
    that there is: Böhning and Lindsay 1988). That is one sum of products over each fold and class, taken once; after
    it a step costs a product with as many columns as there are models. Blocks run on a thread each.
    """
    from threadpoolctl import threadpool_limits

    order = np.array(sorted(candidates))
    held_out = np.repeat([*range(len(folds)), -1], len(order))  # of each model; -1: none
    c = np.tile(order, len(folds) + 1)
    counts = np.array([[(fold & (truth == kind)).sum() for kind in (False, True)] for fold in folds])
    of_model = np.where(held_out[:, None, None] == np.arange(len(folds))[:, None], 0, counts)  # [models, folds, 2]
    n_rows = of_model.sum(axis=(1, 2))
    class_weight = n_rows[:, None] / (2 * of_model.sum(axis=1))  # [models, 2]

    def share(block: _Block, models: NDArray[np.int64]) -> Floats:
        """Weight [models] of each row of a block in the mean loss."""
        found: Floats = np.where(held_out[models] == block.fold, 0, class_weight[models, int(block.is_true)])
        return found / n_rows[models]

    blocks = list(_blocks(truth, folds))
    # Four times as fast in single precision; what the mean lacks by it the intercept makes up for at the end.
    rounded = mean.astype(np.float32), scale.astype(np.float32)
    with threadpool_limits(1), ThreadPoolExecutor(torch.get_num_threads()) as pool:

        def each(of_block: Callable[[_Block, NDArray[np.float32]], T]) -> Iterator[T]:
            return pool.map(lambda block: of_block(block, _standardised(features[block.rows], *rounded)), blocks)

        products = np.zeros((len(folds), 2, len(mean) + 1, len(mean) + 1))
        for block, product in zip(blocks, each(lambda block, x: x.T @ x), strict=True):
            products[block.fold, int(block.is_true)] += product
        penalty = np.append(np.ones(len(mean)), 0.0)
        models = [_Model(np.zeros(len(mean) + 1)) for _ in c]
        for k, model in enumerate(models):
            shares = np.where(of_model[k] > 0, class_weight[k] / n_rows[k], 0)  # [folds, 2]
            model.bound(0.25 * np.tensordot(shares, products), penalty / (c[k] * n_rows[k]))
        del products

        for _ in range(_PASSES):
            unfinished = np.array([k for k, model in enumerate(models) if not model.done], dtype=np.int64)
            if len(unfinished) == 0:
                break
            tried = np.stack([models[k].tried for k in unfinished], axis=1)  # [D + 1, models]
            penalised = penalty[:, None] / (c[unfinished] * n_rows[unfinished])
            loss, slope = 0.5 * (penalised * tried**2).sum(axis=0), penalised * tried
            found = each(partial(_loss_and_slope, tried.astype(np.float32)))
            for block, (of_block, slope_of_block) in zip(blocks, found, strict=True):
                loss += share(block, unfinished) * of_block
                slope += share(block, unfinished) * slope_of_block
            for place, k in enumerate(unfinished):
                models[k].step(float(loss[place]), slope[:, place])
        else:
            n_left = sum(not model.done for model in models)
            warnings.warn(f"{n_left} of {len(models)} logistic regressions are not at their minimum", stacklevel=2)

        weights = np.stack([model.weights for model in models], axis=1)

        def answers(block: _Block, x: NDArray[np.float32]) -> NDArray[np.bool_]:
            said: NDArray[np.bool_] = x @ weights[:, held_out == block.fold].astype(np.float32) >= 0
            return said

        answered = np.zeros((len(order), len(truth)), dtype=bool)
        for block, said in zip(blocks, each(answers), strict=True):
            answered[:, block.rows] = said.T
    whole = weights[:-1, held_out == -1].T
    return Fits(answered, whole, weights[-1, held_out == -1] + whole @ ((mean - rounded[0]) / scale))


def _loss_and_slope(weights: NDArray[np.float32], block: _Block, x: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Sums over the rows [P, D] of a block: losses [models] of weights [D, models], and their derivatives."""
    sign = np.float32(-1 if block.is_true else 1)
    wrong = sign * (x @ weights)
    decay = np.exp(-np.abs(wrong))
    losses = (np.maximum(wrong, 0) + np.log1p(decay)).sum(axis=0, dtype=np.float64)
    probability = np.where(wrong >= 0, np.float32(1), decay) / (1 + decay)
    return losses, sign * (x.T @ probability)


class _Model:
    """One model on its way to the minimum of its loss."""

    def __init__(self, weights: Floats) -> None:
        self.weights = self.tried = weights
        self.done = False
        self._loss = np.inf
        self._gradient = np.zeros_like(weights)
        self._history: list[tuple[Floats, Floats]] = []
        self._is_sure = True

    def bound(self, curvature: Floats, penalty: Floats) -> None:
        """What the second derivative of the loss nowhere exceeds, its penalty apart."""
        from scipy.linalg import cho_factor

        room = 1e-6 * np.trace(curvature) / len(curvature)  # products in single precision may lack that much
        self._factor = cho_factor(curvature + np.diag(penalty + room), overwrite_a=True, check_finite=False)

    def step(self, loss: float, gradient: Floats) -> None:
        """Take what was tried, or from where the model is a step that cannot fail, and say what to try next."""
        if loss <= self._loss * (1 + _SLACK):
            if np.isfinite(self._loss):
                moved, changed = self.tried - self.weights, gradient - self._gradient
                if moved @ changed > 0:
                    self._history = [*self._history[1 - _MEMORY :], (moved, changed)]
            self.weights, self._loss, self._gradient = self.tried, loss, gradient
            self.done = bool(np.abs(gradient).max() <= _TOLERANCE)
        elif self._is_sure:
            self.done = True  # nothing is left but rounding
        else:
            self._history = []
        self._is_sure = not self._history
        self.tried = self.weights - self._solved(self._gradient)

    def _solved(self, gradient: Floats) -> Floats:
        """The inverse second derivative times the gradient, by the two loops of L-BFGS."""
        from scipy.linalg import cho_solve

        direction, shares = gradient.copy(), []
        for moved, changed in reversed(self._history):
            shares.append((moved @ direction) / (moved @ changed))
            direction -= shares[-1] * changed
        direction = cho_solve(self._factor, direction, check_finite=False)
        for (moved, changed), share in zip(self._history, reversed(shares), strict=True):
            direction += (share - (changed @ direction) / (moved @ changed)) * moved
        found: Floats = direction
        return found


def _blocks(truth: NDArray[np.bool_], folds: Sequence[NDArray[np.bool_]]) -> Iterator[_Block]:
    """Blocks of rows of one fold and one class."""
    for number, fold in enumerate(folds):
        for is_true in (False, True):
            rows = np.flatnonzero(fold & (truth == is_true))
            for first in range(0, len(rows), _BLOCK):
                yield _Block(rows[first : first + _BLOCK], number, is_true)


def _standardised(
    features: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Features [P, D] less `mean`, over `scale`, and a 1 beside them, [P, D + 1]."""
    x = np.empty((len(features), len(mean) + 1), dtype=np.float32)
    np.subtract(features, mean, out=x[:, :-1])
    x[:, :-1] /= scale
    x[:, -1] = 1
    return x
