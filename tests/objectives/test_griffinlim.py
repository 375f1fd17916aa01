"""Log-mels made to sound: at the right time, pitch and level."""

import math

import pytest
import torch

from ssl_tt.encoder.config import LogMelConfig
from ssl_tt.encoder.logmel import LogMel
from ssl_tt.objectives.griffinlim import griffin_lim


def front_end(**settings) -> LogMel:
    made = LogMel(LogMelConfig(**settings))
    made.set_statistics(torch.linspace(-5, 1, made.config.mel_bands), torch.linspace(1, 2, made.config.mel_bands))
    return made


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sample_rate_hz": 8000, "window_samples": 200, "hop_samples": 80, "mel_bands": 40},
        {"window_samples": 512, "hop_samples": 300, "mel_bands": 40},  # frames begin after the middle of a window
        {"window_samples": 1024, "hop_samples": 128, "low_hz": 60.0, "high_hz": 7000.0},
    ],
    ids=["16 kHz", "8 kHz", "hop above half a window", "long window"],
)
def test_a_tone_comes_back_when_it_was_as_high_and_as_loud(settings):
    logmel = front_end(**settings)
    rate, hop = logmel.config.sample_rate_hz, logmel.config.hop_samples
    time = torch.arange(rate // hop * hop) / rate
    burst = (time > 0.3) & (time < 0.6)
    tone = 0.3 * torch.sin(2 * math.pi * 800 * time) * burst + 1e-4 * torch.randn(len(time))
    sound = griffin_lim(logmel, logmel(tone[None])[0])[0]
    assert sound.shape == tone.shape
    energy = sound.square().cumsum(dim=0) / sound.square().sum()
    begin, middle, end = (time[torch.searchsorted(energy, share)].item() for share in (0.02, 0.5, 0.98))
    assert begin == pytest.approx(0.306, abs=0.012)
    assert middle == pytest.approx(0.45, abs=0.01)
    assert end == pytest.approx(0.594, abs=0.012)
    spectrum = torch.fft.rfft(sound[burst]).abs()
    peak_hz = spectrum.argmax().item() * rate / int(burst.sum())
    assert peak_hz == pytest.approx(800, abs=80)  # a mel band is 60 Hz or more wide
    assert sound[burst].square().mean().sqrt().item() == pytest.approx(0.3 / math.sqrt(2), rel=0.3)


def test_sound_is_a_function_of_the_seed_and_leaves_the_generator_alone():
    logmel = front_end()
    log_mel = logmel(0.1 * torch.randn(2, 3200))[0]
    generator = torch.get_rng_state()
    first, again, other = (griffin_lim(logmel, log_mel, seed) for seed in (0, 0, 1))
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 3200)
