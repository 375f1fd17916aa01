import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_fscore_support,
    roc_curve,
)

from ssl_tt.errors import InputError
from ssl_tt.turns import metrics
from tests.turns.scored import N, answers, drawn, is_not_defined, one_class_sets

K = 4
SCORES = (metrics.accuracy, metrics.balanced_accuracy, metrics.weighted_f1, metrics.f1, metrics.precision)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_scores_of_many_classes_under_weights_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    conversation = rng.integers(0, N, 150)
    # The last class is found in two conversations alone, so that some draws are without it.
    truth = np.where(conversation < 2, rng.integers(0, K, 150), rng.integers(0, K - 1, 150))
    said = np.where(rng.random(150) < 0.6, truth, rng.integers(0, K, 150))
    weights = metrics.draws(N, 20, seed)
    confusion = drawn(metrics.confusion_counts(truth, said, conversation, N, K), weights)
    for i, of_conversation in enumerate(weights):
        weighed = {"sample_weight": of_conversation[conversation]}
        by_class = precision_recall_fscore_support(truth, said, labels=range(K), zero_division=np.nan, **weighed)
        if of_conversation[:2].any():
            assert metrics.accuracy(confusion)[i] == pytest.approx(accuracy_score(truth, said, **weighed))
            assert metrics.balanced_accuracy(confusion)[i] == pytest.approx(
                balanced_accuracy_score(truth, said, **weighed)
            )
            assert metrics.weighted_f1(confusion)[i] == pytest.approx(
                f1_score(truth, said, average="weighted", **weighed)
            )
            for score, expected in zip((metrics.precision, metrics.recall, metrics.f1), by_class[:3], strict=True):
                np.testing.assert_allclose(score(confusion)[i], expected)
        else:
            for score in SCORES:
                assert np.isnan(score(confusion)[i]).all()
            np.testing.assert_allclose(metrics.recall(confusion)[i], by_class[1])


def test_scores_of_a_small_table_are_those_by_hand() -> None:
    confusion = [[6, 2], [1, 3]]  # of 8 holds 2 taken for shifts, of 4 shifts 1 for a hold
    np.testing.assert_allclose(metrics.recall(confusion), [6 / 8, 3 / 4])
    np.testing.assert_allclose(metrics.precision(confusion), [6 / 7, 3 / 5])
    np.testing.assert_allclose(metrics.f1(confusion), [12 / 15, 6 / 9])
    assert metrics.accuracy(confusion) == 9 / 12
    assert metrics.tpr_minus_fpr(confusion) == 3 / 4 - 2 / 8


def test_a_class_never_answered_has_f1_of_0_and_no_precision() -> None:
    confusion = [[5, 0], [3, 0]]
    np.testing.assert_array_equal(metrics.f1(confusion), [10 / 13, 0])
    np.testing.assert_array_equal(metrics.precision(confusion), [5 / 8, np.nan])


def test_whoever_answers_right_in_a_set_of_one_class_has_no_score() -> None:
    for truth, _, conversation in one_class_sets():
        confusion = drawn(metrics.confusion_counts(truth, truth, conversation, 2), np.ones((1, 2)))
        for score in (*SCORES, metrics.tpr_minus_fpr):
            assert is_not_defined(score(confusion)), score
        if len(truth):
            np.testing.assert_array_equal(metrics.recall(confusion)[0], np.where(np.arange(2) == truth[0], 1, np.nan))


def test_answers_that_are_no_class_are_refused() -> None:
    for said in ([0, 2], [0, -1], [0, 0.5]):
        with pytest.raises(InputError, match="answers holds values other than 0 and 1"):
            metrics.confusion_counts([0, 1], said, [0, 0], 1)
    with pytest.raises(InputError, match="truth holds values other than 0 to 2: number the 3 classes"):
        metrics.confusion_counts([0, 3], [0, 1], [0, 0], 1, 3)


# ------------------------------------------------------------------------------------------------------- thresholds


@pytest.mark.parametrize("metric", [metrics.balanced_accuracy, metrics.weighted_f1, metrics.tpr_minus_fpr])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000), n=st.integers(5, 60))
def test_the_best_threshold_is_the_highest_of_the_best_of_all_cuts(metric, seed: int, n: int) -> None:
    truth, score, _ = answers(seed, n)
    truth[:2] = 0, 1
    slow = {
        cut: round(float(metric(metrics.confusion_counts(truth, score >= cut, 0 * score.astype(int), 1)[0])), 12)
        for cut in [*score, np.inf]
    }
    found = metrics.best_threshold(truth, score, metric)
    assert found.reached == pytest.approx(max(slow.values()))
    assert found.value == max(cut for cut, value in slow.items() if value == max(slow.values()))
    shuffled = np.random.default_rng(seed).permutation(n)
    assert metrics.best_threshold(truth[shuffled], score[shuffled], metric) == found


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_threshold_of_roddy_is_that_of_his_code_and_of_balanced_accuracy(seed: int) -> None:
    truth, score, _ = answers(seed)
    fpr, tpr, cuts = roc_curve(truth, score, drop_intermediate=False)
    found = metrics.best_threshold(truth, score, metrics.tpr_minus_fpr)
    assert found.value == cuts[np.argmax(np.round(tpr - fpr, 12))]
    assert found.value == metrics.best_threshold(truth, score).value


def test_cuts_equal_but_for_rounding_are_equal() -> None:
    # From 3 on 1 of 5 shifts and no hold; from 2 on 2 of 5 and 1 of 5, which in binary is 0.6000000000000001.
    truth, score = np.repeat([1, 0], 5), [3.0, 2.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert metrics.balanced_accuracy([[4, 1], [3, 2]]) > metrics.balanced_accuracy([[5, 0], [4, 1]])
    assert metrics.best_threshold(truth, score).value == 3.0


def test_a_threshold_gives_on_its_own_set_what_it_reached_and_answers_others() -> None:
    truth, score, conversation = answers(0)
    threshold = metrics.best_threshold(truth, score.astype(np.float32), metrics.weighted_f1)
    counts = metrics.confusion_counts(truth, threshold(score.astype(np.float32)), conversation, N).sum(axis=0)
    assert metrics.weighted_f1(counts) == threshold.reached
    np.testing.assert_array_equal(metrics.Threshold(0.3, 1.0)([[0.2, 0.3], [0.4, -1]]), [[0, 1], [1, 0]])


def test_scores_that_tell_the_wrong_way_are_best_never_followed() -> None:
    found = metrics.best_threshold([0, 0, 1, 1], [4.0, 3.0, 2.0, 1.0])
    assert (found.value, found.reached) == (np.inf, 0.5)
    assert not found([1e300]).any()


def test_a_threshold_on_one_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"3 examples of class 1 and 0 of class 0 .* expected both"):
        metrics.best_threshold([1, 1, 1], [0.1, 0.2, 0.3])
