"""Files of one speaker each are one recording, and any part of it is the same part of the files."""

from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.audio import read, write_wav
from ssl_tt.data.channel_files import joint_blocks, joint_header
from ssl_tt.errors import InputError

RATE_HZ = 8000


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for seed, (path, n) in enumerate(zip(paths, (2000, 1500), strict=True)):
        write_wav(path, np.random.default_rng(seed).uniform(-0.5, 0.5, (1, n)), RATE_HZ)
    return paths


def test_the_recording_is_as_long_as_the_longest(files: list[Path]) -> None:
    header = joint_header(files)
    assert (header.channels, header.n_samples, header.sample_rate_hz) == (2, 2000, RATE_HZ)
    (whole,) = joint_blocks(files)
    np.testing.assert_array_equal(whole[0], read(files[0])[0])
    np.testing.assert_array_equal(whole[1, :1500], read(files[1])[0])
    assert not whole[1, 1500:].any()


@pytest.mark.parametrize("block", [1, 333, 1500, 5000])
@pytest.mark.parametrize(("start", "n"), [(0, 2000), (1234, 700), (1400, 200), (1600, 400), (0, 1)])
def test_any_blocks_of_any_part_equal_the_whole(files: list[Path], block: int, start: int, n: int) -> None:
    if block == 1 and n > 200:
        block = 7
    (whole,) = joint_blocks(files)
    blocks = list(joint_blocks(files, start, n, block))
    assert max(part.shape[1] for part in blocks) <= block
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole[:, start : start + n])


def test_files_with_several_channels_or_other_rates_are_refused(files: list[Path], tmp_path: Path) -> None:
    write_wav(tmp_path / "stereo.wav", np.ones((2, 100)) / 2, RATE_HZ)
    with pytest.raises(InputError, match=r"stereo.wav: 2 channels, expected 1 \(this speaker's\)"):
        joint_header([files[0], tmp_path / "stereo.wav"])
    assert joint_header([tmp_path / "stereo.wav"]).channels == 2
    write_wav(tmp_path / "fast.wav", np.ones((1, 100)) / 2, 2 * RATE_HZ)
    with pytest.raises(InputError, match=r"fast.wav: 16000 Hz, expected 8000 Hz as a.wav: convert one of them"):
        joint_header([files[0], tmp_path / "fast.wav"])
