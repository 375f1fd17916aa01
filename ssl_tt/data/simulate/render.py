"""From placed clips to two channels of audio, the same way for every kind of voice.

What could tell a shift from a hold by its making is made the same everywhere: every clip has the same fade in and out
inside its own bounds, outside clips there is nothing but the channel's room noise, which runs through the whole file,
and a file begins and ends in noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import lfilter

from ssl_tt.data.conversation import Segment, Split
from ssl_tt.data.phones import Phone

FADE_SECONDS = 0.01
"""Length of the raised-cosine fade at each edge of a clip."""

_QUIET_LEVEL = 10 ** (-27 / 20)  # stands in for the level of a channel that never speaks
_PEAK = 0.95


class Clip(NamedTuple):
    """A stretch of speech and where it goes."""

    channel: int
    start_sample: int
    samples: np.ndarray

    @property
    def end_sample(self) -> int:
        return self.start_sample + len(self.samples)


@dataclass(frozen=True)
class Scene:
    """A conversation before it is rendered."""

    id: str
    split: Split
    speakers: tuple[str, str]
    clips: Sequence[Clip]
    n_samples: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of its making; anything JSON."""
    truth: Sequence[Mapping[str, Any]] = ()
    """What was drawn for each mutual silence, where that is known; anything JSON."""
    phones: Sequence[Sequence[Phone]] | None = None
    """The phones of each channel, where they are known."""


def faded(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The samples with a raised-cosine fade at both edges: float32 [N]."""
    fade = min(round(FADE_SECONDS * sample_rate_hz), len(samples) // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))).astype(np.float32)
    result = samples.astype(np.float32)
    result[:fade] *= ramp
    result[len(result) - fade :] *= ramp[::-1]
    return result


def render(
    clips: Sequence[Clip],
    n_samples: int,
    sample_rate_hz: int,
    noise_snr_db: tuple[float, float],
    cross_talk_db: float | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Two channels with the clips in room noise: float32 [2, N], within [-1, 1].

    Noise is drawn without regard to what is said: its colour and its level below the channel's speech once a channel.
    """
    speech = np.zeros((2, n_samples), dtype=np.float32)
    spoken = np.zeros(2, dtype=np.int64)
    for clip in clips:
        speech[clip.channel, clip.start_sample : clip.end_sample] += faded(clip.samples, sample_rate_hz)
        spoken[clip.channel] += len(clip.samples)
    energy = np.square(speech).sum(axis=1, dtype=np.float64)
    levels = np.where(spoken > 0, np.sqrt(energy / np.maximum(spoken, 1)), _QUIET_LEVEL)
    if cross_talk_db is not None:
        speech = speech + np.float32(10 ** (cross_talk_db / 20)) * speech[::-1]
    for channel in range(2):
        noise_level = levels[channel] * 10 ** (-rng.uniform(*noise_snr_db) / 20)
        speech[channel] += np.float32(noise_level) * _room_noise(n_samples, rng)
    return speech / np.float32(max(1.0, float(np.abs(speech).max()) / _PEAK))


def segments(clips: Sequence[Clip], sample_rate_hz: int) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    """The speech of each channel: one segment a clip, in order."""

    def of(channel: int) -> tuple[Segment, ...]:
        bounds = sorted((clip.start_sample, clip.end_sample) for clip in clips if clip.channel == channel)
        return tuple(Segment(start / sample_rate_hz, end / sample_rate_hz) for start, end in bounds)

    return of(0), of(1)


def _room_noise(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Stationary noise of power 1 with more of the low frequencies, as rooms have."""
    pole = rng.uniform(0.3, 0.95)
    white = rng.standard_normal(n_samples, dtype=np.float32)
    numerator, denominator = [np.sqrt(1 - pole**2)], [1, -pole]
    return lfilter(np.array(numerator, dtype=np.float32), np.array(denominator, dtype=np.float32), white)
