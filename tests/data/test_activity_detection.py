"""Speech is found where it is, whatever the level of the noise below it."""

import sys

import numpy as np
import pytest

from ssl_tt.data.activity_detection import detect, detect_energy
from ssl_tt.errors import InputError


def bursts(bounds: list[tuple[float, float]], seconds: float, rate_hz: int, noise_db: float) -> np.ndarray:
    """Syllable-like noise at -20 dBFS inside the bounds, over steady noise and hum."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    audio = 10 ** (noise_db / 20) * rng.standard_normal(time.size) + 0.01 * np.sin(2 * np.pi * 50 * time)
    voice = 0.1 * rng.standard_normal(time.size) * (1 + 0.5 * np.sin(2 * np.pi * 4 * time))
    for start, end in bounds:
        inside = (time >= start) & (time < end)
        audio[inside] += voice[inside]
    return audio.astype(np.float32)


@pytest.mark.parametrize("noise_db", [-90, -60, -45])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 11025])
def test_edges_are_right_within_20_ms(rate_hz: int, noise_db: float) -> None:
    bounds = [(0.5, 1.237), (2.005, 2.5), (2.8, 4.444), (6.0, 6.15), (8.0, 10.0)]
    found = detect_energy(bursts(bounds, 10.0, rate_hz, noise_db), rate_hz)
    np.testing.assert_allclose(found, bounds, atol=0.02)


def test_short_silences_are_bridged_and_short_sounds_dropped() -> None:
    bounds = [(1.0, 1.5), (1.65, 2.0), (2.3, 3.0), (5.0, 5.04), (7.0, 7.04), (7.1, 7.2)]
    found = detect_energy(bursts(bounds, 10.0, 16000, -60), 16000)
    np.testing.assert_allclose(found, [(1.0, 2.0), (2.3, 3.0), (7.0, 7.2)], atol=0.02)


@pytest.mark.parametrize("noise_db", [-200, -90, -60, -50])
def test_a_file_without_speech_has_none(noise_db: float) -> None:
    assert detect_energy(bursts([], 5.0, 16000, noise_db), 16000) == []


def test_digital_silence_and_too_little_to_tell_have_none() -> None:
    assert detect_energy(np.zeros(16000, dtype=np.float32), 16000) == []
    assert detect_energy(np.ones(10, dtype=np.float32), 16000) == []


def test_a_file_of_speech_alone_is_one_segment() -> None:
    assert detect_energy(bursts([(0.0, 5.0)], 5.0, 16000, -60), 16000) == [(0.0, 5.0)]


def test_the_other_speaker_leaking_in_is_not_speech() -> None:
    audio = bursts([(1.0, 2.0)], 10.0, 16000, -90) + 0.01 * bursts([(4.0, 8.0)], 10.0, 16000, -90)
    np.testing.assert_allclose(detect_energy(audio, 16000), [(1.0, 2.0)], atol=0.02)


def test_an_unknown_or_missing_detector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown activity detector 'magic', expected one of energy, silero"):
        detect(np.zeros(16000, dtype=np.float32), 16000, "magic")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "silero_vad", None)  # importing it now fails
    with pytest.raises(InputError, match=r"'silero' is not installed: pip install 'ssl-tt\[silero\]'"):
        detect(np.zeros(16000, dtype=np.float32), 16000, "silero")


def test_a_quiet_sound_counts_only_where_it_leads_to_a_loud_one() -> None:
    audio = bursts([(2.0, 3.0)], 10.0, 16000, -50)
    quiet = 10 ** (9 / 20)  # between the two thresholds, 6 and 12 dB above the floor
    audio[16000 * 3 : 16000 * 4] *= quiet
    audio[16000 * 6 : 16000 * 8] *= quiet
    np.testing.assert_allclose(detect_energy(audio, 16000), [(2.0, 4.0)], atol=0.02)
