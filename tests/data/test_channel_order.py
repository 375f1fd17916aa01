"""Who is on which channel is heard where speakers are alone, whatever the levels of the channels, and else not said."""

from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.channel_order import measured_order
from ssl_tt.data.conversation import Segment
from tests.data.corpora.on_disk import MEETING, SPOKEN, Bounds, record, sound


def segments(*speakers: Bounds) -> list[list[Segment]]:
    return [[Segment(*bounds) for bounds in speaker] for speaker in speakers]


@pytest.mark.parametrize("gain", [1.0, 0.02])
@pytest.mark.parametrize("suffix", [".wav", ".sph", ".mp3"])
def test_a_swap_is_heard_even_if_one_channel_is_louder_throughout(tmp_path: Path, gain: float, suffix: str) -> None:
    audio = sound(*SPOKEN) * np.array([[1.0], [gain]])
    record(tmp_path / f"call{suffix}", audio)
    order = measured_order([tmp_path / f"call{suffix}"], segments(*SPOKEN))
    assert order is not None
    assert order.channels == (0, 1)
    # 26 dB of leakage on each channel, less the faint floor
    assert order.margin_db > 20
    assert order.above_given_db == 0
    swapped = measured_order([tmp_path / f"call{suffix}"], segments(*reversed(SPOKEN)))
    assert swapped is not None
    assert swapped.channels == (1, 0)
    assert swapped.above_given_db == pytest.approx(order.margin_db)


def test_three_speakers_in_files_of_their_own(tmp_path: Path) -> None:
    third = ((0.1, 0.4), MEETING[2][0], (5.5, 5.9), MEETING[2][1])
    for number, channel in enumerate(sound(*SPOKEN, third)):
        record(tmp_path / f"{number}.wav", channel[None])
    files = [tmp_path / f"{number}.wav" for number in (2, 0, 1)]
    order = measured_order(files, segments(*SPOKEN, third))
    assert order is not None
    assert order.channels == (1, 2, 0)


def test_channels_that_sound_alike_have_no_margin(tmp_path: Path) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN, leak=1.0))
    order = measured_order([tmp_path / "call.wav"], segments(*SPOKEN))
    assert order is not None
    assert order.margin_db < 0.1


def test_less_than_a_second_alone_tells_nothing(tmp_path: Path) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN))
    assert measured_order([tmp_path / "call.wav"], segments(SPOKEN[0], ((2.0, 2.9),))) is None
    assert measured_order([tmp_path / "call.wav"], segments(SPOKEN[0], ((0.5, 1.75),))) is None
