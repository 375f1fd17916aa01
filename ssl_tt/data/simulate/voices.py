"""Speech-like sound from a source and a filter: many speakers, syllables of consonant and vowel, endings with cues.

A train of glottal pulses and white noise go through formant filters that change every few milliseconds, applied to
the spectrum of short overlapping windows, so a whole utterance is a handful of array operations.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import irfft, rfft
from scipy.ndimage import gaussian_filter1d

from ssl_tt.data.simulate.cues import Cues

_STEP_SECONDS = 0.004
"""Step of the tracks that control the synthesis."""

# Phones: first three formants (Hz, an average adult), gain of the voice, gain of the frication, its centre and its
# width (Hz). Vowels after Peterson & Barney (1952); consonants are rough.
_PHONES = {
    "i": (290, 2280, 2980, 1.0, 0.0, 3000, 1000),
    "I": (400, 2000, 2550, 1.0, 0.0, 3000, 1000),
    "e": (530, 1850, 2500, 1.0, 0.0, 3000, 1000),
    "a": (690, 1650, 2430, 1.0, 0.0, 3000, 1000),
    "A": (730, 1100, 2450, 1.0, 0.0, 3000, 1000),
    "o": (570, 850, 2410, 1.0, 0.0, 3000, 1000),
    "u": (310, 880, 2250, 1.0, 0.0, 3000, 1000),
    "V": (630, 1200, 2400, 1.0, 0.0, 3000, 1000),
    "m": (250, 1050, 2200, 0.3, 0.0, 3000, 1000),
    "n": (260, 1600, 2600, 0.3, 0.0, 3000, 1000),
    "l": (350, 1100, 2700, 0.5, 0.0, 3000, 1000),
    "r": (320, 1080, 1600, 0.5, 0.0, 3000, 1000),
    "w": (300, 700, 2200, 0.4, 0.0, 3000, 1000),
    "s": (320, 1700, 2600, 0.0, 0.35, 5800, 1200),
    "S": (320, 1800, 2500, 0.0, 0.40, 3300, 900),
    "f": (320, 1100, 2300, 0.0, 0.15, 4500, 3000),
    "z": (300, 1700, 2600, 0.2, 0.20, 5500, 1200),
    "t": (320, 1750, 2600, 0.0, 0.50, 4200, 1500),
    "k": (320, 1900, 2300, 0.0, 0.45, 2000, 700),
    "p": (320, 900, 2300, 0.0, 0.40, 900, 700),
    ".": (320, 1500, 2500, 0.0, 0.00, 3000, 1000),
}
_TABLE = np.array(list(_PHONES.values()), dtype=np.float64)
_INDEX = {phone: index for index, phone in enumerate(_PHONES)}
_VOWELS = "iIeaAouV"
_ONSETS = ("m", "n", "l", "r", "w", "s", "S", "f", "z", ".t", ".k", ".p", "")
_CODAS = ("m", "n", "l", "s", "z", ".t", ".k")
_CODA_SHARE = 0.25

# Endings: the last 0.3 to 0.4 s carry the movement of pitch and loudness.
_ENDING_SECONDS = (0.30, 0.40)
_MOVEMENT_SEMITONES = (5.0, 8.0)
_SOFTENING_DB = (4.0, 8.0)
_LENGTHENING = (1.8, 2.3)


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker."""

    f0_hz: float
    formant_scale: float
    syllables_per_second: float
    breathiness: float
    tilt_db_per_octave: float
    bandwidth_scale: float
    melody_semitones: float
    level_db: float


def draw_voice(rng: np.random.Generator) -> Voice:
    """Draw a speaker; pitch and vocal tract go together, as they do in people."""
    height = rng.random()
    return Voice(
        f0_hz=float(np.clip(95 * 2 ** (1.15 * height + rng.normal(0, 0.12)), 75, 280)),
        formant_scale=0.9 + 0.25 * height + rng.uniform(-0.04, 0.04),
        syllables_per_second=rng.uniform(4.2, 5.8),
        breathiness=10 ** rng.uniform(-1.6, -0.7),
        tilt_db_per_octave=rng.uniform(5, 9),
        bandwidth_scale=rng.uniform(0.8, 1.4),
        melody_semitones=rng.uniform(0.5, 1.2),
        level_db=rng.uniform(-30, -24),
    )


def synthesise(voice: Voice, cues: Cues, n_samples: int, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """An utterance of exactly so many samples, ending with the cues: float32 [N].

    Its length is given first and the syllables are fitted in, so a drawn-out last syllable does not make it longer.
    """
    seconds = n_samples / sample_rate_hz
    steps = int(np.ceil(seconds / _STEP_SECONDS)) + 1
    edges = _syllable_edges(voice, cues, seconds, rng)
    tracks = _phone_tracks(edges, steps, voice, rng)
    f0_hz = _pitch(voice, cues, edges, steps, rng)

    pulses = _pulses(f0_hz, n_samples, sample_rate_hz)
    noise = rng.standard_normal((2, n_samples), dtype=np.float32)
    samples = _filtered(pulses + voice.breathiness * noise[0], noise[1], tracks, voice, sample_rate_hz)

    samples = _with_ending_level(samples, cues, sample_rate_hz, rng)
    level = 10 ** ((voice.level_db + rng.normal(0, 1.0)) / 20)
    return samples * np.float32(level / _rms(samples))


def _syllable_edges(voice: Voice, cues: Cues, seconds: float, rng: np.random.Generator) -> np.ndarray:
    stretch = rng.uniform(*_LENGTHENING) if cues.lengthened else 1.0
    rate = voice.syllables_per_second * np.exp(rng.normal(0, 0.08))
    syllables = max(1, round(seconds * rate - (stretch - 1)))
    weights = np.exp(rng.normal(0, 0.15, syllables))
    weights[-1] *= stretch
    return seconds * np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])


def _phone_tracks(edges: np.ndarray, steps: int, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Columns of the table over time, with smooth transitions: [steps, 7]."""
    phones: list[int] = []
    starts: list[float] = []
    for start, end in pairwise(edges):
        onset = _ONSETS[rng.integers(len(_ONSETS))]
        coda = _CODAS[rng.integers(len(_CODAS))] if rng.random() < _CODA_SHARE else ""
        consonant = min(rng.uniform(0.05, 0.09), 0.35 * (end - start))
        for place, cluster in ((start, onset), (end - consonant, coda)):
            for position, phone in enumerate(cluster):
                phones.append(_INDEX[phone])
                starts.append(place + position * 0.7 * consonant)
            if cluster is onset:
                phones.append(_INDEX[_VOWELS[rng.integers(len(_VOWELS))]])
                starts.append(place + (consonant if onset else 0.0))
    times = _STEP_SECONDS * np.arange(steps)
    current = np.searchsorted(starts, times, side="right") - 1
    tracks = _TABLE[np.array(phones)[np.maximum(current, 0)]]
    tracks[:, :3] = gaussian_filter1d(tracks[:, :3], 0.018 / _STEP_SECONDS, axis=0, mode="nearest")
    tracks[:, :3] *= voice.formant_scale
    tracks[:, 3:5] = gaussian_filter1d(tracks[:, 3:5], 0.006 / _STEP_SECONDS, axis=0, mode="nearest")
    return tracks


def _pitch(voice: Voice, cues: Cues, edges: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Fundamental frequency over time, Hz: an accent on each syllable and, if it is cued, a final movement."""
    times = _STEP_SECONDS * np.arange(steps)
    syllable = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2)
    accents = voice.melody_semitones * rng.standard_normal(len(edges) - 1)
    semitones = rng.normal(0, 1.5) + gaussian_filter1d(accents[syllable], 0.05 / _STEP_SECONDS, mode="nearest")
    semitones += 0.15 * gaussian_filter1d(rng.standard_normal(steps), 2.0)  # jitter
    size = rng.uniform(*_MOVEMENT_SEMITONES)
    target = {"fall": -size, "rise": size, "level": 0.0}[cues.movement] + rng.normal(0, 0.5)
    semitones += target * _ending_ramp(times, edges[-1], rng)
    return np.clip(voice.f0_hz * 2 ** (semitones / 12), 55, 600)


def _with_ending_level(samples: np.ndarray, cues: Cues, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """The utterance with its ending brought to the level that is drawn for it.

    Left alone, a drawn-out vowel is louder than the consonants it displaces, and intensity would tell of the length.
    """
    drop_db = (rng.uniform(*_SOFTENING_DB) if cues.softened else 0.0) + rng.normal(0, 1.5)
    ending = round(min(_ENDING_SECONDS) * sample_rate_hz)
    natural_db = 20 * np.log10(_rms(samples[-ending:]) / _rms(samples[:-ending])) if len(samples) > ending else 0.0
    times = np.arange(len(samples)) / sample_rate_hz
    ramp = _ending_ramp(times, len(samples) / sample_rate_hz, rng)
    return samples * (10 ** (-(drop_db + natural_db) * ramp / 20)).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return max(float(np.sqrt(np.mean(np.square(samples)))), 1e-9)


def _ending_ramp(times: np.ndarray, end_seconds: float, rng: np.random.Generator) -> np.ndarray:
    """0 up to the ending, then smoothly up to 1, which is reached 0.1 s before the end."""
    start = end_seconds - rng.uniform(*_ENDING_SECONDS)
    x = np.clip((times - start) / (end_seconds - 0.1 - start), 0, 1)
    return x * x * (3 - 2 * x)


def _pulses(f0_hz: np.ndarray, n_samples: int, sample_rate_hz: int) -> np.ndarray:
    """One pulse a period, between samples by linear interpolation; mean power 1 whatever the pitch."""
    times = np.arange(n_samples) / sample_rate_hz
    f0 = np.interp(times, _STEP_SECONDS * np.arange(len(f0_hz)), f0_hz)
    phase = np.cumsum(f0 / sample_rate_hz)
    last = np.flatnonzero(np.diff(np.floor(phase)) > 0)  # the pulse falls between this sample and the next
    fraction = (np.ceil(phase[last]) - phase[last]) / (phase[last + 1] - phase[last])
    height = np.sqrt(sample_rate_hz / f0[last])
    pulses = np.zeros(n_samples)
    pulses[last] = height * (1 - fraction)
    pulses[last + 1] += height * fraction
    return pulses


def _filtered(
    voiced: np.ndarray, frication: np.ndarray, tracks: np.ndarray, voice: Voice, sample_rate_hz: int
) -> np.ndarray:
    """The two sources through filters that follow the tracks: Hann windows at half overlap, filtered and added up."""
    n_samples = len(voiced)
    hop = sample_rate_hz // 125
    frames = n_samples // hop + 2
    size = 4 * hop
    margin = hop  # on both sides of the window, for the tails of a response of zero phase
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop)

    sources = np.zeros((2, (frames + 1) * hop), dtype=np.float32)
    sources[0, hop : hop + n_samples], sources[1, hop : hop + n_samples] = voiced, frication
    blocks = sources.reshape(2, frames + 1, hop)
    windows = np.zeros((2, frames, size), dtype=np.float32)
    windows[:, :, margin : margin + 2 * hop] = np.concatenate([blocks[:, :-1], blocks[:, 1:]], axis=2) * window

    at = np.clip(np.round(np.arange(frames) * hop / sample_rate_hz / _STEP_SECONDS).astype(int), 0, len(tracks) - 1)
    hz = np.fft.rfftfreq(size, 1 / sample_rate_hz).astype(np.float32)
    gains = _responses(tracks[at].astype(np.float32), voice, hz)
    spectra = rfft(windows, axis=2)
    filtered = irfft(spectra[0] * gains[0] + spectra[1] * gains[1], size, axis=1)

    # Window k starts at sample k * hop of the padded sources, and its buffer `margin` earlier.
    out = np.zeros((frames + 4) * hop, dtype=np.float32)
    for part in range(4):
        out[part * hop : (part + frames) * hop] += filtered[:, part * hop : (part + 1) * hop].ravel()
    return out[margin + hop : margin + hop + n_samples]


def _responses(tracks: np.ndarray, voice: Voice, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude responses for the voice and the frication: [frames, bins] each."""
    power = np.ones((len(tracks), len(hz)), dtype=np.float32)
    fixed = (3500 * voice.formant_scale, 4500 * voice.formant_scale)
    for number in range(5):
        formant = tracks[:, number, None] if number < 3 else np.float32(fixed[number - 3])
        bandwidth = np.float32(voice.bandwidth_scale) * (50 + 0.05 * formant)
        power *= formant**4 / ((formant**2 - hz**2) ** 2 + (bandwidth * hz) ** 2)
    power *= ((1 + (hz / 250) ** 2) ** np.float32(-voice.tilt_db_per_octave / 6.02)) * (hz > 50)
    power /= power.mean(axis=1, keepdims=True)
    centre, width = tracks[:, 5, None], tracks[:, 6, None]
    frication = np.exp(-0.5 * ((hz - centre) / width) ** 2)
    return tracks[:, 3, None] * np.sqrt(power), tracks[:, 4, None] * frication
