"""Voice-activity history: what it counts, that it knows the past alone, and that any chunking equals the whole."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ssl_tt.errors import InputError
from ssl_tt.turns.activity_history import HISTORY_FEATURES, HISTORY_SECONDS, ActivityHistory

RATE_HZ = 10.0
MINUTE = 600


def spoken(seed: int, n_frames: int, speakers: int = 2) -> torch.Tensor:
    """Runs of speech and silence of up to a minute and more, bool [R, T]."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(speakers):
        lengths = np.maximum(1, rng.exponential(rng.choice([3, 40, 700], size=n_frames)).astype(int))
        states = np.arange(len(lengths)) % 2 == rng.integers(2)
        rows.append(np.repeat(states, lengths)[:n_frames])
    return torch.from_numpy(np.stack(rows))


def slow(active: NDArray[np.bool_], t: int) -> list[float]:
    """Features of frame t of one speaker, from a list of the last minute."""
    minute = [False] * MINUTE + [bool(each) for each in active[: t + 1]]
    minute = minute[-MINUTE:][::-1]  # now first
    edges = [round(seconds * RATE_HZ) for seconds in HISTORY_SECONDS]
    shares = [sum(minute[a:b]) / (b - a) for a, b in pairwise(edges)]
    silent = minute.index(True) if True in minute else MINUTE
    run = 0
    for each in minute[silent:]:
        if not each:
            break
        run += 1
    return [*shares, math.log1p(silent / RATE_HZ), math.log1p(run / RATE_HZ)]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 1500))
def test_every_feature_is_that_of_a_slow_twin(seed: int, n_frames: int) -> None:
    active = spoken(seed, n_frames)
    found, _ = ActivityHistory(RATE_HZ)(active)
    assert found.shape == (2, n_frames, HISTORY_FEATURES)
    for t in {0, n_frames // 2, n_frames - 1}:
        for row in (0, 1):
            assert found[row, t].tolist() == pytest.approx(slow(active[row].numpy(), t), abs=1e-6)


def test_closed_form() -> None:
    active = torch.zeros(2, 200, dtype=torch.bool)
    active[0, 50:90] = True  # 0.8 s of speech, which ended 0.2 s before the end of frame 99
    found, _ = ActivityHistory(50.0)(active)
    shares, silent, run = found[0, 99, :9], found[0, 99, 9], found[0, 99, 10]
    assert shares.tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert silent == pytest.approx(math.log1p(10 / 50))
    assert run == pytest.approx(math.log1p(40 / 50))
    assert found[1, 99].tolist() == pytest.approx([0] * 9 + [math.log1p(60), 0])


@pytest.mark.parametrize("cuts", [[0, 0, 1, 7, 700, 1400], list(range(0, 1500, 11))])
def test_any_chunking_equals_the_whole_with_a_state_that_does_not_grow(cuts: list[int]) -> None:
    history, active = ActivityHistory(RATE_HZ), spoken(1, 1500)
    whole, end = history(active)
    state, pieces = None, []
    for chunk in active.tensor_split(cuts, dim=1):
        found, state = history(chunk, state)
        assert state.shape == (2, MINUTE)
        pieces.append(found)
    assert torch.equal(torch.cat(pieces, dim=1), whole)
    assert torch.equal(state, end)


def test_only_the_past_counts_and_of_it_the_last_minute() -> None:
    history, active = ActivityHistory(RATE_HZ), spoken(2, 1500)
    whole, _ = history(active)
    later, earlier = active.clone(), active.clone()
    later[:, 1001:] = ~later[:, 1001:]
    earlier[:, : 1000 - MINUTE + 1] = ~earlier[:, : 1000 - MINUTE + 1]
    assert torch.equal(history(later)[0][:, :1001], whole[:, :1001])
    assert not torch.equal(history(later)[0][:, 1001], whole[:, 1001])
    assert torch.equal(history(earlier)[0][:, 1000], whole[:, 1000])
    assert not torch.equal(history(earlier)[0][:, 999], whole[:, 999])


def test_what_is_no_activity_is_refused() -> None:
    history = ActivityHistory(RATE_HZ)
    for wrong in (torch.zeros(2, 5), torch.zeros(5, dtype=torch.bool), torch.full((2, 5), math.nan)):
        with pytest.raises(InputError, match=r"voice activity .*, expected bool \[speakers, frames\]"):
            history(wrong)
    with pytest.raises(InputError, match=r"frame rate 4 Hz: the 0.2 s of voice-activity history would be 0 frames"):
        ActivityHistory(4.0)
