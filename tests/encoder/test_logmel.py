import math

import pytest
import torch

from ssl_tt.encoder.config import LogMelConfig
from ssl_tt.encoder.logmel import POWER_FLOOR, LogMel, mel_filterbank
from ssl_tt.encoder.normalised import LEAST_STD, corpus_statistics
from ssl_tt.errors import InputError
from tests.encoder.configs import SMALL_FRONTEND, noise


@pytest.mark.parametrize(
    ("n_fft", "bands", "low_hz", "high_hz", "rate_hz"),
    [(512, 80, 0.0, 8000.0, 16000), (256, 40, 60.0, 3800.0, 8000), (1024, 128, 20.0, 7600.0, 16000)],
)
def test_filterbank_equals_torchaudio(n_fft, bands, low_hz, high_hz, rate_hz):
    functional = pytest.importorskip("torchaudio.functional", exc_type=(ImportError, OSError))
    expected = functional.melscale_fbanks(n_fft // 2 + 1, low_hz, high_hz, bands, rate_hz, norm=None, mel_scale="htk")
    torch.testing.assert_close(
        mel_filterbank(n_fft, bands, low_hz, high_hz, rate_hz).float(), expected, rtol=0, atol=1e-4
    )


def test_frame_equals_a_hand_made_transform():
    config = LogMelConfig()
    samples = noise(1, 1600, dtype=torch.float64)
    frames, _ = LogMel(config).double().raw(samples)
    t = 7
    end = (t + 1) * config.hop_samples
    n = torch.arange(config.window_samples, dtype=torch.float64)
    window = samples[0, end - config.window_samples : end] * (0.5 - 0.5 * torch.cos(2 * math.pi * n / len(n)))
    bins = torch.arange(257, dtype=torch.float64)[:, None]
    power = (window * torch.exp(-2j * math.pi * bins * n / 512)).sum(dim=1).abs().square()
    expected = (power @ mel_filterbank(512, 80, 0.0, 8000.0, 16000)).log()
    torch.testing.assert_close(frames[0, t], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("sample", "frames"),
    [  # hop 3 is samples 480 to 639; windows of 400 end with hops 3, 4, 5 and start at 240, 400, 560
        (480, [3, 4]),
        (560, [3, 4]),  # the first sample of frame 5's window, whose weight is zero
        (561, [3, 4, 5]),
        (639, [3, 4, 5]),
    ],
)
def test_click_is_in_the_frame_of_its_own_hop_and_in_none_before(sample, frames):
    click = torch.zeros(1, 1600)
    click[0, sample] = 1e4
    log_mel, _ = LogMel(LogMelConfig()).raw(click)
    assert (log_mel[0] > math.log(POWER_FLOOR)).any(dim=-1).nonzero().flatten().tolist() == frames


def test_silence_is_a_finite_constant():
    frames, _ = LogMel(LogMelConfig()).raw(torch.zeros(2, 1600))
    assert frames.eq(frames[0, 0, 0]).all()
    assert frames[0, 0, 0].item() == pytest.approx(math.log(POWER_FLOOR))


def test_rounding_of_16_bit_audio_stays_below_the_floor():
    steps = torch.randint(0, 2, (1, 16000), generator=torch.Generator().manual_seed(0)) - 0.5
    frames, _ = LogMel(LogMelConfig()).raw(steps / 32768)
    assert frames.max().item() == pytest.approx(math.log(POWER_FLOOR))


def test_autocast_leaves_the_front_end_in_single_precision():
    frontend, samples = LogMel(LogMelConfig()), noise(1, 1600)
    expected, _ = frontend(samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        frames, _ = frontend(samples)
    assert frames.dtype == torch.float32
    assert torch.equal(frames, expected)


def test_statistics_make_the_corpus_zero_mean_and_unit_variance():
    frontend = LogMel(SMALL_FRONTEND)
    corpus = [noise(2, n, seed=n) for n in (800, 1600, 4000)]
    frontend.set_statistics(*corpus_statistics(frontend, iter(corpus)))
    frames = torch.cat([frontend(samples)[0].flatten(0, 1) for samples in corpus])
    torch.testing.assert_close(frames.mean(dim=0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(6), rtol=0, atol=1e-4)


def test_band_that_never_rises_above_the_floor_is_not_blown_up():
    frontend = LogMel(SMALL_FRONTEND)
    _, std = corpus_statistics(frontend, [torch.zeros(1, 800)])
    torch.testing.assert_close(std, torch.full((6,), LEAST_STD, dtype=torch.float64))


def test_statistics_of_nothing_are_refused():
    with pytest.raises(InputError, match="at least one frame"):
        corpus_statistics(LogMel(SMALL_FRONTEND), [torch.zeros(1, 15)])


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_statistics_that_cannot_divide_are_refused(std):
    with pytest.raises(ValueError, match="standard deviation above zero"):
        LogMel(SMALL_FRONTEND).set_statistics(torch.zeros(6), torch.full((6,), std))


def test_statistics_are_saved_and_the_window_is_not():
    assert set(LogMel(SMALL_FRONTEND).state_dict()) == {"mean", "std"}


def test_band_without_a_frequency_is_refused():
    with pytest.raises(InputError, match="mel_bands 128 is too many for window_samples 200"):
        LogMel(LogMelConfig(window_samples=200, mel_bands=128))
