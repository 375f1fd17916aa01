"""Conversions of time agree with each other, whatever the rounding of binary fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssl_tt import timebase

RATES_HZ = st.sampled_from([25, 50, 100, 8000, 16000, 44100])


@settings(deadline=None)
@given(unit=st.integers(0, 10_000_000), rate_hz=RATES_HZ)
def test_the_start_of_a_unit_lies_in_that_unit(unit: int, rate_hz: int) -> None:
    start_seconds = timebase.seconds(unit, rate_hz)
    assert timebase.frames(start_seconds, rate_hz) == unit
    assert timebase.samples(start_seconds, rate_hz) == unit


@settings(deadline=None)
@given(milliseconds=st.integers(0, 10_000_000), rate_hz=RATES_HZ)
def test_frames_of_whole_milliseconds_equal_exact_arithmetic(milliseconds: int, rate_hz: int) -> None:
    exact = Fraction(milliseconds, 1000) * rate_hz
    assert timebase.frames(milliseconds / 1000, rate_hz) == exact.numerator // exact.denominator


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 0), (0.0199, 0), (0.02, 1), (0.29, 14), (0.1 + 0.2, 15), (0.58, 29), (1.9999, 99)],
)
def test_a_time_falls_into_the_frame_that_covers_it(seconds: float, expected: int) -> None:
    assert timebase.frames(seconds, 50) == expected


def test_edges_enclose_each_frame() -> None:
    np.testing.assert_allclose(timebase.frame_edges(3, 50, start_seconds=1.0), [1.0, 1.02, 1.04, 1.06])


@pytest.mark.parametrize(("n", "from_hz", "to_hz", "expected"), [(441, 44100, 16000, 160), (440, 44100, 16000, 159)])
def test_a_resampled_recording_is_never_longer(n: int, from_hz: int, to_hz: int, expected: int) -> None:
    assert timebase.resampled_length(n, from_hz, to_hz) == expected


@settings(deadline=None)
@given(
    seconds=st.lists(st.floats(0, 1e9), min_size=1),
    rate_hz=st.sampled_from([8000, 44100, 2**31 - 1]),
    to_hz=st.sampled_from([1, 16000, 2**31 - 1]),
)
@example(seconds=[0.0003125, 0.0004375], rate_hz=8000, to_hz=16000)  # 2.5 and 3.5 samples
def test_many_recordings_at_once_are_as_long_as_each_by_itself(seconds: list[float], rate_hz: int, to_hz: int) -> None:
    each = [timebase.samples(one, rate_hz) for one in seconds]
    at_once = timebase.samples_of_all(np.array(seconds), np.full(len(seconds), rate_hz))
    assert at_once.tolist() == each
    resampled = timebase.resampled_length(at_once, np.full(len(seconds), rate_hz), to_hz)
    assert resampled.tolist() == [n * to_hz // rate_hz for n in each]
