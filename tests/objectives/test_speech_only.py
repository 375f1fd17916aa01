"""Contrast in speech alone: what is scored and drawn, counted frame by frame, and what happens where there is none."""

import math
from collections.abc import Callable

import pytest
import torch
from small import batch, encoder
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.negatives import draw_pool

WINDOWS, FRAMES, STEP = 4, 12, 2

# May a frame of sequence v be a negative of one of sequence w? Sequences are 2 * window + channel, conversations pairs.
SOURCES: dict[str, Callable[[int, int], bool]] = {
    "sequence": lambda w, v: w == v,
    "other_channel": lambda w, v: w // 2 == v // 2 and w != v,
    "same_conversation": lambda w, v: w // 4 == v // 4,
    "other_conversation": lambda w, v: w // 4 != v // 4,
    "batch": lambda w, v: True,
    "all_ranks": lambda w, v: True,
}


def spoken(windows: int = WINDOWS) -> Batch:
    """Windows with speech here and there; the first channel never speaks, the second once."""
    data = batch(windows, frames=FRAMES)
    activity = torch.rand(windows, FRAMES, 2, generator=torch.Generator().manual_seed(0)) < 0.4
    activity[0] = False
    activity[0, 7, 1] = True
    return data._replace(activity=activity)


def made(**settings: object) -> CPC:
    base = {"context_channels": 12, "steps": 2, "step_frames": STEP, "negative_count": 1000, "speech_only": True}
    objective = build(CPCConfig.model_validate({**base, **settings}), encoder())
    assert isinstance(objective, CPC)
    return objective


@torch.no_grad()
def counted(objective: CPC, data: Batch, speech: Tensor) -> tuple[float, float]:
    """The slow twin: loss and share of what is scored, one positive after another."""
    z, context, _ = objective._encode(data.samples.flatten(0, 1), 2)
    may = SOURCES[objective.config.negatives]
    losses, shares = [], []
    for h, predictor in enumerate(objective.predictors, start=1):
        loss, scored, n = 0.0, 0, 0
        for sequence in range(len(z)):
            for t in range(FRAMES - h * STEP):
                n += 1
                positive = (sequence, t + h * STEP)
                negatives = [
                    (other, frame)
                    for other in range(len(z))
                    for frame in range(FRAMES)
                    if may(sequence, other) and (other, frame) != positive and speech[other, frame]
                ]
                if not speech[positive] or not negatives:
                    continue
                scores = torch.stack([z[place] for place in (positive, *negatives)]) @ predictor(context[sequence, t])
                loss += F.cross_entropy(scores[None], torch.tensor([0])).item()
                scored += 1
        losses.append(loss / n)
        shares.append(scored / n)
    return sum(losses) / len(losses), sum(shares) / len(shares)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("speech_only", [False, True])
def test_the_loss_is_that_counted_frame_by_frame(source: str, speech_only: bool) -> None:
    objective, data = made(negatives=source, speech_only=speech_only), spoken()
    assert data.activity is not None
    speech = data.activity.transpose(1, 2).flatten(0, 1) if speech_only else torch.ones(2 * WINDOWS, FRAMES)
    loss = objective(data)
    expected, share = counted(objective, data, speech.bool())
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)
    assert loss.parts.get("scored", torch.tensor(1.0)).item() == pytest.approx(share)


def test_with_speech_everywhere_it_is_the_loss_of_all_frames() -> None:
    data, losses = spoken(), []
    for speech_only in (False, True):
        objective = made(speech_only=speech_only, negative_count=5)
        torch.manual_seed(0)
        losses.append(objective(data._replace(activity=torch.ones(WINDOWS, FRAMES, 2, dtype=torch.bool))).total)
    torch.testing.assert_close(*losses)


def test_the_first_loss_is_the_share_scored_of_the_logarithm_of_negatives_plus_one() -> None:
    objective = made(negatives="batch", negative_count=6)
    for linear in objective.predictors.parameters():
        torch.nn.init.zeros_(linear)
    loss = objective(spoken())
    assert 0.2 < loss.parts["scored"] < 0.5
    assert loss.total.item() == pytest.approx(loss.parts["scored"].item() * math.log(7), rel=1e-5)


@pytest.mark.parametrize("source", ["sequence", "batch"])
def test_where_nobody_speaks_there_is_nothing_to_learn(source: str) -> None:
    objective, data = made(negatives=source), spoken()
    loss = objective(data._replace(activity=torch.zeros(WINDOWS, FRAMES, 2, dtype=torch.bool)))
    loss.total.backward()
    assert loss.total == loss.parts["accuracy"] == loss.parts["scored"] == 0
    assert all(not parameter.grad.any() for parameter in objective.parameters() if parameter.grad is not None)


def test_accumulation_weighs_every_frame_as_one_batch_does() -> None:
    whole, halves, data = made(), made(), spoken(8)
    whole(data).total.backward()
    for half in (slice(0, 4), slice(4, 8)):
        assert data.activity is not None
        part = Batch(data.samples[half], data.activity[half], data.conversation[half], data.item[half])
        (halves(part).total / 2).backward()
    for (name, a), b in zip(whole.named_parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_only_frames_that_may_be_drawn_are_and_never_the_positive(own: bool, count: int) -> None:
    torch.manual_seed(count)
    drawable = torch.rand(6, 9) < 0.5
    drawable[2] = False
    itself = torch.eye(6, dtype=torch.bool)
    pool = draw_pool(itself if own else itself.roll(1, dims=1), torch.arange(6), 9, count, drawable)
    for sequence in range(6):
        source = sequence if own else (sequence + 1) % 6
        there = {9 * source + frame for frame in range(9) if drawable[source, frame]}
        assert pool.missing is not None
        for frame in drawable[sequence].nonzero().flatten().tolist():
            columns = [column for column in range(pool.frames.shape[1]) if not pool.missing[sequence, column]]
            if pool.left_out is not None:
                columns = [column for column in columns if column != pool.left_out[sequence, frame]]
            drawn = pool.frames[sequence, columns].tolist()
            allowed = there - {9 * sequence + frame}
            assert set(drawn) <= allowed
            assert len(set(drawn)) == len(drawn) == min(count, len(allowed))
            assert pool.scorable[sequence] == bool(allowed)


def test_conversations_without_segments_are_refused() -> None:
    with pytest.raises(InputError, match=r"objective.speech_only: got conversations without speech segments"):
        made()(batch())
