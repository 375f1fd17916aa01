import pytest
import torch

from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.receptive_field import receptive_field
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig, VQVAE2Config, VQVAEConfig
from ssl_tt.training.cost import representation_cost
from tests.training.test_features import SMALL


def test_the_encoders_output_costs_the_encoder() -> None:
    encoder = Encoder(SMALL)
    objective = build(CPCConfig(steps=2, context_channels=5), encoder)
    for name in ("encoder", "stack1.block1"):
        cost = representation_cost(objective, name)
        assert cost["parameters"] == encoder.parameter_count
        assert cost["macs_per_second_of_audio"] == encoder.macs_per_second
        assert cost["receptive_field_ms"] == receptive_field(encoder).span_ms
        assert cost["lookahead_ms"] == 0


def test_a_recurrent_context_adds_its_weights_and_sees_without_end() -> None:
    objective = build(CPCConfig(steps=2, context_channels=5), Encoder(SMALL))
    cost = representation_cost(objective, "context")
    lstm = objective.get_submodule("context")
    assert cost["parameters"] == objective.encoder.parameter_count + sum(p.numel() for p in lstm.parameters())
    weights = 4 * 5 * (12 + 5)
    assert cost["macs_per_second_of_audio"] == pytest.approx(objective.encoder.macs_per_second + 50 * weights)
    assert cost["receptive_field_ms"] is None


def test_a_convolutional_context_sees_as_far_as_its_gradient() -> None:
    torch.manual_seed(0)
    objective = build(CPCConfig(steps=2, context="conv", context_layers=3, context_channels=8), Encoder(SMALL))
    frames = 2 * (1 + 3 + 9)
    expected = receptive_field(objective.encoder).span_ms + frames * 20
    assert representation_cost(objective, "context")["receptive_field_ms"] == pytest.approx(expected, abs=1)


def test_each_level_costs_its_weights_at_its_own_rate() -> None:
    objective = build(VQVAE2Config(codes=16, code_channels=4, top_channels=6, top_blocks=1), Encoder(SMALL))
    cost = representation_cost(objective, "bottom")
    block = 3 * 6 * 6 + 6 * 6
    at_frames = 12 * 6 + (4 * 6 + block) + (12 + 6) * 4  # into the top, its decoder, the projection
    at_top = 8 * 6 * 6 + block + 6 * 4
    expected = objective.encoder.macs_per_second + 50 * at_frames + 50 / 4 * at_top
    assert cost["macs_per_second_of_audio"] == pytest.approx(expected)


def test_the_top_level_sees_further_than_the_encoder() -> None:
    torch.manual_seed(0)
    objective = build(VQVAE2Config(codes=16, code_channels=4, top_channels=16, top_blocks=1), Encoder(SMALL))
    expected = receptive_field(objective.encoder).span_ms + (7 + 4 * 2) * 20  # strided kernel of 8, then one of 3
    assert representation_cost(objective, "top")["receptive_field_ms"] == pytest.approx(expected, abs=1)


def test_codes_cost_the_projection_and_see_what_the_encoder_sees() -> None:
    objective = build(VQVAEConfig(codes=16, code_channels=4), Encoder(SMALL))
    cost = representation_cost(objective, "codes")
    assert cost["parameters"] == objective.encoder.parameter_count + 12 * 4 + 4
    assert cost["receptive_field_ms"] == receptive_field(objective.encoder).span_ms
