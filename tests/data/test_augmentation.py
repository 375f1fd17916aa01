"""Augmented audio stays where it was, and no sample of it knows what comes later."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ssl_tt.data.augmentation import (
    augment,
    filtered,
    mu_law,
    room_response,
    row_generators,
    telephone_response,
    with_noise,
)
from ssl_tt.data.config import AugmentationConfig

RATE = 16000
NAMES = ("reverberation", "noise", "gain", "band", "mu_law", "dropout")
EFFECTS = {name: AugmentationConfig.model_validate({f"{name}_probability": 1.0}) for name in NAMES}
EFFECTS["all"] = AugmentationConfig.model_validate({f"{name}_probability": 1.0 for name in NAMES})
effects = pytest.mark.parametrize("config", EFFECTS.values(), ids=EFFECTS.keys())


def speech(rows: int = 2, n_samples: int = 5000, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    loudness = torch.sin(torch.arange(n_samples) / 400).square()
    return 0.1 * loudness * torch.randn(rows, n_samples, generator=draw)


def augmented(samples: Tensor, config: AugmentationConfig, seed: int = 0) -> Tensor:
    return augment(samples, config, RATE, row_generators(torch.arange(len(samples)) + 1000 * seed, 1, stream=0))


def test_nothing_is_done_and_nothing_drawn_at_first() -> None:
    before = torch.get_rng_state()
    assert not AugmentationConfig().active
    generators = row_generators(torch.arange(2), 1, stream=0)
    states = [generator.get_state() for generator in generators]
    assert torch.equal(augment(speech(), AugmentationConfig(), RATE, generators), speech())
    assert all(torch.equal(each.get_state(), state) for each, state in zip(generators, states, strict=True))
    augmented(speech(), EFFECTS["all"])
    assert torch.equal(torch.get_rng_state(), before)


@effects
def test_a_row_is_the_same_whatever_stands_beside_it(config: AugmentationConfig) -> None:
    seeds = torch.tensor([7, 3, 2**62, 0])
    together = augment(speech(8), config, RATE, row_generators(seeds, 2, stream=1))
    for window in range(4):
        rows = slice(2 * window, 2 * window + 2)
        alone = augment(speech(8)[rows], config, RATE, row_generators(seeds[window : window + 1], 2, stream=1))
        assert torch.equal(alone, together[rows])


def test_channels_and_streams_have_draws_of_their_own() -> None:
    drawn = [
        float(torch.rand(1, generator=generator))
        for stream in (0, 1)
        for generator in row_generators(torch.tensor([4, 5]), 2, stream)
    ]
    assert len(set(drawn)) == 8


@effects
def test_no_sample_depends_on_the_future(config: AugmentationConfig) -> None:
    now, cut = speech(), 3001
    other = now.clone()
    other[:, cut:] = speech(seed=1)[:, cut:]
    before, after = augmented(now, config), augmented(other, config)
    assert torch.equal(before[:, :cut], after[:, :cut])
    assert not torch.equal(before[:, cut:], after[:, cut:])
    now.requires_grad_()
    (gradient,) = torch.autograd.grad(augmented(now, config)[:, :cut].sum(), now)
    assert not gradient[:, cut:].any()


@effects
@pytest.mark.parametrize("n_samples", [1000, 4001])
def test_length_and_precision_are_kept(config: AugmentationConfig, n_samples: int) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = augmented(speech(3, n_samples), config)
    assert found.shape == (3, n_samples)
    assert found.dtype == torch.float32
    assert torch.equal(found, augmented(speech(3, n_samples), config))
    assert not torch.equal(found, speech(3, n_samples))


@effects
def test_the_seed_decides_alone(config: AugmentationConfig) -> None:
    assert config.active
    assert torch.equal(augmented(speech(), config, 1), augmented(speech(), config, 1))
    if config not in (EFFECTS["band"], EFFECTS["mu_law"]):  # of which nothing is drawn but whether
        assert not torch.equal(augmented(speech(), config, 1), augmented(speech(), config, 2))
        first, second = augmented(speech(1).expand(2, -1), config)
        assert not torch.equal(first, second)


def test_the_probability_is_the_share_of_rows() -> None:
    config = AugmentationConfig(gain_probability=0.25, gain_db=(3.0, 9.0))
    gain = 20 * torch.log10(augmented(torch.ones(400, 2), config)[:, 0])
    changed = gain[gain != 0]
    assert 70 < len(changed) < 130
    assert 3.0 <= changed.min() < 3.5
    assert 8.5 < changed.max() <= 9.0


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5])
def test_the_ratio_to_the_noise_is_that_asked_for(snr_db: float) -> None:
    torch.manual_seed(0)
    samples = 0.2 * torch.randn(3, 4000).sign()  # as loud from the first sample on
    noise = with_noise(samples, torch.randn(3, 4000), torch.full((3,), snr_db)) - samples
    ratio_db = 10 * torch.log10(samples.square().sum(dim=1) / noise.square().sum(dim=1))
    torch.testing.assert_close(ratio_db, torch.full((3,), snr_db), rtol=0, atol=1e-3)


def test_noise_follows_the_level_so_far() -> None:
    samples = torch.cat([torch.zeros(1, 500), torch.full((1, 500), 0.3)], dim=1)
    noise = with_noise(samples, torch.ones(1, 1000), torch.zeros(1)) - samples
    expected = [math.sqrt(sum(samples[0, : n + 1] ** 2) / (n + 1)) for n in (499, 500, 749, 999)]
    torch.testing.assert_close(noise[0, [499, 500, 749, 999]], torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_mu_law_gives_the_nearest_of_its_255_levels() -> None:
    x = torch.linspace(-1.2, 1.2, 4801)
    code = np.arange(-127, 128)
    levels = np.sign(code) * (256.0 ** (np.abs(code) / 127) - 1) / 255
    inside = x.clamp(-1, 1).double().numpy()
    compressed = np.sign(inside) * np.log(1 + 255 * np.abs(inside)) / np.log(256)
    nearest = np.abs(compressed[:, None] * 127 - code).argmin(axis=1)
    np.testing.assert_allclose(mu_law(x), levels[nearest], atol=1e-6)
    assert mu_law(torch.zeros(1)) == 0


@pytest.mark.parametrize("length", [1, 5, 300])
@pytest.mark.parametrize("n_samples", [1, 128, 300])
def test_filtering_is_convolution(length: int, n_samples: int) -> None:
    torch.manual_seed(0)
    samples, responses = torch.randn(2, n_samples), torch.randn(2, length)
    found = filtered(samples, responses)
    for row, response, expected in zip(samples, responses, found, strict=True):
        np.testing.assert_allclose(expected, np.convolve(row, response)[:n_samples], atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_telephone_passes_its_band_without_delay(rate: int) -> None:
    response = telephone_response(rate)[0]
    decibel = 20 * torch.log10(torch.fft.rfft(response, rate).abs())  # by hertz
    torch.testing.assert_close(decibel[[300, 1000, 3400]], torch.tensor([-3.01, 0.0, -3.01]), rtol=0, atol=0.1)
    assert decibel[100] < -35
    assert response.abs().argmax() < rate / 1000  # within a millisecond
    assert response[-1].abs() < 1e-4 * response.abs().max()


def test_a_room_answers_after_the_direct_sound_and_decays_as_asked() -> None:
    torch.manual_seed(0)
    response = room_response(torch.full((300,), 2000.0), torch.full((300,), 6.0), torch.randn(300, 1499))
    assert (response[:, 0] == 1).all()
    torch.testing.assert_close(10 * torch.log10(response[:, 1:].square().sum(dim=1)), torch.full((300,), -6.0))
    early, late = (response[:, n : n + 100].square().mean().log10() * 10 for n in (100, 1100))
    assert late - early == pytest.approx(-30, abs=0.5)  # half of 60 dB in half of the time


def test_drop_out_takes_one_stretch_and_leaves_the_rest() -> None:
    config = AugmentationConfig(dropout_probability=1.0, dropout_seconds=(0.01, 0.02))
    for row in augmented(torch.ones(50, 4000), config):
        lost = (row == 0).nonzero().flatten()
        assert 159 <= len(lost) <= 320
        assert len(lost) == lost[-1] - lost[0] + 1
        assert (row[row != 0] == 1).all()


@pytest.mark.parametrize("name", ["reverberation_seconds", "noise_snr_db", "gain_db", "dropout_seconds"])
def test_a_falling_range_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}.*give the lower value first"):
        AugmentationConfig.model_validate({name: (0.5, 0.2)})
