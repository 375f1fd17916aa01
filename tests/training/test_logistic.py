"""Logistic regressions for all folds and penalties at once, beside scikit-learn's one by one."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ssl_tt.training import logistic, probe, ridge
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.logistic import Fits, fit_folds
from ssl_tt.training.ridge import Line, moments

CANDIDATES = (1.0, 1e-4, 1e-2)


def made_up(strength: float, n: int = 1500, width: int = 12, seed: int = 0) -> tuple[NDArray, NDArray, list[NDArray]]:
    """Features, classes (fewer true than false) and three unequal folds."""
    rng = np.random.default_rng(seed)
    features = rng.normal(2.0, 3.0, (n, width)).astype(np.float32)
    features[:, 1] = features[:, 0] + 0.01 * features[:, 1]  # nearly the same as another
    features[:, 2] = 5.0  # one that says nothing
    features[:, 3] += 3e4  # and one far from 0
    logits = strength * (features[:, :6] - features[:, :6].mean(axis=0)) @ rng.normal(size=6) / 6 - 1
    fold = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    return features, rng.random(n) < 1 / (1 + np.exp(-logits)), [fold == i for i in range(3)]


def one_by_one(features: NDArray, truth: NDArray, folds: Sequence[NDArray]) -> Fits:
    """To the last digit, without a shortcut."""
    mean, scale = moments(features)
    x = (features - mean) / scale
    order = sorted(CANDIDATES)
    answered = np.zeros((len(order), len(x)), dtype=bool)
    weights, biases = [], []
    for place, c in enumerate(order):
        for held_out in folds:
            model = LogisticRegression(class_weight="balanced", C=c, tol=1e-10, solver="newton-cholesky", max_iter=1000)
            answered[place, held_out] = model.fit(x[~held_out], truth[~held_out]).decision_function(x[held_out]) >= 0
        model.fit(x, truth)
        weights.append(model.coef_[0])
        biases.append(model.intercept_[0])
    return Fits(answered, np.array(weights), np.array(biases))


@pytest.mark.parametrize("strength", [0.0, 1.0, 20.0])  # from nothing to be known to nearly separable
def test_all_at_once_are_those_of_scikit_learn(strength: float) -> None:
    features, truth, folds = made_up(strength)
    found, expected = (
        fit_folds(features, truth, folds, *moments(features), CANDIDATES),
        one_by_one(features, truth, folds),
    )
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-3, rtol=1e-3)
    assert (found.answered != expected.answered).mean() < 2e-3
    if strength:
        assert (found.answered == truth).mean() > 0.6


@pytest.mark.parametrize("block", [64, 4096])
def test_neither_blocks_nor_the_order_of_candidates_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth, folds = made_up(1.0)
    whole = fit_folds(features, truth, folds, *moments(features), CANDIDATES)
    monkeypatch.setattr(logistic, "_BLOCK", block)
    again = fit_folds(features, truth, folds, *moments(features), CANDIDATES[::-1])
    np.testing.assert_allclose(whole.weights, again.weights, atol=1e-4)
    assert (whole.answered == again.answered).mean() > 0.999


def test_a_step_too_far_is_taken_back() -> None:
    # Nearly |x|, whose slope hardly changes but at 0: L-BFGS goes far beyond it.
    model = logistic._Model(np.array([4.0]))
    model.bound(np.array([[1.0]]), np.array([0.0]))
    tried, kept = [], []
    for _ in range(200):
        if model.done:
            break
        x = model.tried
        tried.append(np.log(np.cosh(x[0])))  # its second derivative is at most 1
        model.step(float(tried[-1]), np.tanh(x))
        kept.append(np.log(np.cosh(model.weights[0])))
    assert model.done
    assert abs(model.weights[0]) < 1e-5
    assert (np.diff(tried) > 0).any()
    assert (np.diff(kept) <= 0).all()


def test_shift_or_hold_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth, _ = made_up(1.0)
    dialogue, config = np.repeat(np.arange(30), 50), ProbeConfig(folds=3)
    one = probe.fit_events("shift_hold", features, truth, dialogue, config)
    monkeypatch.setattr(probe, "_LARGE", 0)
    other = probe.fit_events("shift_hold", features, truth, dialogue, config)
    assert one.regularisation == other.regularisation
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-3)
    # Scikit-learn's default stops at a gradient of 1e-4, which moves a score by as much.
    near = np.abs(one(features)) < 1e-3
    assert ((one(features) >= 0) == (other(features) >= 0))[~near].all()
    assert near.mean() < 0.01


def test_moments_are_those_of_all_columns_at_once_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    for width in (1, 63, 64, 65, 200):
        features = rng.normal(100.0, 1.0, (3000, width)).astype(np.float32)
        mean, scale = moments(features)
        np.testing.assert_array_equal(mean, features.mean(axis=0, dtype=np.float64))
        np.testing.assert_array_equal(scale, features.std(axis=0, dtype=np.float64))


@pytest.mark.parametrize("outputs", [(), (3,)])
def test_a_line_gives_the_same_scores_part_by_part(outputs: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1000, 20)).astype(np.float32)
    line = Line(rng.normal(size=20), rng.random(20) + 0.5, rng.normal(size=(20, *outputs)), np.ones(outputs), 1.0)
    whole = line(features)
    assert whole.shape == (1000, *outputs)
    monkeypatch.setattr(ridge, "_PART", 700)
    np.testing.assert_allclose(line(features), whole, atol=1e-12)
    assert line(features[:0]).shape == (0, *outputs)
