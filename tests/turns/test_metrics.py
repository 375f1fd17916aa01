import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from ssl_tt.errors import InputError
from ssl_tt.turns import metrics
from tests.turns.scored import N, answers


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_scores_under_weights_are_those_of_scikit_learn(seed: int) -> None:
    truth, score, conversation = answers(seed)
    weights = metrics.draws(N, 20, seed)
    pairs = metrics.concordance(truth, score, conversation, N)
    confusion = np.tensordot(weights, metrics.confusion_counts(truth, score >= 0.5, conversation, N), axes=1)
    found = metrics.roc_auc(pairs, weights), metrics.balanced_accuracy(confusion), metrics.weighted_f1(confusion)
    for i, of_conversation in enumerate(weights):
        weight = of_conversation[conversation]
        said = score >= 0.5
        assert found[0][i] == pytest.approx(roc_auc_score(truth, score, sample_weight=weight))
        assert found[1][i] == pytest.approx(balanced_accuracy_score(truth, said, sample_weight=weight))
        assert found[2][i] == pytest.approx(f1_score(truth, said, sample_weight=weight, average="weighted"))


def test_equal_scores_count_one_half() -> None:
    pairs = metrics.concordance([1, 0, 1, 0], [1.0, 1.0, 1.0, 1.0], [0, 0, 0, 0], 1)
    assert metrics.roc_auc(pairs, np.ones((1, 1)))[0] == 0.5


def test_a_score_without_both_classes_is_not_defined() -> None:
    every = np.ones((1, 1))
    for truth in ([1, 1], [0, 0], []):
        n = len(truth)
        confusion = metrics.confusion_counts(truth, [1] * n, [0] * n, 1)
        pairs = metrics.concordance(truth, np.arange(n, dtype=float), np.zeros(n, int), 1)
        for values in (
            metrics.balanced_accuracy(confusion),
            metrics.weighted_f1(confusion),
            metrics.roc_auc(pairs, every),
        ):
            assert metrics.estimate(np.repeat(values, 10)) == (None, None, None)


def test_draws_without_both_classes_are_left_out_of_the_interval() -> None:
    drawn = np.linspace(0.6, 0.8, 101)
    found = metrics.estimate([0.7, *drawn, *[np.nan] * 20], confidence=0.9)
    assert found == metrics.estimate([0.7, *drawn], confidence=0.9) == pytest.approx((0.7, 0.61, 0.79))


def test_a_score_not_defined_in_many_draws_has_no_interval() -> None:
    assert metrics.estimate([0.7, *[0.6] * 79, *[np.nan] * 21]) == (0.7, None, None)
    assert metrics.estimate([0.7, *[0.6] * 80, *[np.nan] * 20]) == (0.7, 0.6, 0.6)


def test_a_single_conversation_has_a_score_without_interval() -> None:
    truth, score, _ = answers(0)
    conversation = np.zeros(len(truth), int)
    weights = metrics.draws(1, 1000)
    found = metrics.estimate(metrics.roc_auc(metrics.concordance(truth, score, conversation, 1), weights))
    assert found == (pytest.approx(roc_auc_score(truth, score)), None, None)


@pytest.mark.parametrize("n", [2, 3, 10, 60])
def test_a_class_of_a_single_conversation_has_no_interval_and_one_of_two_has(n: int) -> None:
    weights = metrics.draws(n, 1000)
    for n_positive in (1, 2):
        # Every conversation has a hold on either side, the first ones a shift too.
        truth = np.append(np.zeros(2 * n), np.ones(n_positive))
        score = np.concatenate([np.arange(n), np.arange(n), [0.5, 1.5][:n_positive]])
        conversation = np.concatenate([np.arange(n), np.arange(n), np.arange(n_positive)])
        pairs = metrics.concordance(truth, score, conversation, n)
        found = metrics.estimate(metrics.roc_auc(pairs, weights))
        assert found.value is not None
        assert (found.low is None) == (n_positive == 1)


def test_a_paired_difference_is_sure_of_what_two_systems_share() -> None:
    # Conversations differ widely, but ours is right a tenth more often in each.
    rng = np.random.default_rng(0)
    theirs = metrics.draws(30, 500) @ rng.random(30) / 30
    found = metrics.paired_difference(theirs + 0.1, theirs)
    assert found == pytest.approx((0.1, 0.1, 0.1))
    assert metrics.estimate(theirs).high - metrics.estimate(theirs).low > 0.1


def test_a_paired_difference_averages_seeds_inside_each_draw() -> None:
    ours = [[0.6, 0.5, 0.7, 0.6], [0.8, 0.9, 0.7, 0.8]]
    found = metrics.paired_difference(ours, [0.5, 0.4, 0.6, 0.5], confidence=0.9)
    assert found == pytest.approx(metrics.estimate([0.2, 0.3, 0.1, 0.2], confidence=0.9))


def test_scores_under_other_draws_are_not_compared() -> None:
    with pytest.raises(InputError, match="4 and 3 values to compare, expected scores of both under the same draws"):
        metrics.paired_difference([0.1] * 4, [0.1] * 3)


def test_the_first_draw_is_the_score_itself_and_the_others_draw_as_many() -> None:
    weights = metrics.draws(7, 100)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 7).all()
    assert (weights[1:] != 1).any(axis=1).sum() > 90
    assert (weights == metrics.draws(7, 100)).all()


def test_the_interval_is_that_of_whole_conversations() -> None:
    # Every conversation says the same thing 50 times over: the interval is that of 40 answers, not of 2,000.
    rng = np.random.default_rng(0)
    truth, said = np.tile([0, 1], 20), rng.random(40) < 0.5
    few = metrics.confusion_counts(truth, said, np.arange(40), 40)
    many = metrics.confusion_counts(np.repeat(truth, 50), np.repeat(said, 50), np.repeat(np.arange(40), 50), 40)
    weights = metrics.draws(40, 500)
    assert metrics.estimate(metrics.balanced_accuracy(np.tensordot(weights, many, axes=1))) == metrics.estimate(
        metrics.balanced_accuracy(np.tensordot(weights, few, axes=1))
    )


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Right with probability 0.7, whatever the class; 60 conversations of 10 events.
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        truth, conversation = rng.integers(0, 2, 600), np.repeat(np.arange(60), 10)
        said = np.where(rng.random(600) < 0.7, truth, 1 - truth)
        weights = metrics.draws(60, 400)
        counts = metrics.confusion_counts(truth, said, conversation, 60)
        found = metrics.estimate(metrics.balanced_accuracy(np.tensordot(weights, counts, axes=1)), confidence=0.9)
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= 0.7 <= found.high)
    assert 0.83 < np.mean(covered) < 0.97


def test_seeds_are_averaged_inside_each_draw() -> None:
    values = np.array([[0.6, 0.5, 0.7], [0.8, 0.9, 0.7]])
    found = metrics.estimate(values, confidence=0.9)
    assert found.value == pytest.approx(0.7)
    assert found.low == found.high == pytest.approx(0.7)  # one seed's loss is the other's gain


@pytest.mark.parametrize(
    ("truth", "answer", "conversation", "message"),
    [
        ([0, 1], [0], [0, 0], "one length"),
        ([0, 2], [0, 1], [0, 0], "other than 0 and 1"),
        ([0, 1], [0.0, np.nan], [0, 0], "NaN"),
        ([0, 1], [0, 1], [0, 1], "numbered 0 to 0"),
        ([0, 1], [0, 1], [-1, 0], "numbered 0 to 0, given -1 to 0"),
    ],
)
def test_answers_that_do_not_fit_are_refused(truth: list, answer: list, conversation: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metrics.confusion_counts(truth, answer, conversation, 1)
    with pytest.raises(InputError, match=message):
        metrics.concordance(truth, np.asarray(answer, float), conversation, 1)


def test_no_conversation_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="no conversation"):
        metrics.draws(0, 100)
