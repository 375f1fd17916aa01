"""Reading audio in bounded blocks, believing no header until it agrees with the size of the file; writing WAV.

libsndfile reads nearly everything, and trusts: a damaged header makes it ask for terabytes, and a file that was cut
comes back short without an error. So a header is probed once a file, and every read must deliver what was asked for.
"""

import hashlib
import io
import math
import re
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import MAX_CHANNELS, SAMPLE_RATES_HZ, Conversation
from ssl_tt.data.storage import File
from ssl_tt.errors import InputError
from ssl_tt.timebase import resampled_length, samples, seconds

_BLOCK_SAMPLES = 1 << 19  # of each channel, read at a time

# A byte of FLAC can hold 9,400 samples (65,535 zeros on two channels are 14 bytes); no other format comes near.
_MOST_SAMPLES_A_BYTE = 16_384

_SILENT_PEAK = 1e-4  # -80 dBFS; the dither of a 16-bit recording is at -90
_CLIPPED_LEVEL = 0.999
_CLIPPED_SHARE = 1e-3  # of samples that repeat the one before at full scale; a normalised recording has few

_PCM = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"}


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself, in agreement with its size."""

    sample_rate_hz: int
    channels: int
    n_samples: int
    """Samples of each channel."""
    subtype: str
    """libsndfile's name of the encoding, such as PCM_16."""

    @property
    def duration_seconds(self) -> float:
        return seconds(self.n_samples, self.sample_rate_hz)


def probe_header(path: File) -> Header:
    """Header of an audio file; InputError if it is missing, empty, cut short, no audio or claims the impossible.

    Remembered as long as size and time of the file stay the same. What only decoding can tell (a FLAC or MP3 that was
    cut) is found when it is read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected an audio file: is the folder mounted?") from error
    if not path.is_file():
        raise InputError(f"{path}: not a file, expected an audio file")
    return _probe(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _probe(path: File, size: int, mtime_ns: int) -> Header:
    if size == 0:
        raise InputError(f"{path}: empty file, expected audio: was the copy interrupted?")
    with _opened(path) as file:
        header = Header(file.samplerate, file.channels, file.frames, file.subtype)
        container, log = file.format, file.extra_info
    cut = _cut_short(path, size, container, log, header)
    if cut:
        raise InputError(f"{path}: truncated: {cut}; fetch the file again, or rewrite it if it came from a pipe")
    if header.channels > MAX_CHANNELS:
        raise InputError(f"{path}: {header.channels} channels, expected at most {MAX_CHANNELS} (one a speaker)")
    lowest, highest = SAMPLE_RATES_HZ
    if not lowest <= header.sample_rate_hz <= highest:
        raise InputError(
            f"{path}: {header.sample_rate_hz} Hz, expected {lowest} to {highest}: damaged header, fetch the file again"
        )
    if header.n_samples <= 0:
        raise InputError(f"{path}: {header.n_samples} samples, expected some audio")
    if header.n_samples * header.channels > size * _MOST_SAMPLES_A_BYTE:
        raise InputError(
            f"{path}: the header claims {header.duration_seconds / 3600:.0f} hours, more than {size} bytes can hold: "
            "damaged header, fetch the file again"
        )
    return header


def _cut_short(path: File, size: int, container: str, log: str, header: Header) -> str | None:
    """How the file shows that its end is missing; libsndfile quietly corrects all of these."""
    # WAV, RF64, W64, AIFF and AU: libsndfile's log has "data : 3840000 (should be 1919979)".
    for claimed, there in re.findall(r":\s*(\d+) \(should be (\d+)\)", log):
        if int(claimed) > int(there):
            return f"the header claims {claimed} bytes, {there} are there"
    if container == "NIST":
        with path.open("rb") as file:
            claim = re.search(rb"sample_count -i (\d+)", file.read(1024))
        if claim and int(claim[1]) > header.n_samples:
            return f"the header claims {int(claim[1])} samples a channel, {header.n_samples} are there"
    if container == "OGG":
        # The last page of a stream is marked as such; a page is at most 65,307 bytes (RFC 3533, section 6).
        with path.open("rb") as file:
            file.seek(max(0, size - 65_307))
            page = b"OggS" + file.read().rpartition(b"OggS")[2]
        lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if not lengths or not page[5] & 4 or len(page) < 27 + page[26] + sum(lengths):
            return "the stream has no last page"
    return None


def verify_header(conversation: Conversation) -> Header:
    """Header of a conversation's audio; InputError where it is not what the manifest says."""
    path = audio_path(conversation)
    header = probe_header(path)
    if header.channels != conversation.channels:
        hint = "; is this a mixed-down release?" if header.channels == 1 else ""
        raise InputError(
            f"{path}: {header.channels} channel{'s' * (header.channels > 1)}, expected {conversation.channels} "
            f"(one a speaker){hint}"
        )
    if header.sample_rate_hz != conversation.sample_rate_hz:
        raise InputError(
            f"{path}: {header.sample_rate_hz} Hz, expected the {conversation.sample_rate_hz} Hz of the manifest: "
            "prepare the corpus again if the file was converted"
        )
    expected = samples(conversation.recorded_seconds or conversation.duration_seconds, header.sample_rate_hz)
    if header.n_samples != expected:
        raise InputError(
            f"{path}: {header.n_samples} samples a channel, expected the {expected} of the manifest: "
            "prepare the corpus again if the file was edited"
        )
    return header


def audio_path(conversation: Conversation) -> File:
    """The audio file of a conversation; InputError if it has annotation only."""
    if conversation.audio is None:
        raise InputError(
            f"conversation {conversation.id!r}: annotation only, expected audio: prepare the corpus with its recordings"
        )
    return conversation.audio


def read(
    path: File,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    sample_rate_hz: int | None = None,
) -> np.ndarray:
    """Audio of a file: float32 [S, N] in [-1, 1], to its end if no duration is given.

    At another sample rate than the file's it is resampled, so that a part equals the same part of the whole.
    InputError as in `probe_header`, and if the part reaches past the end, decoding fails or a sample is not finite.
    """
    header = probe_header(path)
    rate = sample_rate_hz or header.sample_rate_hz
    start = samples(start_seconds, rate)
    if duration_seconds is None:
        n = resampled_length(header.n_samples, header.sample_rate_hz, rate) - start
    else:
        n = samples(duration_seconds, rate)
    return _read_at_rate(path, header, start, n, rate)


def read_window(conversation: Conversation, start_seconds: float, n_samples: int, sample_rate_hz: int) -> np.ndarray:
    """A window of a conversation, float32 [S, N], its start rounded to a sample of the rate asked for.

    Errors as in `read` and `verify_header`.
    """
    header = verify_header(conversation)
    start = samples(start_seconds, sample_rate_hz)
    return _read_at_rate(audio_path(conversation), header, start, n_samples, sample_rate_hz)


def _read_at_rate(path: File, header: Header, start: int, n: int, rate: int) -> np.ndarray:
    total = resampled_length(header.n_samples, header.sample_rate_hz, rate)
    if start < 0 or n <= 0 or start + n > total:
        raise InputError(
            f"{path}: asked for {seconds(start, rate):.3f} to {seconds(start + n, rate):.3f} s, expected a part of its "
            f"{header.duration_seconds:.3f} s"
        )
    if rate == header.sample_rate_hz:
        return _read_exactly(path, header, start, n)

    from scipy.signal import resample_poly

    divisor = math.gcd(rate, header.sample_rate_hz)
    up, down = rate // divisor, header.sample_rate_hz // divisor
    lowpass = _lowpass(up, down)
    reach = len(lowpass) // 2 // up + 1  # source samples that the filter sees on either side
    # Every source sample that is a multiple of `down` falls on the grid that the whole file would have.
    first = max(0, start * down // up - reach) // down * down
    last = min(header.n_samples, -(-(start + n) * down // up) + reach)
    resampled = resample_poly(_read_exactly(path, header, first, last - first), up, down, axis=-1, window=lowpass)
    offset = start - first // down * up
    return np.ascontiguousarray(resampled[:, offset : offset + n])


@lru_cache(maxsize=64)
def _lowpass(up: int, down: int) -> np.ndarray:
    """The filter of scipy's resample_poly, designed once."""
    from scipy.signal import firwin

    widest = max(up, down)
    return firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0)).astype(np.float32)


def _read_exactly(path: File, header: Header, start: int, n: int) -> np.ndarray:
    """Samples [start, start + n) at the file's own rate: float32 [S, n]."""
    blocks = list(_blocks(path, header, start, n))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def blocks(path: File) -> Iterator[np.ndarray]:
    """A whole file at its own rate, float32 [S, n] at a time; errors as in `read`."""
    header = probe_header(path)
    yield from _blocks(path, header, 0, header.n_samples)


def _blocks(path: File, header: Header, start: int, n: int) -> Iterator[np.ndarray]:
    """The same in blocks, so that a lying header never decides how much is allocated."""
    # Reading 16-bit samples as they are and scaling while transposing takes half the time of reading float32.
    as_int16 = header.subtype == "PCM_16"
    with _opened(path) as file:
        try:
            file.seek(start)
        except soundfile.LibsndfileError as error:
            raise InputError(f"{path}: cannot go to sample {start} ({error}): damaged, fetch the file again") from error
        done = 0
        while done < n:
            size = min(n - done, _BLOCK_SAMPLES)
            try:
                block = file.read(size, dtype="int16" if as_int16 else "float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise InputError(f"{path}: cannot be decoded after sample {start + done} ({error})") from error
            if len(block) < size:
                raise InputError(
                    f"{path}: truncated: ends after {start + done + len(block)} of the {header.n_samples} samples a "
                    "channel that its header claims; fetch the file again"
                )
            if as_int16:
                scaled = np.multiply(block.T, np.float32(1 / 32768), dtype=np.float32, order="C")
            else:
                scaled = np.ascontiguousarray(block.T)
                if header.subtype not in _PCM:
                    _refuse_non_finite(path, header, scaled, start + done)
            yield scaled
            done += size


def _refuse_non_finite(path: File, header: Header, block: np.ndarray, start: int) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        channel, position = np.argwhere(~finite)[0]
        raise InputError(
            f"{path}: {block[channel, position]} at sample {start + position} of channel {channel} "
            f"({seconds(start + position, header.sample_rate_hz):.3f} s), expected finite numbers: export it again"
        )


@contextmanager
def _opened(path: File) -> Iterator[Any]:
    """An audio file as libsndfile sees it: a path by itself, anything else as a stream."""
    if isinstance(path, Path):
        with _sound(path, path) as sound:
            yield sound
        return
    try:
        opened = path.open()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected an audio file: is the storage there?") from error
    with opened as file:
        stream = _Stream(file)
        try:
            with _sound(stream, path) as sound:
                yield sound
        except InputError as error:
            raise stream.failure or error from None


class _Stream(io.RawIOBase):
    """A file for libsndfile, which nothing can be raised through: an error ends the file and is kept."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.failure: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer) or 0
        except Exception as error:
            self.failure = error
            return 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _sound(source: Path | _Stream, path: File) -> Any:
    try:
        return soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, OSError) as error:
        if _is_shortened(path):
            raise InputError(
                f"{path}: NIST SPHERE compressed by shorten, which cannot be read, expected it converted beside: LDC's "
                f"sph2pipe -f wav {path.name} {Path(path.name).stem}.wav does so"
            ) from error
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise InputError(
            f"{path}: not audio that can be read ({reason}); expected WAV, FLAC, Ogg, Opus, MP3 or NIST SPHERE"
        ) from error


def _is_shortened(path: File) -> bool:
    """Whether a NIST SPHERE file says in its header that its samples are compressed by shorten, as LDC's often are."""
    try:
        with path.open("rb", 0) as file:
            header = file.read(1024)
    except OSError:
        return False
    return header.startswith(b"NIST_1A") and re.search(rb"sample_coding -s\d+ \S*shorten", header) is not None


def warnings(path: File) -> list[str]:
    """Decode a whole file, in blocks, and say which channels are silent or clipped; errors as in `read`."""
    header = probe_header(path)
    peaks = np.zeros(header.channels)
    clipped = np.zeros(header.channels, dtype=np.int64)
    for block in blocks(path):
        level = np.abs(block)
        peaks = np.maximum(peaks, level.max(axis=1))
        flat = (level[:, 1:] >= _CLIPPED_LEVEL) & (block[:, 1:] == block[:, :-1])
        clipped += flat.sum(axis=1)
    found = []
    for channel in range(header.channels):
        if peaks[channel] < _SILENT_PEAK:
            found.append(f"{path}: channel {channel} is silent (peak {peaks[channel]:.1e}); is the channel connected?")
        share = clipped[channel] / header.n_samples
        if share > _CLIPPED_SHARE:
            found.append(f"{path}: channel {channel} is clipped ({share:.1%} of its samples are flat at full scale)")
    return found


def sha256(path: File) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    with path.open("rb", 0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_wav(path: Path, audio: np.ndarray, sample_rate_hz: int) -> None:
    """Write [S, N] as 16-bit WAV, clipped to [-1, 1]: the same samples make the same bytes, whole or not at all.

    What was read from a 16-bit file is written back unchanged.
    """
    write_wav_blocks(path, [np.asarray(audio)], len(audio), sample_rate_hz)


def write_wav_blocks(path: Path, blocks: Iterable[np.ndarray], channels: int, sample_rate_hz: int) -> None:
    """The same of blocks [S, n] that follow each other, so that long recordings need not be held in memory."""
    with atomically(path) as file, wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        for block in blocks:
            scaled = np.clip(np.rint(block.astype(np.float32, copy=False) * 32768), -32768, 32767).astype("<i2")
            writer.writeframes(np.ascontiguousarray(scaled.T).tobytes())
