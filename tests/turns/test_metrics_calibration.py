import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ssl_tt.errors import InputError
from ssl_tt.turns import calibration, metrics
from tests.turns.scored import N, answers, is_not_defined, one_class_sets

EVERY = np.ones((1, 1))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_brier_score_and_reliability_under_weights_are_those_of_scikit_learn(seed: int) -> None:
    truth, score, conversation = answers(seed)
    said = np.clip(np.round(score / 4 + 0.5, 2), 0, 1)  # some on the edges of bins, 0 and 1 among them
    weights = metrics.draws(N, 20, seed)
    sums = metrics.forecasts(truth, said, conversation, N, 10)
    brier, error = metrics.brier_score(sums, weights), metrics.expected_calibration_error(sums, weights)
    curve = metrics.reliability_curve(sums, weights)
    for i, of_conversation in enumerate(weights):
        weight = of_conversation[conversation].astype(int)
        assert brier[i] == pytest.approx(brier_score_loss(truth, said, sample_weight=weight))
        # Scikit-learn's curve knows no weights: whoever is drawn twice stands there twice.
        often, forecast = np.repeat(truth, weight), np.repeat(said, weight)
        observed, mean = calibration_curve(often, forecast, n_bins=10)
        known = curve.n[i] > 0
        np.testing.assert_allclose(curve.observed[i][known], observed)
        np.testing.assert_allclose(curve.forecast[i][known], mean)
        assert np.isnan(curve.observed[i][~known]).all()
        assert curve.n[i].sum() == len(often)
        assert error[i] == pytest.approx((np.abs(observed - mean) * curve.n[i][known]).sum() / len(often))


def test_there_are_fifteen_bins_and_an_edge_belongs_to_the_lower_one() -> None:
    sums = metrics.forecasts([0, 1, 0, 1], [0.0, 1 / 15, 1 / 15 + 1e-9, 1.0], [0] * 4, 1)
    np.testing.assert_array_equal(sums.n, [[2, 1, *[0] * 11, 0, 1]])


def test_a_constant_forecast_is_off_by_its_distance_from_the_share() -> None:
    truth, said = np.repeat([0, 1], [70, 30]), np.full(100, 0.5)
    sums = metrics.forecasts(truth, said, np.zeros(100, int), 1)
    assert metrics.expected_calibration_error(sums, EVERY)[0] == pytest.approx(0.2)
    assert metrics.brier_score(sums, EVERY)[0] == 0.25
    np.testing.assert_allclose(np.array(metrics.brier_parts(sums, EVERY))[:, 0], [0.04, 0, 0.21, 0], atol=1e-12)


def test_certain_and_right_is_perfect() -> None:
    sums = metrics.forecasts([0, 1, 1], [0.0, 1.0, 1.0], [0, 0, 0], 1)
    assert metrics.brier_score(sums, EVERY)[0] == metrics.expected_calibration_error(sums, EVERY)[0] == 0
    parts = metrics.brier_parts(sums, EVERY)
    assert parts.resolution[0] == pytest.approx(parts.uncertainty[0]) == pytest.approx(2 / 9)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_the_parts_of_the_brier_score_add_up_and_hide_nothing_where_a_bin_has_one_forecast(seed: int) -> None:
    truth, score, conversation = answers(seed)
    weights = metrics.draws(N, 10, seed)
    fine = np.clip(score / 4 + 0.5, 0, 1)
    coarse = (np.ceil(np.maximum(fine, 1e-9) * 15) - 0.5) / 15  # the middle of its bin
    for said in (fine, coarse):
        sums = metrics.forecasts(truth, said, conversation, N)
        parts = metrics.brier_parts(sums, weights)
        total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
        np.testing.assert_allclose(total, metrics.brier_score(sums, weights))
        assert (parts.reliability >= 0).all()
        assert (parts.resolution <= parts.uncertainty + 1e-12).all()
    np.testing.assert_allclose(parts.within_bins, 0, atol=1e-12)


def test_events_that_come_as_often_as_forecast_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(200_000)
    zeros = np.zeros(len(said), int)
    for truth, expected in ((rng.random(len(said)) < said, 0.0), (rng.random(len(said)) < said**2, 1 / 6)):
        error = metrics.expected_calibration_error(metrics.forecasts(truth, said, zeros, 1), EVERY)[0]
        assert error == pytest.approx(expected, abs=0.005)  # the integral of p - p^2 is 1/6


def test_no_calibration_is_known_without_both_classes() -> None:
    for truth, said, conversation in one_class_sets():
        sums, weights = metrics.forecasts(truth, said, conversation, 2), np.ones((1, 2))
        curve = metrics.reliability_curve(sums, weights)
        for values in (
            metrics.brier_score(sums, weights),
            metrics.expected_calibration_error(sums, weights),
            *metrics.brier_parts(sums, weights),
        ):
            assert is_not_defined(values)
        assert np.isnan([curve.forecast, curve.observed]).all()
        assert curve.n.sum() == len(truth)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    for said in ([0.5, 1.1], [-0.1, 0.5]):
        with pytest.raises(InputError, match="expected 0 to 1: a score that is no probability"):
            calibration.forecasts([0, 1], said, [0, 0], 1)
