"""Voice activity projection against the definition, frame by frame."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_tt.errors import InputError
from ssl_tt.turns import vap


def drawn(*rows: str) -> Tensor:
    """Activity [1, T, 2] as it is drawn."""
    return torch.tensor([[mark == "#" for mark in row] for row in rows]).T[None]


def slow_bins(activity: np.ndarray, frame_rate_hz: int) -> np.ndarray:
    """[B, 2, T - horizon, 4], each bin counted by itself."""
    lengths = [int(seconds * frame_rate_hz + 1e-6) for seconds in (0.2, 0.4, 0.6, 0.8)]
    found = []
    for t in range(activity.shape[1] - sum(lengths)):
        start = t + 1
        of_frame = []
        for length in lengths:
            of_frame.append(activity[:, start : start + length].mean(axis=1) >= 0.5)
            start += length
        found.append(np.stack(of_frame, axis=2))
    return np.stack(found, axis=2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rate=st.sampled_from([5, 10, 20, 50]), more=st.integers(1, 40))
def test_bins_are_those_of_counting(seed: int, rate: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    horizon = sum(vap.bin_frames(rate))
    runs = rng.integers(0, 2, (2, horizon + more, 2)).astype(bool)
    activity = np.repeat(runs, 3, axis=1)[:, : horizon + more] if seed % 2 else runs
    found = vap.vap_bins(torch.from_numpy(activity), rate)
    np.testing.assert_array_equal(found.numpy(), slow_bins(activity, rate))


def test_a_bin_is_active_from_half_of_its_frames_on_and_begins_after_the_frame() -> None:
    # At 10 Hz the bins have 2, 4, 6 and 8 frames.
    #                t 1 1 2 2 2 2 3 3 3 3 3 3 4 4 4 4 4 4 4 4
    activity = drawn("##....##....###........#", "#....#....##........####")[:, :22]
    bins = vap.vap_bins(activity, 10)
    assert bins.shape == (1, 2, 2, 4)
    first, other = bins[0, :, 0].tolist()
    assert first == [True, False, False, False]
    assert other == [False, False, False, False]
    shifted = vap.vap_bins(activity[:, 1:], 10)
    assert torch.equal(shifted[:, :, 0], bins[:, :, 1])


def test_nothing_at_or_before_a_frame_is_in_its_target() -> None:
    activity = torch.rand(1, 120, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    other = activity.clone()
    other[:, :11] = ~other[:, :11]
    assert torch.equal(vap.vap_bins(activity, 50)[:, :, 10:], vap.vap_bins(other, 50)[:, :, 10:])
    assert not torch.equal(vap.vap_bins(activity, 50)[:, :, :10], vap.vap_bins(other, 50)[:, :, :10])


def test_all_256_states_come_back() -> None:
    bins = vap.bins_of_states()
    assert len({tuple(row) for row in bins.flatten(1).tolist()}) == vap.STATES
    seen = bins.permute(1, 0, 2)[None]  # [1, 2, 256, 4]
    own, other = vap.states(seen)[0]
    assert own.tolist() == list(range(vap.STATES))
    assert other.tolist() == vap.swapped().tolist()
    assert vap.swapped()[vap.swapped()].tolist() == list(range(vap.STATES))
    assert torch.equal(bins[vap.swapped()], bins.flip(1))


@pytest.mark.parametrize(("rate", "frames", "said"), [(4.9, 500, "would be 0 frames"), (50, 100, "more than the 100")])
def test_what_has_no_bins_is_refused(rate: float, frames: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        vap.vap_bins(torch.zeros(1, frames, 2, dtype=torch.bool), rate)
