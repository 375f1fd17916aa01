"""When somebody speaks, for recordings that nobody has labelled: by energy, or by silero-vad if it is installed."""

from typing import Literal, get_args

import numpy as np

from ssl_tt.data.conversation import Segment, joined
from ssl_tt.errors import InputError
from ssl_tt.timebase import frame_edges, frames, seconds

Detector = Literal["energy", "silero"]

_FRAME_RATE_HZ = 100
_RUMBLE_HZ = 80  # hum and handling noise lie below, speech above

# Decibels relative to full scale. A channel's noise floor is the level below which it stays a tenth of the time, but
# nobody pauses a tenth of a dense monologue, and digital silence has no floor: hence the bounds.
_FLOOR_SHARE = 10
_FLOOR_BOUNDS_DB = (-75.0, -45.0)
_ONSET_ABOVE_FLOOR_DB = 12.0
_HOLD_ABOVE_FLOOR_DB = 6.0
# What is this much weaker than the channel's loud speech is the other speaker leaking in.
_LOUD_SHARE = 99
_LEAK_BELOW_LOUD_DB = 35.0


def detect(audio: np.ndarray, sample_rate_hz: int, method: Detector = "energy") -> list[Segment]:
    """Speech in one channel [N]; InputError for an unknown method, or for silero where it is not installed."""
    if method == "energy":
        return detect_energy(audio, sample_rate_hz)
    if method == "silero":
        return _detect_silero(audio, sample_rate_hz)
    raise InputError(f"unknown activity detector {method!r}, expected one of {', '.join(get_args(Detector))}")


def detect_energy(
    audio: np.ndarray, sample_rate_hz: int, min_speech_seconds: float = 0.1, min_silence_seconds: float = 0.2
) -> list[Segment]:
    """Speech in one channel [N] by its level above the channel's own noise floor, with hysteresis.

    A stretch counts if it stays 6 dB above the floor and somewhere reaches 12 dB. Silences shorter than
    `min_silence_seconds` are speech (a stop's closure is one), and then what is shorter than `min_speech_seconds` is
    dropped (a click is one). Edges lie on a grid of 10 ms.
    """
    levels = _levels_db(audio, sample_rate_hz)
    if len(levels) == 0:
        return []
    floor = np.clip(np.percentile(levels, _FLOOR_SHARE), *_FLOOR_BOUNDS_DB)
    leak = np.percentile(levels, _LOUD_SHARE) - _LEAK_BELOW_LOUD_DB
    hold = levels >= max(floor + _HOLD_ABOVE_FLOOR_DB, leak)
    onset = levels >= max(floor + _ONSET_ABOVE_FLOOR_DB, leak)

    edges = np.flatnonzero(np.diff(hold, prepend=False, append=False))
    loud_before = np.concatenate([[0], np.cumsum(onset)])
    stretches = [
        Segment(seconds(start, _FRAME_RATE_HZ), seconds(end, _FRAME_RATE_HZ))
        for start, end in edges.reshape(-1, 2).tolist()
        if loud_before[end] > loud_before[start]
    ]
    bridged = joined(stretches, gap_seconds=min_silence_seconds)
    return [segment for segment in bridged if segment.end_seconds - segment.start_seconds >= min_speech_seconds]


def _levels_db(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Level of every 10 ms, dB relative to full scale, without rumble: [T]."""
    from scipy.signal import butter, sosfilt

    highpass = butter(2, _RUMBLE_HZ, "highpass", fs=sample_rate_hz, output="sos")
    n_frames = frames(seconds(len(audio), sample_rate_hz), _FRAME_RATE_HZ)
    # Frames of a rate that 100 does not divide differ by one sample in length.
    starts = np.rint(frame_edges(n_frames, _FRAME_RATE_HZ) * sample_rate_hz).astype(np.int64)
    energy_before = np.concatenate([[0.0], np.cumsum(sosfilt(highpass, audio).astype(np.float64) ** 2)])
    power = np.diff(energy_before[starts]) / np.diff(starts)
    return 10 * np.log10(np.maximum(power, 1e-12))


def _detect_silero(audio: np.ndarray, sample_rate_hz: int) -> list[Segment]:
    """Silero VAD (its weights are inside the wheel); it reads 8 and 16 kHz."""
    try:
        from silero_vad import get_speech_timestamps, load_silero_vad
    except ImportError as error:
        raise InputError(
            "activity detector 'silero' is not installed: pip install 'ssl-tt[silero]', or choose 'energy'"
        ) from error
    import torch
    from scipy.signal import resample_poly

    rate = 8000 if sample_rate_hz == 8000 else 16000
    if sample_rate_hz != rate:
        audio = resample_poly(audio, rate, sample_rate_hz)
    found = get_speech_timestamps(torch.from_numpy(audio), load_silero_vad(), sampling_rate=rate)
    return [Segment(seconds(speech["start"], rate), seconds(speech["end"], rate)) for speech in found]
