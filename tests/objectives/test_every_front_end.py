"""Every objective on every front end."""

import math

import pytest
import torch
from small import ENCODER, HOP, batch, tones, train

from ssl_tt.encoder.config import FrontEndConfig, JoinedConfig, LogMelConfig, ProsodyConfig, WaveformConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.normalised import corpus_statistics, normalised
from ssl_tt.objectives import build
from ssl_tt.objectives.config import APCConfig, CPCConfig, ObjectiveConfig, VAEConfig, VQVAE2Config, VQVAEConfig
from ssl_tt.objectives.objective import Objective

LOGMEL, WAVEFORM = LogMelConfig(mel_bands=16), WaveformConfig(channels=24)
FEATURES = ProsodyConfig(rate_window_frames=20)
FRONTENDS: dict[str, FrontEndConfig] = {
    "waveform": WAVEFORM,
    "features": FEATURES,
    "logmel and features": JoinedConfig(parts=(LOGMEL, FEATURES)),
    "waveform and logmel": JoinedConfig(parts=(WAVEFORM, LOGMEL)),
}
TRAINED: dict[str, ObjectiveConfig] = {
    "cpc": CPCConfig(context="conv", context_channels=20, context_layers=2, steps=3, negative_count=16),
    "vqvae": VQVAEConfig(codes=32, code_channels=8),
}
OBJECTIVES: dict[str, ObjectiveConfig] = {
    **TRAINED,
    "apc": APCConfig(context="conv", context_channels=20, context_layers=2),
    "vae": VAEConfig(latent_channels=8),
    "vqvae2": VQVAE2Config(codes=32, code_channels=8),
}
frontends = pytest.mark.parametrize("frontend", FRONTENDS.values(), ids=FRONTENDS.keys())
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def made(frontend: FrontEndConfig, objective: ObjectiveConfig) -> Objective:
    torch.manual_seed(0)
    encoder = Encoder(ENCODER.model_copy(update={"frontend": frontend}))
    for each in normalised(encoder):
        each.set_statistics(*corpus_statistics(each, tones(4)))
    return build(objective, encoder)


@frontends
@pytest.mark.parametrize("objective", TRAINED.values(), ids=TRAINED.keys())
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_an_objective_overfits_one_batch(frontend: FrontEndConfig, objective: ObjectiveConfig, autocast: bool) -> None:
    model = made(frontend, objective)
    losses = train(model, batch(windows=2), steps=100, autocast=autocast)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.5 * losses[0]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@frontends
@objectives
@torch.no_grad()
def test_representations_are_causal_and_any_chunking_equals_the_whole(
    frontend: FrontEndConfig, objective: ObjectiveConfig
) -> None:
    model = made(frontend, objective)
    model(batch())
    model.eval()
    now, cut = tones(3)[:, 0], 17
    other = now.clone()
    other[:, cut * HOP :] = tones(3, seed=1)[:, 0, cut * HOP :]
    before, _ = model.representations(now)
    after, _ = model.representations(other)
    state, chunks = None, []
    for chunk in now.split([7 * HOP, HOP, HOP, 20 * HOP, 11 * HOP], dim=1):
        outputs, state = model.representations(chunk, state)
        chunks.append(outputs)
    for key, whole in before.items():
        assert torch.equal(whole[:, :cut], after[key][:, :cut])
        assert not torch.equal(whole[:, cut:], after[key][:, cut:])
        torch.testing.assert_close(torch.cat([chunk[key] for chunk in chunks], dim=1), whole, rtol=1e-4, atol=1e-5)


@frontends
@objectives
@torch.no_grad()
def test_what_a_report_draws_is_the_log_mel(frontend: FrontEndConfig, objective: ObjectiveConfig) -> None:
    model = made(frontend, objective).eval()
    samples = tones(2)[:, 0]
    drawn = model.diagnostics(samples)
    bands = 16 if "logmel" in str(frontend) else 80
    assert drawn["input"].shape == (2, 80, bands)
    assert torch.equal(drawn["input"], model.encoder.log_mel(samples)[0])
    assert drawn["input"].mean().abs() < 1  # normalised by statistics of its own
    for made_of_it in drawn.keys() & {"reconstruction", "prediction"}:
        assert drawn[made_of_it].shape == drawn["input"].shape


@frontends
@pytest.mark.parametrize("name", ["vae", "vqvae", "vqvae2"])
def test_the_first_loss_of_an_autoencoder_is_the_variance_of_the_log_mel(frontend: FrontEndConfig, name: str) -> None:
    model, data = made(frontend, OBJECTIVES[name]), batch()
    log_mel, _ = model.encoder.log_mel(data.samples.flatten(0, 1))
    torch.testing.assert_close(model(data).parts["reconstruction"], log_mel.square().mean())
