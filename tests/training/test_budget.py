"""What equal work means: counted operations, the same for every objective that a recipe compares."""

import pytest
import torch

from ssl_tt.data.config import DataConfig
from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.config import APCConfig, CPCConfig, ObjectiveConfig, VQVAEConfig
from ssl_tt.training.budget import steps, window_operations
from ssl_tt.training.config import CompareRecipe, TrainingConfig

ENCODER = EncoderConfig(channels=16, output_channels=16, stacks=(StackConfig(kernel=3, dilations=(1, 3)),))
DATA = DataConfig(pretrain=("corpus",), window_seconds=2.0)


def recipe(budget: str, **objectives: ObjectiveConfig) -> CompareRecipe:
    return CompareRecipe(
        name="budget",
        data=DATA,
        encoder=ENCODER,
        training=TrainingConfig(steps=100),
        objectives=objectives,
        budget=budget,
    )


def operations(objective: ObjectiveConfig) -> float:
    return window_operations(recipe("steps", it=objective), objective)


def test_equal_steps_are_the_steps_of_training() -> None:
    compared = recipe("steps", small=APCConfig(context="none"), large=VQVAEConfig(decoder_channels=64))
    assert steps(compared) == {"small": 100, "large": 100}


def test_equal_operations_come_as_near_as_a_step_to_what_the_first_objective_spends() -> None:
    compared = recipe(
        "operations", first=VQVAEConfig(), small=APCConfig(context="none"), large=VQVAEConfig(decoder_channels=64)
    )
    planned = steps(compared)
    assert planned["first"] == 100
    assert planned["small"] > 100 > planned["large"] >= 1
    budget = 100 * operations(compared.objectives["first"])
    for name, objective in compared.objectives.items():
        assert abs(planned[name] * operations(objective) - budget) <= operations(objective) / 2


def test_an_encoder_costs_three_times_its_multiplications() -> None:
    # Forward, to the weights and to the input; the first layer has no use for the last. The predictor of APC is small.
    channels = ENCODER.model_copy(update={"channels": 256})
    wide = recipe("steps", it=APCConfig(context="none")).model_copy(update={"encoder": channels})
    encoder = Encoder(channels)
    weights = sum(weight.numel() for weight in encoder.parameters() if weight.ndim > 1)
    forward = 2 * 2 * DATA.window_seconds * encoder.frame_rate_hz * weights  # two channels, a product and a sum
    assert window_operations(wide, wide.objectives["it"]) == pytest.approx(3 * forward, rel=0.1)


@pytest.mark.parametrize("context", ["lstm", "gru"])
def test_a_recurrent_context_is_counted(context: str) -> None:
    gates = {"lstm": 4, "gru": 3}[context]
    frames = 2 * DATA.window_seconds * 50
    without, with_one, with_two = (
        operations(CPCConfig(context=context, context_channels=32, context_layers=layers, steps=1))  # type: ignore[arg-type]
        if layers
        else operations(CPCConfig(context="none", targets="prelayer", steps=1))
        for layers in (0, 1, 2)
    )
    of_a_layer = 3 * 2 * frames * gates * (32 * 32 + 32 * 32)
    assert with_one > without
    assert with_two - with_one == pytest.approx(of_a_layer, rel=0.02)


def test_counting_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    before, enabled = torch.random.get_rng_state(), torch.backends.mkldnn.is_available()
    flag = torch._C._get_mkldnn_enabled()
    operations(VQVAEConfig())
    assert torch.equal(before, torch.random.get_rng_state())
    assert (torch._C._get_mkldnn_enabled(), torch.backends.mkldnn.is_available()) == (flag, enabled)
