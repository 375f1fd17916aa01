import math

import pytest
import torch
from small import batch, encoder, tones
from torch.distributions import Normal, kl_divergence

from ssl_tt.objectives import build
from ssl_tt.objectives.config import VAEConfig
from ssl_tt.objectives.vae import VAE, divergence_from_unit_gaussian


def vae(**changes: float) -> VAE:
    objective = build(VAEConfig(latent_channels=8, **changes), encoder())
    assert isinstance(objective, VAE)
    return objective


def test_the_divergence_is_that_of_gaussians():
    assert divergence_from_unit_gaussian(torch.zeros(3), torch.zeros(3)).eq(0).all()
    known = divergence_from_unit_gaussian(torch.tensor([2.0, 0.0]), torch.tensor([0.0, math.log(4.0)]))
    torch.testing.assert_close(known, torch.tensor([2.0, 0.5 * (4 - 1 - math.log(4.0))]))
    mean, log_variance = torch.randn(50), torch.randn(50)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence_from_unit_gaussian(mean, log_variance), expected)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_first_loss_is_the_evidence_lower_bound_of_the_mean_of_the_corpus(beta):
    objective, data = vae(beta=beta), batch()
    loss = objective(data)
    samples = data.samples.flatten(0, 1)
    log_mel, _ = objective.encoder.log_mel(samples)
    z, _ = objective.encoder(samples)
    posterior = Normal(objective.mean(z), (0.5 * objective.log_variance(z)).exp())
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=2).mean()
    torch.testing.assert_close(loss.parts["reconstruction"], log_mel.square().mean())
    torch.testing.assert_close(loss.parts["divergence"], divergence)
    # Nats of a frame of 2 * 16 values, of a decoder of variance 1, without its constant.
    n_values = 32
    bound = 0.5 * log_mel.square().mean() * n_values + beta * divergence
    torch.testing.assert_close(loss.total, bound / (n_values / 2))


def test_a_posterior_that_is_the_prior_costs_nothing():
    objective = vae()
    for layer in (objective.mean, objective.log_variance):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    loss = objective(batch())
    assert loss.parts["divergence"] == 0
    assert loss.parts["active_channels"] == 0
    assert torch.equal(loss.total, loss.parts["reconstruction"])


def test_beta_rises_over_the_optimizer_steps_is_saved_and_is_whole_in_validation():
    objective = vae(beta=2.0, beta_warmup_steps=4)
    found = []
    for _ in range(6):
        objective(batch(windows=2))
        found.append(objective(batch(windows=2)).parts["beta"].item())  # two batches make one step
        objective.after_optimizer_step()
    assert found == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    objective = vae(beta=2.0, beta_warmup_steps=4)
    objective.after_optimizer_step()
    resumed = vae(beta=2.0, beta_warmup_steps=4)
    resumed.load_state_dict(objective.state_dict())
    assert resumed.beta == objective.beta == 0.5
    assert objective.eval().beta == 2.0
    assert vae(beta=2.0).beta == 2.0


def test_free_nats_cost_as_much_as_their_bound_and_pull_no_channel_below_it():
    data, objective = batch(), vae(beta=1.0, free_nats=50.0)
    loss = objective(data)
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 8 * 50.0 / 16)
    loss.total.backward()
    assert not objective.log_variance.weight.grad.any()  # the decoder, still zero, does not pull either
    loss = vae(beta=1.0, free_nats=1e-9)(data)
    torch.manual_seed(0)
    torch.testing.assert_close(loss.total, vae(beta=1.0)(data).total)


def test_the_latent_is_the_mean_and_training_adds_noise_to_it():
    objective, data = vae(), batch()
    torch.nn.init.normal_(objective.decoder.stacks[0].output.weight)
    errors = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        errors.append(objective(data).parts["reconstruction"].item())
    assert errors[0] == errors[1] != errors[2]
    objective.eval()
    samples = tones(2)[:, 0]
    with torch.no_grad():
        found, _ = objective.representations(samples)
        assert torch.equal(found["latent"], objective.mean(found["encoder"]))
        reconstruction = objective.diagnostics(samples)["reconstruction"]
        torch.testing.assert_close(reconstruction, objective.decoder(found["latent"]))
