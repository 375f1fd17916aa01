"""What every head must hold, on features alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.errors import InputError
from ssl_tt.turns.config import FCHeadConfig, HeadConfig, LinearHeadConfig, RNNHeadConfig
from ssl_tt.turns.heads import Head
from tests.encoder.states import shapes
from tests.turns.small_heads import HEADS, RATE_HZ, awoken, features, small_head

every_head = pytest.mark.parametrize("name", HEADS)


@every_head
@settings(deadline=None, max_examples=20)
@given(
    calls=st.integers(1, 4), frames=st.integers(0, 9), channels=st.integers(2, 8), outputs=st.sampled_from([1, 3, 60])
)
def test_swapping_the_speakers_swaps_the_answer(
    name: str, calls: int, frames: int, channels: int, outputs: int
) -> None:
    head, z = small_head(name, outputs, channels), features(calls, frames, channels)
    answer, _ = head(z)
    assert answer.shape == (calls, 2, frames, outputs)
    swapped, _ = head(z.flip(1))
    torch.testing.assert_close(swapped, answer.flip(1), rtol=0, atol=1e-12)  # products may differ in their last bit


@every_head
def test_either_speaker_is_read_from_both_each_in_a_role_of_its_own(name: str) -> None:
    head, z = small_head(name), features(2, 5)
    answer, _ = head(z)
    changed = z.clone()
    changed[:, 0] = features(2, 5, seed=1)[:, 0]
    assert (head(changed)[0] != answer).any(dim=-1).all()
    alike = head(torch.stack([z[:, 0], z[:, 0]], dim=1))[0]
    torch.testing.assert_close(alike[:, 0], alike[:, 1], rtol=0, atol=1e-12)
    assert (answer[:, 0] != answer[:, 1]).any(dim=-1).all()


@every_head
def test_no_logit_depends_on_the_future(name: str) -> None:
    head, z = small_head(name), features(2, 9).requires_grad_()
    answer, _ = head(z)
    (gradient,) = torch.autograd.grad(answer[:, 0, 5].square().sum(), z)
    assert gradient[:, :, 6:].eq(0).all()
    assert gradient[:, :, 5].ne(0).any(dim=-1).all()
    assert gradient[:, :, :5].any() == name.endswith(("lstm", "grus"))  # the others remember nothing
    for later in (0.5, 1e6, math.nan):
        changed = z.detach().clone()
        changed[:, :, 6:] = later
        assert torch.equal(head(changed)[0][:, :, :6], answer[:, :, :6])


@every_head
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@torch.no_grad()
def test_any_chunking_equals_the_whole_with_a_state_that_does_not_grow(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    head, z = small_head(name, dtype=dtype), features(3, 40).to(dtype)
    whole, end = head(z)
    for cuts in ([0, 0, 1, 7, 7, 30, 40], list(range(40))):
        state, pieces = None, []
        for chunk in z.tensor_split(cuts, dim=2):
            logits, state = head(chunk, state)
            assert shapes(state) == shapes(end)
            pieces.append(logits)
        torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=tolerance)
    assert all(shape[0] == 6 for shape in shapes(end))


@every_head
@torch.no_grad()
def test_calls_of_a_batch_do_not_mix(name: str) -> None:
    head, z = small_head(name), features(3, 8)
    together, _ = head(z)
    for alone, answer in zip(z, together, strict=True):
        torch.testing.assert_close(head(alone[None])[0][0], answer, rtol=0, atol=1e-12)


@every_head
@pytest.mark.parametrize("outputs", [1, 60])
def test_the_loss_starts_at_log_2_whatever_the_target(name: str, outputs: int) -> None:
    logits, _ = Head(HEADS[name], 6, outputs, RATE_HZ)(features(2, 5).float())
    target = (torch.rand(logits.shape) < 0.1).float()
    torch.testing.assert_close(F.binary_cross_entropy_with_logits(logits, target).item(), math.log(2))


def exclusive_or() -> tuple[Tensor, Tensor]:
    """Features [1, 2, 4, 2] of all pairs of two signs, one a speaker, and whether the signs differ [1, 2, 4, 1]."""
    sign = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    differ = (sign[0] != sign[1]).float().expand(2, 4)
    return torch.stack([sign, -sign], dim=-1)[None], differ[None, ..., None]


def remembered() -> tuple[Tensor, Tensor]:
    """Features as above [1, 2, 12, 2]; the target of a frame is the other speaker's sign two frames before."""
    sign = torch.tensor([[1, 1, -1, 1, -1, -1, 1, -1, 1, 1, -1, -1], [1, -1, -1, 1, 1, -1, 1, 1, -1, -1, 1, -1]])
    target = F.pad((sign.flip(0) > 0).float(), (2, 0))[:, :12]
    return torch.stack([sign, -sign], dim=-1)[None].float(), target[None, ..., None]


def loss_after_training(config: HeadConfig, z: Tensor, target: Tensor) -> float:
    torch.manual_seed(0)
    head = Head(config, z.shape[-1], target.shape[-1], RATE_HZ)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        loss = F.binary_cross_entropy_with_logits(head(z)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_hidden_layers_learn_who_differs_where_a_linear_head_cannot() -> None:
    z, target = exclusive_or()
    # The best that a sum of a part of either speaker can do here is to answer one half.
    assert loss_after_training(LinearHeadConfig(), z, target) == pytest.approx(math.log(2), abs=0.01)
    assert loss_after_training(FCHeadConfig(channels=16), z, target) < 0.1
    assert loss_after_training(RNNHeadConfig(channels=16), z, target) < 0.1


def test_only_a_recurrent_head_remembers() -> None:
    z, target = remembered()
    assert loss_after_training(RNNHeadConfig(channels=16, cell="gru"), z, target) < 0.1
    assert loss_after_training(FCHeadConfig(channels=16), z, target) > 0.3


@every_head
def test_autocast_gives_the_answer_and_the_gradients_of_fp32_to_its_precision(name: str) -> None:
    head, z = small_head(name, dtype=torch.float32), features(2, 9).float()
    found = []
    for autocast in (False, True):
        head.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            logits, _ = head(z)
        logits.float().square().mean().backward()
        found.append([logits.detach().float(), *(parameter.grad for parameter in head.parameters())])
    for expected, reached in zip(*found, strict=True):
        torch.testing.assert_close(reached, expected, rtol=0, atol=0.03 * expected.abs().max().item())


def test_every_setting_is_used() -> None:
    hidden = Head(FCHeadConfig(channels=5, layers=2, dropout=0.25), 6, 3, RATE_HZ).hidden
    widths = [(layer.in_features, layer.out_features) for layer in hidden.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [(12, 5), (5, 5)]
    assert [layer.p for layer in hidden.layers if isinstance(layer, torch.nn.Dropout)] == [0.25, 0.25]
    recurrent = Head(RNNHeadConfig(cell="gru", channels=5, layers=3), 6, 3, RATE_HZ).hidden
    assert (type(recurrent).__name__, recurrent.input_size, recurrent.hidden_size, recurrent.num_layers) == (
        "GRU",
        12,
        5,
        3,
    )
    assert type(Head(RNNHeadConfig(), 6, 3, RATE_HZ).hidden).__name__ == "LSTM"
    assert Head(LinearHeadConfig(), 6, 3, RATE_HZ).output.weight.shape == (3, 12)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "cnn"}, "does not match any of the expected tags: 'linear', 'fc', 'rnn'"),
        ({"channels": 8}, "Unable to extract tag"),
        ({"kind": "linear", "channels": 8}, "Extra inputs are not permitted"),
        ({"kind": "fc", "cell": "gru"}, "Extra inputs are not permitted"),
        ({"kind": "fc", "layers": 0}, "greater than or equal to 1"),
        ({"kind": "fc", "dropout": 1.0}, "less than 1"),
        ({"kind": "fc", "channels": 0}, "greater than or equal to 1"),
        ({"kind": "rnn", "cell": "rnn"}, "Input should be 'lstm' or 'gru'"),
        ({"kind": "rnn", "layers": 0}, "greater than or equal to 1"),
        ({"kind": "rnn", "dropout": 0.1}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(HeadConfig).validate_python(table)


def test_what_a_head_cannot_read_is_refused() -> None:
    with pytest.raises(ValueError, match="outputs 0, expected 1 or more"):
        Head(LinearHeadConfig(), 6, 0, RATE_HZ)
    with pytest.raises(ValueError, match="features of 1 channel, expected 2 or more"):
        Head(LinearHeadConfig(), 1, 1, RATE_HZ)
    for speakers in (1, 3):
        with pytest.raises(InputError, match=f"features of {speakers} speakers, expected 2, one a channel"):
            Head(LinearHeadConfig(), 6, 1, RATE_HZ)(torch.zeros(2, speakers, 5, 6))


def spoken(calls: int, frames: int, seed: int = 0) -> Tensor:
    """Bool [B, T, 2]."""
    return torch.rand(calls, frames, 2, generator=torch.Generator().manual_seed(seed)) < 0.5


def history_head(kind: str) -> Head:
    config = HEADS[kind].model_copy(update={"activity_history": True})
    torch.manual_seed(0)
    return awoken(Head(config, 6, 3, RATE_HZ)).double().eval()


@pytest.mark.parametrize("name", ["linear", "fc", "lstm"])
@torch.no_grad()
def test_history_is_read_beside_the_features_symmetric_causal_and_live(name: str) -> None:
    head, z, active = history_head(name), features(3, 40), spoken(3, 40)
    whole, end = head(z, None, active)
    torch.testing.assert_close(head(z.flip(1), None, active.flip(2))[0], whole.flip(1), rtol=0, atol=1e-12)
    other = active.clone()
    other[:, 20:, 0] = ~other[:, 20:, 0]
    changed, _ = head(z, None, other)
    assert torch.equal(changed[:, :, :20], whole[:, :, :20])
    assert (changed[:, :, 20] != whole[:, :, 20]).any(dim=-1).all()  # either speaker's answer hears of it at once
    state, pieces = None, []
    for part, beside in zip(
        z.tensor_split([0, 1, 7, 30], dim=2), active.tensor_split([0, 1, 7, 30], dim=1), strict=True
    ):
        logits, state = head(part, state, beside)
        assert shapes(state) == shapes(end)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=1e-10)


def test_activity_that_is_missing_or_not_asked_for_is_refused() -> None:
    z = features(2, 5)
    for wrong in (None, spoken(2, 4), spoken(1, 5)):
        with pytest.raises(InputError, match=r"voice activity (none|\[.*\]), expected \[2, 5, 2\]"):
            history_head("fc")(z, None, wrong)
    with pytest.raises(InputError, match="given to a head that reads none"):
        small_head("fc")(z, None, spoken(2, 5))
