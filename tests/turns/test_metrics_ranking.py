import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from ssl_tt.turns import metrics, ranking
from tests.turns.scored import N, answers, is_not_defined, one_class_sets


def average_precision(truth: NDArray, score: NDArray, weight: NDArray) -> float:
    """Word for word: at each distinct score from the top, precision times the recall it adds."""
    found, recall = 0.0, 0.0
    for cut in sorted(set(score), reverse=True):
        said = score >= cut
        if weight[said].sum() > 0:
            right = weight[said & (truth == 1)].sum()
            found += right / weight[said].sum() * (right / weight[truth == 1].sum() - recall)
            recall = right / weight[truth == 1].sum()
    return found


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 300), decimals=st.integers(0, 6))
def test_average_precision_under_weights_is_that_of_scikit_learn(seed: int, n: int, decimals: int) -> None:
    truth, score, conversation = answers(seed, n)
    score = np.round(score + np.random.default_rng(seed).normal(size=n), decimals)
    weights = metrics.draws(N, 20, seed)
    found = metrics.average_precision(metrics.cumulated(truth, score, conversation, N), weights)
    for value, of_conversation in zip(found, weights, strict=True):
        weight = of_conversation[conversation]
        if not 0 < weight[truth].sum() < weight.sum():
            assert np.isnan(value)
            continue
        assert value == pytest.approx(average_precision_score(truth, score, sample_weight=weight))
        assert value == pytest.approx(average_precision(truth, score, weight))


def test_the_first_block_of_scores_is_followed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, score, conversation = answers(3)
    weights = metrics.draws(N, 30)
    counts = metrics.cumulated(truth, score, conversation, N)
    whole = metrics.average_precision(counts, weights)
    for block in (1, 7, len(counts.positives) - 1):
        monkeypatch.setattr(ranking, "_BLOCK", block)
        np.testing.assert_allclose(metrics.average_precision(counts, weights), whole)


def test_equal_scores_have_the_average_precision_of_the_share_of_positives() -> None:
    counts = metrics.cumulated([1, 0, 0, 1, 0], [2.0] * 5, [0, 0, 1, 1, 1], 2)
    np.testing.assert_allclose(metrics.average_precision(counts, np.array([[1.0, 1.0], [2.0, 1.0]])), [2 / 5, 3 / 7])


def test_positives_on_top_have_an_average_precision_of_1_whatever_the_weights() -> None:
    counts = metrics.cumulated([1, 1, 0, 0], [4.0, 3.0, 2.0, 1.0], [0, 1, 0, 1], 2)
    np.testing.assert_array_equal(metrics.average_precision(counts, np.array([[1.0, 1.0], [0.5, 0.25]])), [1, 1])


def test_no_order_can_be_scored_without_both_classes() -> None:
    for truth, score, conversation in one_class_sets():
        counts = metrics.cumulated(truth, score, conversation, 2)
        assert is_not_defined(metrics.average_precision(counts, np.ones((1, 2))))
