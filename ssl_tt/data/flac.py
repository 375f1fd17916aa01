"""Any audio as FLAC: every sample of up to 24 bits as it was, and of anything finer it is said that it was rounded."""

from pathlib import Path

import numpy as np
import soundfile

from ssl_tt.data import audio
from ssl_tt.data.storage import File
from ssl_tt.errors import InputError, RunError

# Bits that hold every sample of an encoding; of all others, floats and what is decoded to floats, 24 are kept.
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "ULAW": 16, "ALAW": 16}
_SUBTYPES = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}
_MOST_CHANNELS, _MOST_RATE_HZ = 8, 655_350  # RFC 9639, section 9.1


def write_flac(path: Path, source: File) -> list[str]:
    """Write audio as FLAC and say what it could not keep; the same samples make the same bytes.

    Reading it gives what reading `source` gives, bit for bit, unless the result says that samples were rounded to 24
    bits or clipped. InputError as in `audio.read`, and for more channels or a higher rate than FLAC has.
    """
    header = audio.probe_header(source)
    if header.channels > _MOST_CHANNELS or header.sample_rate_hz > _MOST_RATE_HZ:
        raise InputError(
            f"{source}: {header.channels} channels at {header.sample_rate_hz} Hz, expected at most {_MOST_CHANNELS} at "
            f"{_MOST_RATE_HZ} Hz, which is what FLAC has: leave this one out of the shards"
        )
    bits = _BITS.get(header.subtype, 24)
    full_scale = 1 << bits - 1
    rounded = clipped = 0
    try:
        with soundfile.SoundFile(
            path, "wb", header.sample_rate_hz, header.channels, subtype=_SUBTYPES[bits], format="FLAC"
        ) as file:
            for block in audio.blocks(source):
                # Times a power of two: exact in float32, so what was a whole number of steps still is.
                steps = np.rint(block * np.float32(full_scale))
                kept = np.clip(steps, -full_scale, full_scale - 1).astype(np.int32)
                clipped += int(np.count_nonzero(kept != steps))
                rounded += int(np.count_nonzero(steps / np.float32(full_scale) != block))
                file.write(np.ascontiguousarray(kept.T) << 32 - bits)
    except soundfile.LibsndfileError as error:
        raise RunError(f"{path}: cannot be written ({error}): is the disk full?") from error
    total = header.n_samples * header.channels
    lost = {"rounded to 24 bits": rounded, "beyond full scale and clipped": clipped}
    return [f"{source}: as FLAC, {n / total:.2%} of its samples are {what}" for what, n in lost.items() if n]
