import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ssl_tt.errors import InputError
from ssl_tt.turns import metrics
from tests.turns.scored import drawn

N = 20


def events(seed: int, n: int = 600) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Silence, truth, answer and conversation of events; long silences are shifts alone."""
    rng = np.random.default_rng(seed)
    seconds = np.round(rng.uniform(0.25, 2.5, n), 2)
    truth = (rng.random(n) < 0.4) | (seconds >= 2)
    return seconds, truth, np.where(rng.random(n) < 0.8, truth, ~truth), rng.integers(0, N, n)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10_000))
def test_each_group_has_the_score_of_its_own_events(seed: int) -> None:
    seconds, truth, said, conversation = events(seed)
    weights = metrics.draws(N, 200)

    def score(chosen: NDArray) -> NDArray:
        counts = metrics.confusion_counts(truth[chosen], said[chosen], conversation[chosen], N)
        return metrics.balanced_accuracy(drawn(counts, weights))

    groups = metrics.by_silence(seconds, score)
    assert [(group.shortest, group.longest) for group in groups] == [
        (0, 0.25), (0.25, 0.5), (0.5, 1), (1, 2), (2, np.inf)
    ]  # fmt: skip
    assert sum(group.n for group in groups) == len(seconds)
    for group in groups:
        chosen = [group.shortest <= each < group.longest for each in seconds]
        assert group.n == sum(chosen)
        np.testing.assert_array_equal(group.values, score(np.array(chosen)))
    assert groups[0].n == 0
    assert groups[4].n > 0
    found = [metrics.estimate(group.values, 0.9) for group in groups]
    assert found[0] == found[4] == (None, None, None)  # no event; no hold
    assert all(each.low < each.value < each.high for each in found[1:4])


def test_a_group_from_a_single_conversation_has_a_score_without_interval() -> None:
    weights = metrics.draws(N, 400)
    seconds, truth, said = np.repeat([0.3, 3.0], 40), np.tile([0, 1], 40), np.tile([0, 1, 1, 1], 20)
    conversation = np.append(np.arange(40) // 2, np.full(40, 7))

    def score(chosen: NDArray) -> NDArray:
        counts = metrics.confusion_counts(truth[chosen], said[chosen], conversation[chosen], N)
        return metrics.balanced_accuracy(drawn(counts, weights))

    many, one = (metrics.estimate(each.values) for each in metrics.by_silence(seconds, score, edges=(1, np.inf)))
    assert many.value == one.value == 0.75
    assert many.low < 0.75 < many.high
    assert one == (0.75, None, None)


@pytest.mark.parametrize("edges", [(), (1.0, 0.5), (0.0, 1.0), (1.0, np.nan)])
def test_edges_that_do_not_rise_are_refused(edges: tuple) -> None:
    with pytest.raises(InputError, match="numbers above 0 that rise"):
        metrics.by_silence([0.3], lambda chosen: [1.0], edges)


def test_a_silence_in_no_group_is_refused_and_not_dropped() -> None:
    for seconds in (1.0, -0.1, np.nan):
        with pytest.raises(InputError, match="is in no group: edges end at 1, expected inf"):
            metrics.by_silence([0.3, seconds], lambda chosen: [1.0], (0.5, 1.0))


# ------------------------------------------------------------------------------------------------------- event-wise


def test_event_wise_every_event_weighs_the_same_and_frame_wise_every_frame() -> None:
    # A shift of 8 frames well answered, a shift of 2 and a hold of 2 badly.
    event, truth = np.repeat([0, 1, 2], [8, 2, 2]), np.array([1, 1, 0])
    score = np.repeat([0.9, 0.2, 0.8], [8, 2, 2])
    answers = metrics.Threshold(0.5, np.nan)

    def recall(truth: NDArray, score: NDArray) -> float:
        return metrics.recall(metrics.confusion_counts(truth, answers(score), 0 * truth, 1)[0])[1]

    assert recall(truth[event], score) == 8 / 10
    assert recall(truth, metrics.event_wise(score, event, 3)) == 1 / 2


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(0, 10_000))
def test_the_score_of_an_event_is_the_mean_of_its_frames_in_whatever_order(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    event = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
    score = rng.normal(size=len(event))
    found = metrics.event_wise(score, event, len(lengths))
    np.testing.assert_allclose(found, [score[event == i].mean() for i in range(len(lengths))])
    np.testing.assert_array_equal(metrics.event_wise(found[event], event, len(lengths)).round(9), found.round(9))


@pytest.mark.parametrize(
    ("score", "event", "message"),
    [
        ([0.1, 0.2], [0], "one length"),
        ([0.1, 0.2], [0, 3], "numbered 0 to 2, given 0 to 3"),
        ([0.1, 0.2], [-1, 0], "numbered 0 to 2, given -1 to 0"),
        ([0.1, 0.2], [0, 2], "event 1 has no frame"),
        ([], [], "event 0 has no frame"),
    ],
)
def test_frames_that_do_not_fit_their_events_are_refused(score: list, event: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metrics.event_wise(score, event, 3)


def test_no_events_have_no_scores() -> None:
    assert metrics.event_wise([], [], 0).shape == (0,)
