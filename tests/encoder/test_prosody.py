import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_tt.data.audio import read
from ssl_tt.encoder.config import PROSODY, ProsodyConfig
from ssl_tt.encoder.normalised import corpus_statistics
from ssl_tt.encoder.prosody import OCTAVE_COST, Prosody
from tests.encoder.configs import noise
from tests.encoder.frontends import voices

RATES = pytest.mark.parametrize(
    "config",
    [ProsodyConfig(), ProsodyConfig(sample_rate_hz=8000, window_samples=320, hop_samples=80)],
    ids=["16 kHz", "8 kHz"],
)


def raw(config: ProsodyConfig, samples: torch.Tensor) -> dict[str, np.ndarray]:
    """Raw features [T] of samples [N] by name, F0 in Hz."""
    features, _ = Prosody(config).double().raw(samples[None])
    found = dict(zip(PROSODY, features[0].T.numpy(), strict=True))
    return {"f0_hz": np.exp(found.pop("log_f0")), **found}


def harmonics(f0_hz: torch.Tensor, sample_rate_hz: int) -> torch.Tensor:
    """A buzz with this F0 [N] at each sample."""
    phase = 2 * math.pi * f0_hz.double().cumsum(0) / sample_rate_hz
    return 0.1 * sum((torch.sin(k * phase) / k for k in range(1, 8)), start=torch.zeros(()))


def praat_f0_hz(config: ProsodyConfig, samples: np.ndarray, n_frames: int) -> np.ndarray:
    """Praat's F0 at the middle of each frame's window, NaN where it calls the frame unvoiced."""
    parselmouth = pytest.importorskip("parselmouth")
    sound = parselmouth.Sound(samples.astype(np.float64), config.sample_rate_hz)
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=config.lowest_hz, pitch_ceiling=config.highest_hz)
    ends = (np.arange(n_frames) + 1) * config.hop_samples
    return np.array([pitch.get_value_at_time(s) for s in (ends - config.window_samples / 2) / config.sample_rate_hz])


@RATES
def test_f0_of_a_glide_is_that_of_the_middle_of_the_window(config: ProsodyConfig) -> None:
    rate = config.sample_rate_hz
    f0_hz = 90 * 2 ** torch.linspace(0, 2, 2 * rate)
    found = raw(config, harmonics(f0_hz, rate))
    ends = (np.arange(len(found["f0_hz"])) + 1) * config.hop_samples
    whole = ends >= config.window_samples
    expected = f0_hz.numpy()[ends[whole] - config.window_samples // 2]
    assert found["voiced"][whole].all()
    np.testing.assert_allclose(found["f0_hz"][whole], expected, rtol=0.01)
    np.testing.assert_allclose(np.median(np.abs(found["f0_hz"][whole] / expected - 1)), 0, atol=0.001)


@RATES
def test_f0_of_a_glide_agrees_with_praat(config: ProsodyConfig) -> None:
    rate = config.sample_rate_hz
    samples = harmonics(90 * 2 ** torch.linspace(0, 2, 2 * rate), rate)
    found = raw(config, samples)
    praat = praat_f0_hz(config, samples.numpy(), len(found["f0_hz"]))
    both = np.isfinite(praat) & np.isfinite(found["f0_hz"])
    assert both.sum() > 180
    assert np.abs(found["f0_hz"][both] / praat[both] - 1).max() < 0.02


@pytest.mark.data
@RATES
def test_f0_of_real_speech_agrees_with_praat(config: ProsodyConfig, data_root: Path) -> None:
    readers = sorted((data_root / "librispeech").iterdir())[2::4]
    files = [min(reader.glob("*.flac")) for reader in readers]
    assert len(files) >= 50
    ours, theirs = [], []
    for file in files:
        samples = read(file, sample_rate_hz=config.sample_rate_hz)[0]
        found = raw(config, torch.from_numpy(samples))
        ours.append(found["f0_hz"])
        theirs.append(praat_f0_hz(config, samples, len(found["f0_hz"])))
    f0_hz, praat = np.concatenate(ours), np.concatenate(theirs)
    both = np.isfinite(f0_hz) & np.isfinite(praat)
    error = np.abs(f0_hz[both] / praat[both] - 1)
    voiced_too = both.sum() / np.isfinite(praat).sum()
    agreed = (np.isfinite(f0_hz) == np.isfinite(praat)).mean()
    print(
        f"{config.sample_rate_hz} Hz: {both.sum()} frames voiced for both, median difference {np.median(error):.3%}, "
        f"{(error < 0.02).mean():.1%} within 2 %, {(error > 0.2).mean():.1%} off by 20 % or more; voiced here "
        f"{voiced_too:.1%} of Praat's voiced frames; the decision agrees on {agreed:.1%} of all frames"
    )
    assert np.median(error) < 0.001
    assert (error < 0.02).mean() >= 0.95
    assert voiced_too >= 0.85  # no hiding: hard frames are not passed over as unvoiced
    assert agreed >= 0.8


def test_features_equal_sums_written_out() -> None:
    config = ProsodyConfig(
        sample_rate_hz=8000, window_samples=120, hop_samples=16, lowest_hz=200.0, highest_hz=900.0, rate_window_frames=9
    )
    samples = voices(1600, dtype=torch.float64)
    found = raw(config, samples)
    padded = np.concatenate([np.zeros(104 + 8 * 16), samples.numpy()])  # a window less a hop, and eight frames more

    def hann(length: int) -> np.ndarray:
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, length + 1) / (length + 1))

    window = hann(120)

    def intensity(end: int) -> float:
        frame = padded[end - 120 : end]
        return max(1e-9, np.sum(((frame - frame.mean()) * window) ** 2) / np.sum(window**2))

    voiced = 0
    for t in range(20, 100, 7):
        end = len(padded) - 1600 + (t + 1) * 16
        frame = (padded[end - 120 : end] - padded[end - 120 : end].mean()) * window
        lags = np.arange(7, 42)
        r = np.array([frame[: 120 - k] @ frame[k:] / (window[: 120 - k] @ window[k:]) for k in lags])
        r /= frame @ frame / (window @ window)
        peaks = []
        for i in range(1, len(lags) - 1):
            if r[i] >= r[i - 1] and r[i] > r[i + 1]:
                a, b = (r[i - 1] + r[i + 1]) / 2 - r[i], (r[i + 1] - r[i - 1]) / 2
                offset = -b / (2 * a)
                height = a * offset**2 + b * offset + r[i]
                peaks.append((height - OCTAVE_COST * np.log2(lags[i] + offset), height, 8000 / (lags[i] + offset)))
        _, height, f0_hz = max(peaks, default=(0.0, 0.0, np.nan))
        assert found["periodicity"][t] == pytest.approx(np.clip(height, 0, 1), abs=1e-9)
        assert found["voiced"][t] == (height >= 0.6)
        if height >= 0.6:
            voiced += 1
            assert found["f0_hz"][t] == pytest.approx(f0_hz, abs=1e-6)
        assert found["intensity_db"][t] == pytest.approx(10 * np.log10(intensity(end)), abs=1e-9)

        envelope = np.sqrt([intensity(end - 16 * back) for back in range(8, -1, -1)])
        weights = hann(9)
        level = envelope - np.sum(weights * envelope) / np.sum(weights)
        hz = np.arange(1, 16.5, 0.5)
        power = np.abs(np.exp(-2j * np.pi * hz[:, None] * np.arange(9) * 16 / 8000) @ (weights * level)) ** 2
        flat = (0.05 * np.sum(weights * envelope)) ** 2
        assert found["speaking_rate_hz"][t] == pytest.approx(hz @ power / (power.sum() + flat), abs=1e-9)
    assert 2 <= voiced <= 10  # both sides of the decision were met


@RATES
def test_intensity_of_a_sine_of_full_scale_is_3_db_below_and_falls_with_its_level(config: ProsodyConfig) -> None:
    seconds = torch.arange(config.sample_rate_hz, dtype=torch.float64) / config.sample_rate_hz
    for level_db in (0, -20, -60):
        sine = 10 ** (level_db / 20) * torch.sin(2 * math.pi * 440 * seconds)
        assert raw(config, sine)["intensity_db"][10:] == pytest.approx(level_db - 3.01, abs=0.02)


@RATES
@pytest.mark.parametrize("beat_hz", [2.0, 4.0, 8.0])
def test_speaking_rate_is_that_of_the_beats(config: ProsodyConfig, beat_hz: float) -> None:
    rate = config.sample_rate_hz
    seconds = torch.arange(3 * rate, dtype=torch.float64) / rate
    loudness = 1 + 0.8 * torch.sin(2 * math.pi * beat_hz * seconds)
    sound = loudness * harmonics(torch.full((3 * rate,), 150.0), rate)
    assert raw(config, sound)["speaking_rate_hz"][110:] == pytest.approx(beat_hz, rel=0.1)
    steady = harmonics(torch.full((3 * rate,), 150.0), rate)
    assert raw(config, steady)["speaking_rate_hz"][110:].max() < 0.1


@RATES
def test_silence_has_no_pitch_no_intensity_and_no_rate(config: ProsodyConfig) -> None:
    for samples in (torch.zeros(16000), torch.randint(0, 2, (16000,)) / 32768 - 0.5 / 32768):
        found = raw(config, samples)
        assert np.isnan(found["f0_hz"]).all()
        assert found["voiced"].max() == 0
        assert found["intensity_db"] == pytest.approx(-90)
        assert found["speaking_rate_hz"].max() < 1e-9


def test_noise_is_unvoiced_and_a_buzz_voiced() -> None:
    assert raw(ProsodyConfig(), noise(32000))["voiced"].mean() < 0.05
    buzz = raw(ProsodyConfig(), harmonics(torch.full((32000,), 120.0), 16000))
    assert buzz["voiced"][4:].all()
    assert buzz["periodicity"][4:].min() > 0.95


def test_a_period_is_not_taken_for_its_double() -> None:
    for f0_hz in (80.0, 110.0, 160.0, 230.0, 320.0, 480.0):
        found = raw(ProsodyConfig(), harmonics(torch.full((16000,), f0_hz), 16000))
        np.testing.assert_allclose(found["f0_hz"][4:], f0_hz, rtol=0.003)


def test_voicing_threshold_decides_alone() -> None:
    samples = voices(16000, sample_rate_hz=16000)
    for threshold in (0.3, 0.6, 0.9):
        found = raw(ProsodyConfig(voicing_threshold=threshold), samples)
        loud = found["intensity_db"] > -90
        assert np.array_equal(found["voiced"] > 0, loud & (found["periodicity"] >= threshold))
        assert np.array_equal(np.isfinite(found["f0_hz"]), found["voiced"] > 0)


def test_statistics_of_f0_are_those_of_voiced_frames_and_a_corpus_without_any_is_legal() -> None:
    config = ProsodyConfig()
    buzz = torch.cat([harmonics(torch.full((16000,), 120.0), 16000), torch.zeros(48000, dtype=torch.float64)])[None]
    mean, _ = corpus_statistics(Prosody(config), [buzz])
    assert mean[0].item() == pytest.approx(math.log(120), abs=0.05)
    frontend = Prosody(config)
    frontend.set_statistics(*corpus_statistics(frontend, [torch.zeros(2, 16000)]))
    assert frontend(torch.zeros(2, 16000))[0].isfinite().all()


def test_a_change_of_precision_leaves_what_is_derived_from_the_settings_exact() -> None:
    samples = voices(2, 16000, sample_rate_hz=16000)
    frontend = Prosody(ProsodyConfig())
    expected, _ = frontend(samples)
    assert torch.equal(frontend.half().float()(samples)[0], expected)
    assert torch.equal(frontend.double()(samples.double())[0].float(), expected)
