"""Frames of a recording or of standard input, each as soon as it is complete."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ssl_tt import timebase
from ssl_tt.data.audio import probe_header, read
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.errors import InputError
from ssl_tt.objectives.objective import Objective

_BLOCK_SECONDS = 30.0  # of a file, read at a time


def frames(objective: Objective, representation: str, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames [S, C] of chunks [S, n], in order.

    InputError for a representation that the objective does not have, and for audio as in `Stream.push`.
    """
    if representation == "encoder":  # what comes after the encoder is not run for it
        encoder_stream = Stream(objective.encoder)
        for chunk in chunks:
            yield from encoder_stream.push(chunk).numpy().swapaxes(0, 1)
        return
    stream = Stream(objective)
    for chunk in chunks:
        found = stream.push(chunk)
        if representation not in found:
            raise InputError(f"representation {representation!r}: this run has {', '.join(found)}; choose one of these")
        yield from found[representation].numpy().swapaxes(0, 1)


def file_chunks(path: Path, encoder: Encoder) -> Iterator[np.ndarray]:
    """A recording [S, hop_samples] at a time, resampled to the encoder's rate as it is read."""
    header, rate = probe_header(path), encoder.sample_rate_hz
    total = timebase.resampled_length(header.n_samples, header.sample_rate_hz, rate)
    size = max(1, timebase.frames(_BLOCK_SECONDS, encoder.frame_rate_hz)) * encoder.hop_samples
    for start in range(0, total, size):
        n = min(size, total - start)
        block = read(path, timebase.seconds(start, rate), timebase.seconds(n, rate), rate)
        yield from np.split(block, range(encoder.hop_samples, n, encoder.hop_samples), axis=1)


def pcm_chunks(source: BinaryIO, channels: int, encoder: Encoder) -> Iterator[np.ndarray]:
    """16-bit little-endian PCM without a header, the channels of a sample in turn: [S, hop_samples] at a time.

    Each chunk is there with the last byte of its hop. InputError if the source ends inside a sample.
    """
    sample_bytes = 2 * channels
    while data := source.read(encoder.hop_samples * sample_bytes):
        if len(data) % sample_bytes:
            raise InputError(
                f"standard input ended {len(data) % sample_bytes} bytes into a sample of {sample_bytes}, expected "
                f"16-bit PCM of {channels} channels: state another number of --channels"
            )
        yield np.frombuffer(data, "<i2").reshape(-1, channels).T.astype(np.float32) / 32768


def standard_input(encoder: Encoder, sample_rate_hz: int | None, channels: int | None) -> Iterator[np.ndarray]:
    """The chunks of `pcm_chunks`; InputError unless rate and channels are stated and the rate is the encoder's."""
    if sample_rate_hz is None or channels is None or channels < 1:
        raise InputError(
            f"standard input says nothing of itself, got --sample-rate-hz {sample_rate_hz} and --channels {channels}: "
            f"state both, such as --sample-rate-hz {encoder.sample_rate_hz} --channels 2"
        )
    encoder.check_sample_rate(sample_rate_hz)
    return pcm_chunks(sys.stdin.buffer, channels, encoder)
