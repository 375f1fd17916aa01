"""Synthetic voices: as long as asked for, different from each other, and with endings that can be heard."""

import numpy as np
import pytest

from ssl_tt.data.simulate.cues import Cues, draw
from ssl_tt.data.simulate.voices import Voice, draw_voice, synthesise

RATE_HZ = 16000
PLAIN = Cues("level", lengthened=False, softened=False)


def utterances(cues: Cues, count: int = 24, seconds: float = 1.6) -> list[np.ndarray]:
    return [
        synthesise(
            draw_voice(np.random.default_rng((1, i))), cues, int(seconds * RATE_HZ), RATE_HZ, np.random.default_rng(i)
        )
        for i in range(count)
    ]


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def pitch_hz(samples: np.ndarray) -> float:
    """Strongest period between 50 and 600 Hz of a short stretch, by autocorrelation."""
    lags = np.arange(RATE_HZ // 600, RATE_HZ // 50)
    correlation = np.correlate(samples, samples, "full")[len(samples) - 1 :]
    return float(RATE_HZ / lags[np.argmax(correlation[lags] * (1 - 0.2 * lags / lags[-1]))])


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("n_samples", [800, 6401, 40000])
def test_an_utterance_has_exactly_the_samples_asked_for(n_samples: int, rate_hz: int) -> None:
    voice = draw_voice(np.random.default_rng(0))
    samples = synthesise(voice, Cues("rise", True, True), n_samples, rate_hz, np.random.default_rng(0))
    assert samples.shape == (n_samples,)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert samples.any()


@pytest.mark.parametrize(("movement", "direction"), [("fall", -1), ("rise", 1)])
def test_a_moving_end_is_heard_in_the_pitch(movement: str, direction: int) -> None:
    """Synthesised with the same draws, so level and moving end differ in the end alone."""
    semitones = []
    for plain, moving in zip(utterances(PLAIN), utterances(Cues(movement, False, False)), strict=True):
        last = slice(-int(0.1 * RATE_HZ), None)
        semitones.append(12 * np.log2(pitch_hz(moving[last]) / pitch_hz(plain[last])))
    assert 4 < direction * np.median(semitones) < 9


def test_a_soft_end_is_heard_in_the_level() -> None:
    drops = []
    for plain, soft in zip(utterances(PLAIN), utterances(Cues("level", False, True)), strict=True):
        last = slice(-int(0.1 * RATE_HZ), None)
        drops.append(level_db(plain[last]) - level_db(soft[last]))
    assert 3 < np.mean(drops) < 9


def test_a_drawn_out_end_has_fewer_syllables_before_it() -> None:
    """Dips of the level, between syllables, in the last 0.3 s."""

    def dips(samples: np.ndarray) -> int:
        levels = [level_db(block) for block in np.split(samples[-int(0.28 * RATE_HZ) :], 14)]
        return int(np.sum(np.array(levels) < max(levels) - 6))

    plain, drawn_out = (sum(map(dips, utterances(cues, 60))) for cues in (PLAIN, Cues("level", True, False)))
    assert drawn_out < 0.7 * plain


@pytest.mark.parametrize("window_seconds", [0.1, 0.3])
def test_intensity_alone_stays_below_0_6(window_seconds: float) -> None:
    """The best threshold on the level at the end, relative to the level before it, at full strength of the cues."""
    rng = np.random.default_rng(0)
    window = int(window_seconds * RATE_HZ / 2)
    levels: dict[str, list[float]] = {"shift": [], "hold": []}
    for label in levels:
        for _ in range(400):
            voice = draw_voice(rng)
            samples = synthesise(voice, draw(label, 1.0, rng), RATE_HZ, RATE_HZ // 2, rng)
            levels[label].append(level_db(samples[-window:]) - level_db(samples[:-window]))
    shift, hold = np.array(levels["shift"]), np.array(levels["hold"])
    # Every tenth of the levels as a threshold: few enough that the best of them is not the best by chance.
    thresholds = np.quantile([shift, hold], np.arange(1, 10) / 10)
    balanced = [0.5 * ((shift < t).mean() + (hold >= t).mean()) for t in thresholds]
    assert 0.5 < max(balanced) < 0.6 + 2 * np.sqrt(0.25 / 800)


def test_speakers_differ_in_pitch_and_colour() -> None:
    voices = [draw_voice(np.random.default_rng((0, i))) for i in range(200)]
    pitches = [voice.f0_hz for voice in voices]
    assert max(pitches) > 2 * min(pitches)
    low, high = (spectrum(voice) for voice in (min(voices, key=by_formants), max(voices, key=by_formants)))
    centre = [np.sum(np.arange(len(s)) * s) / np.sum(s) for s in (low, high)]
    assert centre[1] > 1.05 * centre[0]


def by_formants(voice: Voice) -> float:
    return voice.formant_scale


def spectrum(voice: Voice) -> np.ndarray:
    samples = synthesise(voice, PLAIN, 8 * RATE_HZ, RATE_HZ, np.random.default_rng(5))
    return np.abs(np.fft.rfft(samples.reshape(-1, 512) * np.hanning(512), axis=1)).mean(axis=0)
