import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.errors import InputError
from ssl_tt.turns.targets import future_activity
from tests.turns.test_activity import conversation


def test_bins_begin_where_the_frame_ends() -> None:
    # At 50 Hz frame 9 ends at 0.2 s; speech from 0.2 to 0.3 s fills bins 0 and 1, from 3.1 s on it is the last two.
    call = conversation([(0.2, 0.3), (3.1, 3.5)], [(0.0, 0.2)], duration_seconds=4)
    found = future_activity(call, 50, [9])
    assert found.shape == (1, 2, 60)
    assert np.flatnonzero(found[0, 0]).tolist() == [0, 1, 58, 59]
    assert not found[0, 1].any()


def test_a_bin_is_active_where_speech_covers_half_of_it() -> None:
    call = conversation([(1.0, 1.025), (1.2, 1.224)], [], duration_seconds=5)
    assert np.flatnonzero(future_activity(call, 10, [9])[0, 0]).tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 600), min_size=2, max_size=20, unique=True),
    st.sampled_from([20.0, 50.0, 62.5, 100.0]),
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
)
def test_bins_are_those_of_a_count_over_milliseconds(bounds: list[int], rate: float, at: list[int]) -> None:
    bounds = sorted(bounds[: len(bounds) // 2 * 2])
    segments = [(0.01 * start, 0.01 * end) for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
    call = conversation(segments, [], duration_seconds=10)
    spoken = np.zeros(10_000, dtype=bool)
    for start, end in segments:
        spoken[round(1000 * start) : round(1000 * end)] = True
    found = future_activity(call, rate, at)[:, 0]
    for row, frame in zip(found, at, strict=True):
        first = round(1000 * (frame + 1) / rate)
        assert row.tolist() == [2 * spoken[first + 50 * i : first + 50 * (i + 1)].sum() >= 50 for i in range(60)]


def test_a_future_beyond_the_end_is_refused() -> None:
    call = conversation([(0.0, 1.0)], [], duration_seconds=4)
    assert future_activity(call, 50, [49]).shape == (1, 2, 60)
    with pytest.raises(InputError, match=r"ends at 4\.00 s"):
        future_activity(call, 50, [50])
    assert future_activity(call, 50, []).shape == (0, 2, 60)


def test_a_conversation_without_segments_is_refused() -> None:
    with pytest.raises(InputError, match="no speech segments"):
        future_activity(conversation(None, None), 50, [0])
