"""Encoder and head as one model, from the samples of both speakers to the logits."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig, ObjectiveConfig, VQVAEConfig
from ssl_tt.training.model import TurnTaking
from ssl_tt.turns.config import FCHeadConfig, HeadConfig, LinearHeadConfig, RNNHeadConfig
from tests.encoder import configs as encoders
from tests.encoder.states import held_bytes, shapes
from tests.objectives.small import ENCODER, HOP, tones
from tests.turns.small_heads import HEADS, awoken

# What a head reads: an encoder alone, or a representation of an objective.
SOURCES: dict[str, tuple[ObjectiveConfig | None, str]] = {
    "encoder": (None, "encoder"),
    "encoder of cpc": (CPCConfig(context_channels=5), "encoder"),
    "lstm": (CPCConfig(context="lstm", context_channels=5, context_layers=2), "context"),
    "gru": (CPCConfig(context="gru", context_channels=5), "context"),
    "conv": (CPCConfig(context="conv", context_channels=5, context_layers=2), "context"),
    "encoder as context": (CPCConfig(context="none", targets="prelayer"), "encoder"),
    "codes": (VQVAEConfig(codes=512, code_channels=4), "codes"),
}


def small(
    source: str = "encoder",
    head: str = "linear",
    encoder: EncoderConfig = ENCODER,
    outputs: int = 2,
    dtype: torch.dtype = torch.float64,
) -> TurnTaking:
    """In eval mode, with answers other than 0."""
    objective, representation = SOURCES[source]
    made = encoders.build(encoder)
    model = TurnTaking(
        build(objective, made) if objective else made, HEADS[head], outputs=outputs, representation=representation
    )
    awoken(model.head)
    return model.to(dtype).eval()


def prove(model: TurnTaking, t: int, cuts: list[int]) -> None:
    """Both proofs of causality, any chunking, a state that does not grow, and speakers that can be swapped."""
    encoder, calls = model.encoder, 2
    n_samples, end = 9 * encoder.hop_samples, (t + 1) * encoder.hop_samples
    samples = encoders.noise(calls, 2, n_samples, dtype=torch.float64).requires_grad_()
    whole, state = model(samples)
    assert whole.shape == (calls, 2, 9, 2)
    if whole.requires_grad:  # not where all that is heard has no gradient
        (gradient,) = torch.autograd.grad(whole[:, 0, t].square().sum(), samples, allow_unused=True)
        assert (gradient is None) == (encoder.config.frontend.kind == "features")
        if gradient is not None:
            assert gradient[:, :, end:].eq(0).all()
    with torch.no_grad():
        for later in (0.5, 1e6, math.nan):
            changed = samples.clone()
            changed[:, :, end:] = later
            assert torch.equal(model(changed)[0][:, :, : t + 1], whole[:, :, : t + 1])
        swapped, _ = model(samples.flip(1))
        torch.testing.assert_close(swapped, whole.flip(1), rtol=0, atol=1e-10)

        past, pieces = None, []
        for chunk in samples.tensor_split(sorted(cut % (n_samples + 1) for cut in cuts), dim=2):
            logits, past = model(chunk, past)
            pieces.append(logits)
        torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=1e-10)
        assert shapes(past) == shapes(state) == shapes(model(samples[..., : encoder.hop_samples])[1])
        assert all(shape[0] == 2 * calls for shape in shapes(past))


# More channels than `encoder_configs` has: of two, their norm would leave little but a sign.
some_encoder = encoders.encoder_configs().map(lambda config: config.model_copy(update={"output_channels": 4}))
some_cuts = st.lists(st.integers(0, 10**6), max_size=6)


@settings(max_examples=60, deadline=None)
@given(some_encoder, st.sampled_from(list(SOURCES)), st.sampled_from(list(HEADS)), st.integers(0, 7), some_cuts)
def test_any_encoder_context_and_head_are_causal_live_and_symmetric(
    encoder: EncoderConfig, source: str, head: str, t: int, cuts: list[int]
) -> None:
    prove(small(source, head, encoder), t, cuts)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_context_and_head_are_causal_live_and_symmetric(source: str, head: str) -> None:
    prove(small(source, head, encoders.SMALL["two stacks added"]), t=5, cuts=[0, 1, 1, 40, 200, 200])


@pytest.mark.parametrize("encoder", encoders.SMALL)
def test_every_small_encoder_with_a_head_is_causal_live_and_symmetric(encoder: str) -> None:
    prove(small("lstm", "lstm", encoders.SMALL[encoder]), t=5, cuts=[0, 1, 1, 40, 200, 200])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("source", SOURCES)
def test_both_speakers_are_heard_up_to_the_end_of_the_frame(source: str, head: str) -> None:
    model = small(source, head)
    samples = tones(1, frames=6).double().requires_grad_()
    logits, _ = model(samples)
    (gradient,) = torch.autograd.grad(logits[:, 0, 4].square().sum(), samples)
    assert gradient[:, :, 4 * HOP : 5 * HOP].ne(0).any(dim=-1).all()
    for speaker in (0, 1):
        changed = samples.detach().clone()
        changed[:, speaker, 4 * HOP : 5 * HOP] = tones(1, frames=1, seed=1)[:, speaker]
        assert (model(changed)[0][:, :, 4] != logits[:, :, 4]).any(dim=-1).all()


# ------------------------------------------------------------------------------------------------------------ live use


def pushed(stream: Stream[Tensor], audio: Tensor, cuts: list[int]) -> Tensor:
    return torch.cat([stream.push(chunk) for chunk in audio.tensor_split(cuts, dim=1)], dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("source", ["encoder", "lstm", "conv"])
def test_a_stream_of_calls_gives_the_logits_of_the_whole(
    source: str, head: str, dtype: torch.dtype, tolerance: float
) -> None:
    model, audio = small(source, head, dtype=dtype), tones(2, frames=20).to(dtype)
    with torch.no_grad():
        whole, _ = model(audio)
    model.train()
    for cuts in ([], [1, 100, HOP, HOP + 1, 5000, 5000], list(range(HOP, audio.shape[2], HOP))):
        logits = pushed(Stream(model, 16000), audio.flatten(0, 1), cuts)
        torch.testing.assert_close(logits.unflatten(0, (2, 2)), whole, rtol=0, atol=tolerance)
        assert not logits.requires_grad
    assert model.training


@pytest.mark.parametrize("n_before", [10 * HOP, 10 * HOP + 123])
@pytest.mark.parametrize("head", ["fc", "lstm"])
def test_a_call_starts_anew_while_the_others_go_on(head: str, n_before: int) -> None:
    model = small("gru", head)
    before, after = tones(3, frames=16).double().flatten(0, 1).tensor_split([n_before], dim=1)
    stream, undisturbed, fresh = Stream(model), Stream(model), Stream(model)
    stream.push(before)
    undisturbed.push(before)
    stream.reset([3, 2])
    found, expected = stream.push(after), undisturbed.push(after)
    # The frame under way when a call starts anew begins with zeros.
    began = fresh.push(torch.cat((torch.zeros(2, n_before % HOP).double(), after[2:4]), dim=1))
    others = [0, 1, 4, 5]
    assert torch.equal(found[others], expected[others])
    torch.testing.assert_close(found[2:4], began, rtol=0, atol=1e-10)
    assert not torch.equal(found[2:4], expected[2:4])


def test_a_head_that_reads_history_streams_with_the_activity_of_the_frames() -> None:
    model = TurnTaking(encoders.build(ENCODER), FCHeadConfig(channels=5, activity_history=True), outputs=2)
    awoken(model.head)
    model = model.double().eval()
    audio, spoken = tones(2, frames=20).double(), torch.rand(2, 20, 2) < 0.5
    with torch.no_grad():
        whole, _ = model(audio, None, spoken)
    stream, rows = Stream(model), spoken.transpose(1, 2).flatten(0, 1)
    pieces = [
        stream.push(audio.flatten(0, 1)[:, start:end], rows[:, start // HOP : end // HOP])
        for start, end in pairwise([0, 100, HOP, 5 * HOP + 1, 5 * HOP + 1, 20 * HOP])
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1).unflatten(0, (2, 2)), whole, rtol=0, atol=1e-10)
    with pytest.raises(InputError, match=r"voice activity none, expected \[2, 1, 2\]"):
        stream.push(audio.flatten(0, 1)[:, :HOP])
    with pytest.raises(InputError, match="given to a model that reads none"):
        Stream(small()).push(audio.flatten(0, 1)[:, :HOP], rows[:, :1])
    # A call that starts anew knows nothing of who spoke before.
    stream.reset([2, 3])
    begun, went_on = (Stream(model).push(audio[i], rows[2 * i : 2 * i + 2]) for i in (1, 0))
    found = stream.push(audio.flatten(0, 1), rows)
    torch.testing.assert_close(found[2:], begun, rtol=0, atol=1e-10)
    assert not torch.allclose(found[:2], went_on)


def test_half_a_call_is_refused() -> None:
    model = small(head="lstm")
    with pytest.raises(InputError, match="3 channels, expected two for each call, one a speaker, side by side"):
        Stream(model).push(torch.zeros(3, 10))
    stream = Stream(model)
    stream.push(torch.zeros(4, 10))
    with pytest.raises(InputError, match="reset of row 3, expected rows 2 to 3 together"):
        stream.reset(3)
    with pytest.raises(InputError, match="reset of row 1, expected rows 0 to 1 together"):
        stream.reset([1, 2])  # two rows, but of two calls
    with pytest.raises(InputError, match="reset of row 4, expected rows of the 4 in the stream"):
        stream.reset([4, 5])
    stream.reset([0, 1])
    with pytest.raises(InputError, match="features of 1 speakers, expected 2, one a channel"):
        model(torch.zeros(2, 1, HOP).double())


def test_memory_of_a_stream_does_not_grow() -> None:
    stream = Stream(small("lstm", "lstm"))

    for _ in range(30):
        stream.push(torch.zeros(2, HOP))
    after_thirty = held_bytes(stream.state)
    for _ in range(30):
        stream.push(torch.zeros(2, HOP))
    assert held_bytes(stream.state) <= after_thirty


# ------------------------------------------------------------------------------------------------------------ training


def exclusive_or() -> tuple[Tensor, Tensor]:
    """Samples [4, 2, N] of speakers who hum or are silent, and whether just one of them hums [4, 2, T, 1]."""
    hums = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    frames = 10
    samples = hums[..., None] * tones(1, frames=frames)[:, :1] + 0.003 * encoders.noise(4, 2, frames * HOP)
    just_one = (hums.sum(dim=1) == 1).float()
    return samples, just_one[:, None, None, None].expand(4, 2, frames, 1)


def losses(config: HeadConfig, train_encoder: bool, steps: int = 40) -> list[float]:
    torch.manual_seed(0)
    model = TurnTaking(Encoder(ENCODER), config, outputs=1)
    samples, target = exclusive_or()
    trained = model if train_encoder else model.head
    optimizer = torch.optim.Adam(trained.parameters(), lr=0.01)
    found = []
    for _ in range(steps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, _ = model(samples)
        loss = F.binary_cross_entropy_with_logits(logits.float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    return found


def test_the_loss_starts_at_log_2_and_one_batch_is_overfitted_in_bf16_where_a_linear_head_cannot() -> None:
    for config, train_encoder in (
        (FCHeadConfig(channels=16), False),
        (FCHeadConfig(channels=16), True),
        (RNNHeadConfig(channels=16), True),
    ):
        found = losses(config, train_encoder)
        assert found[0] == pytest.approx(math.log(2), abs=1e-6)
        assert found[-1] < 0.2
    assert losses(LinearHeadConfig(), train_encoder=False)[-1] > 0.5


def test_a_head_reads_what_it_is_told_to_and_no_more_is_kept() -> None:
    objective = build(CPCConfig(context="gru", context_channels=5), encoders.build(ENCODER))
    of_encoder = TurnTaking(objective, LinearHeadConfig(), outputs=3)
    assert of_encoder.encoder is objective.encoder
    assert {name.partition(".")[0] for name, _ in of_encoder.named_parameters()} == {"source", "head"}
    assert of_encoder.source is objective.encoder
    of_context = TurnTaking(objective, LinearHeadConfig(), outputs=3, representation="context")
    assert of_context.encoder is objective.encoder
    assert of_context.head.output.weight.shape == (3, 2 * 5)
    samples = tones(2, frames=5)
    found, _ = objective.representations(samples.flatten(0, 1))
    torch.testing.assert_close(of_context(samples)[0], of_context.head(found["context"].unflatten(0, (2, 2)))[0])


def test_a_representation_that_there_is_not_is_refused() -> None:
    encoder = encoders.build(ENCODER)
    with pytest.raises(InputError, match="representation 'context': there is encoder; choose one of these"):
        TurnTaking(encoder, LinearHeadConfig(), outputs=1, representation="context")
    with pytest.raises(InputError, match="representation 'codes': there is encoder, context; choose one of these"):
        TurnTaking(build(CPCConfig(), encoder), LinearHeadConfig(), outputs=1, representation="codes")
