"""A conversation that was recorded to several files, one a speaker, read as one recording with a channel a speaker."""

from collections.abc import Iterator, Sequence

import numpy as np

from ssl_tt.data import audio
from ssl_tt.data.audio import Header
from ssl_tt.data.storage import File
from ssl_tt.errors import InputError
from ssl_tt.timebase import seconds


def joint_header(files: Sequence[File]) -> Header:
    """Header of the recording that the files are together: all their channels, as long as the longest.

    InputError as in `probe_header`, for different sample rates and, of several files, for one with several channels.
    """
    headers = [audio.probe_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if len(files) > 1 and header.channels != 1:
            raise InputError(f"{file}: {header.channels} channels, expected 1 (this speaker's)")
        if header.sample_rate_hz != headers[0].sample_rate_hz:
            raise InputError(
                f"{file}: {header.sample_rate_hz} Hz, expected {headers[0].sample_rate_hz} Hz as {files[0].name}: "
                "convert one of them"
            )
    channels = sum(header.channels for header in headers)
    longest = max(header.n_samples for header in headers)
    return Header(headers[0].sample_rate_hz, channels, longest, headers[0].subtype)


def joint_blocks(
    files: Sequence[File], start: int = 0, n_samples: int | None = None, block_samples: int = 1 << 19
) -> Iterator[np.ndarray]:
    """Samples [start, start + n_samples) of the joint recording in blocks [S, n]; shorter files end in silence."""
    joint = joint_header(files)
    end = joint.n_samples if n_samples is None else start + n_samples
    for first in range(start, end, block_samples):
        yield np.concatenate([_padded(file, first, min(block_samples, end - first)) for file in files])


def _padded(file: File, start: int, n: int) -> np.ndarray:
    header = audio.probe_header(file)
    rate = header.sample_rate_hz
    there = max(0, min(n, header.n_samples - start))
    block = np.zeros((header.channels, n), dtype=np.float32)
    if there:
        block[:, :there] = audio.read(file, seconds(start, rate), seconds(there, rate))
    return block
