"""WaveNet as the decoder of VQ-VAE: samples from codes, and what it learns of a tone."""

import math

import pytest
import torch
from small import ENCODER, HOP, batch, encoder, tones

from ssl_tt import recipe
from ssl_tt.data import companding
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import VQVAEConfig, WaveNetConfig
from ssl_tt.objectives.wavenet import LEVELS, WaveNet
from ssl_tt.training.config import PretrainRecipe

SMALL = WaveNetConfig(dilations=(1, 2, 4, 8), cycles=1, train_frames=5)


def vqvae(**changes):
    config = SMALL.model_copy(update=changes)
    return build(VQVAEConfig(codes=32, code_channels=8, decoder_channels=12, decoder=config), encoder())


# --- The decoder


def test_the_first_loss_is_that_of_256_equal_classes():
    loss = vqvae()(batch())
    torch.testing.assert_close(loss.parts["reconstruction"], torch.tensor(math.log(256)))
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 0.25 * loss.parts["commitment"])


def test_a_sample_knows_the_code_of_its_own_frame_and_no_later_one():
    torch.manual_seed(0)
    decoder = WaveNet(SMALL, ENCODER, 8, 12)
    torch.nn.init.normal_(decoder.samples.output.weight)
    samples = tones(1, frames=6)[0]
    codes, other = torch.randn(2, 2, 6, 8)
    changed = torch.cat([codes[:, :3], other[:, 3:]], dim=1)
    with torch.no_grad():
        before, after = decoder(codes, samples), decoder(changed, samples)
        assert torch.equal(before[:, : 3 * HOP], after[:, : 3 * HOP])
        assert not torch.isclose(before[:, 3 * HOP :], after[:, 3 * HOP :], rtol=0, atol=1e-4).any(dim=0).all()
        assert (before[:, 3 * HOP] - after[:, 3 * HOP]).abs().min() > 1e-3
        drawn = [decoder.generate(each[:, :1], torch.Generator().manual_seed(0)) for each in (codes, other)]
    assert drawn[0].shape == (2, HOP)
    assert not torch.equal(*drawn)


def test_noise_is_on_what_is_heard_in_training_and_never_on_what_is_told():
    torch.manual_seed(0)
    decoder = WaveNet(SMALL.model_copy(update={"input_noise": 0.05}), ENCODER, 8, 12)
    torch.nn.init.normal_(decoder.samples.output.weight)
    samples, codes = tones(1, frames=6)[0], torch.randn(2, 6, 8)
    values = decoder.to_values(samples)
    with torch.no_grad():
        noisy, again = decoder(codes, samples), decoder(codes, samples)
        clean = decoder.eval()(codes, samples)
        torch.manual_seed(3)
        heard = decoder.to_values(decoder._through_noise(samples))
        torch.manual_seed(3)
        expected = decoder.train()(codes, samples)
        # The same answers, after other samples.
        assert torch.equal(expected, decoder.samples(values, codes, heard))
        assert torch.equal(clean, decoder.samples(values, codes))
    # The first sample has none before it.
    assert torch.equal(noisy[:, 0], clean[:, 0])
    assert not torch.equal(noisy, again)
    assert decoder._through_noise(torch.ones(50, 50)).abs().max() <= 1
    levels = companding.compress(decoder._through_noise(torch.zeros(400, 500))).std(dim=1)
    assert levels.max() < 0.054
    assert levels.mean() == pytest.approx(0.025, rel=0.1)


def test_a_step_decodes_a_piece_of_each_window_that_the_generator_draws():
    objective = vqvae().eval()
    torch.nn.init.normal_(objective.decoder.samples.output.weight)
    data = batch()
    with torch.no_grad():
        losses = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            losses.append(objective(data).parts["reconstruction"])
        assert torch.equal(losses[0], losses[1])
        assert not torch.equal(losses[0], losses[2])
        # A piece of a window alone: its first sample follows silence.
        decoder, codes = objective.decoder, torch.randn(8, 40, 8)
        torch.manual_seed(7)
        found = decoder.error(codes, torch.zeros(8, 80, 16), data.samples.flatten(0, 1))
        torch.manual_seed(7)
        starts = torch.randint(40 - 5 + 1, (8, 1)).flatten().tolist()
        pieces = [
            decoder(codes[i : i + 1, at : at + 5], data.samples.flatten(0, 1)[i : i + 1, at * HOP : (at + 5) * HOP])
            for i, at in enumerate(starts)
        ]
    torch.testing.assert_close(found, torch.cat(pieces).mean())


def test_all_of_a_window_is_decoded_if_it_is_no_longer_than_a_piece():
    objective = vqvae(train_frames=8).eval()
    data = batch(windows=1, frames=8)
    generator = torch.get_rng_state()
    with torch.no_grad():
        loss = objective(data)
        codes = objective.diagnostics(data.samples[0])["codes"]
        whole = objective.decoder(objective.quantizer.vectors_of(codes), data.samples[0])
    torch.testing.assert_close(loss.parts["reconstruction"], whole.mean())
    assert torch.equal(generator, torch.get_rng_state())


def test_who_speaks_is_told_by_the_mean_log_mel_and_to_every_sample():
    objective = vqvae(speaker_channels=4).eval()
    decoder = objective.decoder
    torch.nn.init.normal_(decoder.samples.output.weight)
    samples, codes = tones(1, frames=6)[0], torch.randn(2, 6, 8)
    log_mel = torch.randn(2, 12, 16)
    with torch.no_grad():
        told = decoder(codes, samples, log_mel)
        torch.testing.assert_close(decoder(codes, samples, log_mel.flip(1)), told)
        assert not torch.equal(decoder(codes, samples, log_mel + 1)[:, :HOP], told[:, :HOP])
        # Nobody in particular is the mean of the corpus.
        assert torch.equal(decoder(codes, samples), decoder(codes, samples, torch.zeros(2, 12, 16)))


@pytest.mark.parametrize("amplitudes", ["mulaw", "logistic"])
def test_every_parameter_learns_and_a_report_is_offered_no_log_mel(amplitudes):
    objective = vqvae(amplitudes=amplitudes, speaker_channels=4)
    torch.nn.init.normal_(objective.decoder.samples.output.weight, std=0.1)  # zero, it hides what lies before it
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(batch()).total
    assert loss.dtype == torch.float32
    loss.backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert set(objective.eval().diagnostics(tones(1)[0])) == {"input", "codes"}


@pytest.mark.parametrize("amplitudes", ["mulaw", "logistic"])
def test_samples_come_back_from_the_integers_that_stand_for_them(amplitudes):
    decoder = WaveNet(SMALL.model_copy(update={"amplitudes": amplitudes}), ENCODER, 8, 12)
    samples = torch.tensor([[-1, -0.3, 0, 1e-4, 0.7, 1]])
    values = decoder.to_values(samples)
    assert values[0, [0, -1]].tolist() == [0, 255 if amplitudes == "mulaw" else LEVELS - 1]
    torch.testing.assert_close(
        decoder.to_samples(values), samples, rtol=0, atol=0.011 if amplitudes == "mulaw" else 1 / LEVELS
    )


@pytest.mark.parametrize(
    ("amplitudes", "steps"),
    [({"amplitudes": "mulaw"}, 150), ({"amplitudes": "logistic", "mixtures": 2}, 300)],
    ids=["mulaw", "logistic"],
)
def test_a_decoder_learns_a_tone_at_8_khz_by_heart_and_plays_it(amplitudes, steps):
    config = EncoderConfig(
        frontend=LogMelConfig(sample_rate_hz=8000, window_samples=200, hop_samples=80, mel_bands=16),
        stacks=(StackConfig(dilations=(1,)),),
    )
    torch.manual_seed(0)
    wavenet = WaveNetConfig(**amplitudes, dilations=(1, 2, 4, 8, 16), cycles=1)
    decoder = WaveNet(wavenet, config, 2, 24)
    assert decoder.hop_samples == 160
    tone = 0.4 * torch.sin(2 * math.pi * 200 * torch.arange(640) / 8000)[None]
    codes = torch.ones(1, 4, 2)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)  # a mixture's loss jumps at a steady rate
    losses = []
    for _ in range(steps):
        loss = decoder.error(codes, torch.zeros(1, 8, 16), tone)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < losses[0] - math.log(30)  # 30 times as sure of each sample
    played = decoder.generate(codes, torch.Generator().manual_seed(0))[0, 160:]
    spectrum = torch.fft.rfft(played * torch.hann_window(480)).abs().square()
    assert int(spectrum.argmax()) == 12  # 200 Hz in bins of 8000 / 480 Hz
    assert spectrum[10:15].sum() > 0.8 * spectrum.sum()


# --- Settings


def test_settings_of_the_decoder_are_used():
    objective = vqvae(kernel=3, dilations=(1, 2), cycles=3, amplitudes="logistic", mixtures=4)
    samples = objective.decoder.samples
    assert [block.dilated.dilation[0] for block in samples.blocks] == [1, 2, 1, 2, 1, 2]
    assert samples.receptive_field == 1 + 2 * 9
    assert samples.channels == 12
    assert samples.output.out_features == 12
    assert vqvae(amplitudes="logistic").decoder.samples.output.out_features == 30


def test_the_decoder_is_chosen_by_its_kind_and_refuses_what_it_does_not_read(tiny_recipe):
    options = ["--objective.kind", "vqvae", "--objective.decoder.kind", "wavenet"]
    experiment = recipe.load(tiny_recipe, PretrainRecipe, [*options, "--objective.decoder.cycles", "1"])
    assert experiment.objective.decoder == WaveNetConfig(cycles=1)
    assert VQVAEConfig().decoder.kind == "logmel"
    with pytest.raises(InputError, match=r'mixtures is read with amplitudes "logistic" alone: leave it out'):
        recipe.load(tiny_recipe, PretrainRecipe, [*options, "--objective.decoder.mixtures", "5"])
    with pytest.raises(InputError, match="cycles"):
        recipe.load(tiny_recipe, PretrainRecipe, ["--objective.kind", "vqvae", "--objective.decoder.cycles", "1"])
