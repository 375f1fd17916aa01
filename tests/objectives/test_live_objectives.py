"""Whole objectives live: every representation, whatever the chunks."""

import pytest
import torch
from torch import Tensor

from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.objectives import build
from ssl_tt.objectives.config import (
    APCConfig,
    CPCConfig,
    CPCPart,
    JointConfig,
    ObjectiveConfig,
    QuantizerConfig,
    VAEConfig,
    VQVAE2Config,
    VQVAE2Part,
    VQVAEConfig,
    VQVAEPart,
)
from ssl_tt.objectives.objective import Objective
from tests.encoder.states import held_bytes
from tests.objectives.small import ENCODER, HOP, tones

OBJECTIVES: dict[str, ObjectiveConfig] = {
    "cpc lstm": CPCConfig(context="lstm", context_channels=12),
    "cpc two lstms": CPCConfig(context="lstm", context_channels=12, context_layers=2),
    "cpc gru": CPCConfig(context="gru", context_channels=12, context_layers=2),
    "cpc conv": CPCConfig(context="conv", context_channels=12, context_layers=3),
    "cpc none": CPCConfig(context="none", targets="prelayer"),
    "cpc of both": CPCConfig(context="gru", context_channels=12, predict_from="both"),
    "cpc of codes": CPCConfig(context="gru", context_channels=12, quantizer=QuantizerConfig(codes=8, code_channels=6)),
    "apc": APCConfig(context="gru", context_channels=12),
    "vae": VAEConfig(latent_channels=6),
    "vqvae": VQVAEConfig(codes=8, code_channels=6),
    "vqvae of groups": VQVAEConfig(codes=8, code_channels=6, groups=2, distance="cosine"),
    "vqvae2": VQVAE2Config(codes=8, code_channels=6, top_channels=10),
    "joint": JointConfig(
        parts={
            "cpc": CPCPart(context="gru", context_channels=12),
            "conv": CPCPart(context="conv", context_channels=12, context_layers=2),
            "vqvae": VQVAEPart(codes=8, code_channels=6),
            "vqvae2": VQVAE2Part(codes=8, code_channels=6, top_channels=10),
        }
    ),
}


def small(name: str, dtype: torch.dtype = torch.float64) -> Objective:
    torch.manual_seed(0)
    return build(OBJECTIVES[name], Encoder(ENCODER)).to(dtype)


def pushed(stream: Stream[dict[str, Tensor]], audio: Tensor, cuts: list[int]) -> dict[str, Tensor]:
    pieces = [stream.push(chunk) for chunk in audio.tensor_split(cuts, dim=1)]
    return {name: torch.cat([piece[name] for piece in pieces], dim=1) for name in pieces[0]}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_any_chunking_equals_the_whole(name: str, dtype: torch.dtype, tolerance: float) -> None:
    objective, audio = small(name, dtype), tones(1)[0].to(dtype)
    with torch.no_grad():
        whole, _ = objective.eval().representations(audio)
    objective.train()
    for cuts in ([], [1, 100, HOP, HOP + 1, 5000, 5000, 9001], list(range(HOP, audio.shape[1], HOP))):
        found = pushed(Stream(objective, 16000), audio, cuts)
        assert found.keys() == whole.keys()
        for representation, frames in found.items():
            torch.testing.assert_close(frames, whole[representation], rtol=0, atol=tolerance)
            assert not frames.requires_grad
    assert objective.training
    assert objective.encoder.training


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("n_before", [10 * HOP, 10 * HOP + 123])
def test_a_row_starts_anew_while_the_others_go_on(name: str, n_before: int) -> None:
    objective = small(name)
    before, after = tones(2, speakers=2, frames=12).double().flatten(0, 1).tensor_split([n_before], dim=1)
    stream, undisturbed, fresh = Stream(objective), Stream(objective), Stream(objective)
    stream.push(before)
    undisturbed.push(before)
    stream.reset([1, 3])
    found, expected = stream.push(after), undisturbed.push(after)
    # The frame under way when a row starts anew, that of the slowest level, begins with zeros.
    n_zeros = n_before % objective.cycle_samples
    began = fresh.push(torch.cat((torch.zeros(2, n_zeros).double(), after[[1, 3]]), dim=1))
    for representation, frames in found.items():
        assert torch.equal(frames[[0, 2]], expected[representation][[0, 2]])
        torch.testing.assert_close(frames[[1, 3]], began[representation][:, n_zeros // HOP :], rtol=0, atol=1e-10)
    assert not torch.equal(found["encoder"][[1, 3]], expected["encoder"][[1, 3]])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_memory_of_a_stream_does_not_grow(name: str) -> None:
    stream = Stream(small(name))

    # Both are whole cycles of an objective whose top level has a frame for every four of the encoder.
    for _ in range(32):
        stream.push(torch.zeros(1, HOP))
    earlier = held_bytes(stream.state)
    for _ in range(32):
        stream.push(torch.zeros(1, HOP))
    assert held_bytes(stream.state) <= earlier


def test_heads_can_be_trained_on_what_a_stream_gives() -> None:
    frames = Stream(small("cpc lstm")).push(tones(1)[0])["context"]
    head = torch.nn.Linear(12, 1).double()
    head(frames).sum().backward()
    assert head.weight.grad is not None
