"""Predictors make more of the context at each step ahead, and nothing of what comes after it."""

import math

import pytest
import torch
from pydantic import ValidationError
from small import batch, encoder
from torch import Tensor

from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPC2Config, CPCConfig, IndependentAugmentation
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.predictors import CausalTransformer, Predictor, Rollout, build_predictor

KINDS = ("linear", "mlp", "recurrent", "transformer")
AHEAD = (1, 2, 3)
kinds = pytest.mark.parametrize("kind", KINDS)


def config(kind: str, **more: object) -> CPCConfig:
    settings = {"predictor": kind, "context_channels": 16, "steps": 3, "negative_count": 16}
    return CPCConfig.model_validate({**settings, **more})


def predictor(kind: str) -> Predictor:
    torch.manual_seed(0)
    return build_predictor(config(kind), 16)


def known(kind: str, context: Tensor, temperature: float = 1.0) -> list[Tensor]:
    with torch.no_grad():
        return list(predictor(kind)(context, AHEAD, temperature))


@kinds
def test_the_first_loss_is_near_the_logarithm_of_negatives_plus_one_and_equal_to_it_at_zero_weights(kind: str) -> None:
    objective = build(config(kind), encoder())
    assert isinstance(objective, CPC)
    # A transformer ends in a norm, so its first scores vary by about 1, the others' by little.
    near = 0.5 if kind == "transformer" else 0.1
    assert objective(batch()).total.item() == pytest.approx(math.log(17), abs=near)
    for linear in objective.predictors.parameters():
        torch.nn.init.zeros_(linear)
    assert objective(batch()).total.item() == pytest.approx(math.log(17), abs=1e-6)


@kinds
def test_nothing_known_depends_on_later_context(kind: str) -> None:
    now, cut = torch.randn(2, 12, 16), 5
    other = torch.cat([now[:, :cut], torch.randn(2, 7, 16)], dim=1)
    for frames, before, after in zip(AHEAD, known(kind, now), known(kind, other), strict=True):
        assert before.shape == (2, 12 - frames, 16)
        torch.testing.assert_close(before[:, :cut], after[:, :cut], rtol=0, atol=1e-6)
        assert not torch.allclose(before[:, cut:], after[:, cut:])


@kinds
def test_the_temperature_divides(kind: str) -> None:
    context = torch.randn(2, 12, 16)
    for plain, divided in zip(known(kind, context), known(kind, context, temperature=0.25), strict=True):
        torch.testing.assert_close(divided, 4 * plain)


def test_a_recurrent_predictor_makes_each_step_of_the_one_before() -> None:
    rollout, context = predictor("recurrent"), torch.randn(1, 12, 16)
    assert isinstance(rollout, Rollout)
    steps = known("recurrent", context)
    with torch.no_grad():
        for t in range(9):
            state = context[0, t]
            for step in steps:
                state = rollout.cell(state, state)
                torch.testing.assert_close(step[0, t], state)


def test_a_transformer_attends_to_so_many_frames_weighed_by_distance() -> None:
    torch.manual_seed(0)
    layer, x = CausalTransformer(16, frames=3), torch.randn(1, 7, 16)
    torch.nn.init.normal_(layer.distance)
    with torch.no_grad():
        found = layer(x)[0]
        for t in range(7):
            seen = range(max(0, t - 2), t + 1)
            heads = []
            for head in range(8):
                q, k, v = (layer.project(x[0])[:, 16 * i + 2 * head : 16 * i + 2 * head + 2] for i in range(3))
                scores = torch.stack([q[t] @ k[u] / math.sqrt(2) + layer.distance[head, t - u] for u in seen])
                heads.append(scores.softmax(dim=0) @ v[list(seen)])
            y = layer.norm(x[0, t] + layer.join(torch.cat(heads)))
            torch.testing.assert_close(found[t], layer.end_norm(y + layer.feed_forward(y)))


def test_each_horizon_has_predictors_of_its_own_and_steps_of_its_size() -> None:
    settings = CPC2Config(horizons=(1, 4), steps=3, context_channels=16, predictor="recurrent", negative_count=1000)
    assert settings.frames_ahead == ((1, 2, 3), (4, 8, 12))
    objective = build(settings, encoder())
    assert isinstance(objective, CPC)
    first, second = objective.horizons
    assert not torch.equal(first.cell.weight_ih, second.cell.weight_ih)
    drawn = objective.diagnostics(batch(windows=1).samples[0])
    assert drawn["frames_ahead"].tolist() == [1, 2, 3, 4, 8, 12]
    assert drawn["loss_by_step"].shape == drawn["accuracy_by_step"].shape == (6,)


def test_one_horizon_without_augmentation_is_cpc() -> None:
    off = IndependentAugmentation.model_validate(
        {f"{name}_probability": 0.0 for name in ("noise", "gain", "band", "mu_law", "dropout")}
    )
    assert not off.active
    losses = []
    for settings in (
        CPCConfig(context_channels=16, steps=3, step_frames=2),
        CPC2Config(context_channels=16, steps=3, horizons=(2,), augment_past=off, augment_future=off),
    ):
        objective = build(settings, encoder())
        torch.manual_seed(0)
        losses.append(objective(batch()).total)
    assert torch.equal(*losses)


@pytest.mark.parametrize("which", ["augment_past", "augment_future"])
def test_past_and_future_are_augmented_each_by_itself_and_in_training_alone(which: str) -> None:
    # All of the audio is lost, so what is encoded is silence.
    lost = {"dropout_probability": 1.0, "dropout_seconds": (60.0, 60.0)}
    objective = build(config("linear", negative_count=1000, **{which: lost}), encoder())
    assert isinstance(objective, CPC)
    data = batch(windows=2)
    samples = data.samples.flatten(0, 1)
    silence = torch.zeros_like(samples)
    past, future = (silence, samples) if which == "augment_past" else (samples, silence)
    for training in (True, False):
        objective.train(training)
        z, context, _ = objective._encode(past, 2, future) if training else objective._encode(samples, 2)
        candidates, pool, _ = objective._draw(z, data)
        losses, _, _ = objective._scores(z, context, candidates.flatten(0, 1)[pool.frames], pool)
        torch.testing.assert_close(objective(data).total, losses.mean())


@pytest.mark.parametrize(
    ("kind", "given", "refusal"),
    [
        (CPCConfig, {"attention_frames": 8}, 'attention_frames is for predictor = "transformer"'),
        (CPC2Config, {"horizons": (4, 1)}, "horizons .*the shortest first"),
        (CPC2Config, {"horizons": (4, 4)}, "horizons .*each once"),
    ],
)
def test_settings_that_say_nothing_are_refused(kind: type[CPCConfig], given: dict[str, object], refusal: str) -> None:
    with pytest.raises(ValidationError, match=refusal):
        kind.model_validate(given)


def test_the_attention_of_the_recipe_is_used() -> None:
    objective = build(config("transformer", attention_frames=7), encoder())
    layers = [module for module in objective.modules() if isinstance(module, CausalTransformer)]
    assert [layer.distance.shape[1] for layer in layers] == [7, 7, 7]
