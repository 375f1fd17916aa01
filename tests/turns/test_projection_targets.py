"""Targets at every frame: their losses at the start and by hand, and the floor that is read out of them."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError
from ssl_tt.turns import vap
from ssl_tt.turns.config import VAPTargetConfig
from ssl_tt.turns.projection_targets import FutureTarget, VAPTarget, future_bins
from ssl_tt.turns.targets import future_activity

RATE_HZ = 50.0
FORMS = ("discrete", "independent", "comparative")


def target(name: str) -> VAPTarget | FutureTarget:
    return FutureTarget(RATE_HZ) if name == "future" else VAPTarget(VAPTargetConfig(form=name), RATE_HZ)  # type: ignore[arg-type]


def talk(seed: int = 0, frames: int = 400) -> Tensor:
    """Activity [2, T, 2] in stretches of 0.4 s."""
    drawn = torch.rand(2, frames // 20 + 1, 2, generator=torch.Generator().manual_seed(seed)) < 0.5
    return drawn.repeat_interleave(20, dim=1)[:, :frames]


def knowing(name: str, activity: Tensor, sure: float = 20.0) -> Tensor:
    """Logits of one who knows the future."""
    frames = activity.shape[1]
    if name == "future":
        logits = sure * (2.0 * future_bins(activity, RATE_HZ).float() - 1)
    else:
        bins = vap.vap_bins(activity, RATE_HZ)
        match name:
            case "discrete":
                logits = sure * F.one_hot(vap.states(bins), vap.STATES).float()
            case "independent":
                logits = sure * (2.0 * bins.float() - 1)
            case _:
                active = bins.sum(dim=3).float()
                logits = torch.logit((active / active.sum(dim=1, keepdim=True).clamp(min=1)).clamp(1e-4, 1 - 1e-4))
                logits = logits[..., None] / 2
    return F.pad(logits, (0, 0, 0, frames - logits.shape[2]))


@pytest.mark.parametrize(
    ("name", "nats"),
    [("discrete", math.log(256)), ("independent", math.log(2)), ("comparative", math.log(2)), ("future", math.log(2))],
)
def test_a_head_that_says_nothing_yet_costs_what_guessing_does(name: str, nats: float) -> None:
    found = target(name)
    loss = found.loss(torch.zeros(2, 2, 400, found.outputs), talk())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(nats, abs=1e-5)


@pytest.mark.parametrize("name", ["discrete", "independent", "future"])
def test_who_knows_the_future_pays_nothing(name: str) -> None:
    assert target(name).loss(knowing(name, talk()), talk()).item() < 1e-5


@pytest.mark.parametrize("name", [*FORMS, "future"])
def test_swapping_the_speakers_swaps_the_floor_and_leaves_the_loss(name: str) -> None:
    found = target(name)
    logits = torch.randn(2, 2, 400, found.outputs, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.loss(logits, talk()), found.loss(logits.flip(1), talk().flip(2)))
    for one, other in zip(found.floor(logits), found.floor(logits.flip(1)), strict=True):
        assert one.shape == (2, 2, 400)
        torch.testing.assert_close(one, other.flip(1))
        torch.testing.assert_close(one.sum(dim=1), torch.ones(2, 400))
        assert ((one > 0) & (one < 1)).all()


@pytest.mark.parametrize("name", [*FORMS, "future"])
def test_the_floor_is_his_who_will_speak_alone(name: str) -> None:
    activity = torch.zeros(1, 300, 2, dtype=torch.bool)
    activity[0, 50:81, 1] = True  # the whole of the next 0.6 s of frame 49, and no more
    activity[0, 81:200, 0] = True
    now, later = target(name).floor(knowing(name, activity))
    if name == "comparative":  # one share of all
        assert now[0, 0, 49] == later[0, 0, 49]
        assert 0.4 < now[0, 0, 49] < 0.8
    else:
        assert now[0, 1, 49] > 0.99
        assert later[0, 0, 49] > 0.99
    assert now[0, 0, 85] > 0.99


def test_losses_are_those_of_every_frame_by_itself() -> None:
    activity, generator = talk(3), torch.Generator().manual_seed(2)
    bins = vap.vap_bins(activity, RATE_HZ)
    known = bins.shape[2]
    discrete, independent, comparative = (
        torch.randn(2, 2, 400, outputs, generator=generator) for outputs in (256, 4, 1)
    )

    def number(own: list[bool], other: list[bool]) -> int:
        return sum(2**place for place, active in enumerate([*own, *other]) if active)

    numbers = [
        [number(own, other) for own, other in zip(*pair, strict=True)]
        for a, b in bins.tolist()
        for pair in ((a, b), (b, a))
    ]
    expected = np.mean(
        [
            -discrete[w, s, t].log_softmax(0)[numbers[2 * w + s][t]].item()
            for w in range(2)
            for s in range(2)
            for t in range(known)
        ]
    )
    assert target("discrete").loss(discrete, activity).item() == pytest.approx(expected, rel=1e-5)
    p = independent[:, :, :known].sigmoid()
    expected = -torch.where(bins, p, 1 - p).log().mean().item()
    assert target("independent").loss(independent, activity).item() == pytest.approx(expected, rel=1e-5)
    losses = []
    for w in range(2):
        for t in range(known):
            one, other = (int(bins[w, s, t].sum()) for s in range(2))
            if one + other:
                said = torch.sigmoid(comparative[w, 0, t, 0] - comparative[w, 1, t, 0]).item()
                share = one / (one + other)
                losses.append(-(share * math.log(said) + (1 - share) * math.log(1 - said)))
    assert target("comparative").loss(comparative, activity).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_probability_of_a_state_is_the_same_seen_from_either_speaker() -> None:
    found = VAPTarget(VAPTargetConfig(), RATE_HZ)
    p = found.probabilities(torch.randn(1, 2, 5, 256, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(p[:, 0], p[:, 1][..., vap.swapped()])
    torch.testing.assert_close(p.sum(dim=3), torch.ones(1, 2, 5))


@pytest.mark.parametrize("rate", [20.0, 50.0, 100.0])
def test_future_bins_of_frames_are_those_of_segments_that_lie_on_frames(rate: float) -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(rng.choice(np.arange(1, int(10 * rate)), 12, replace=False)) / rate
    halves = [tuple(Segment(*pair) for pair in part.reshape(-1, 2)) for part in (edges[:6], edges[6:])]
    conversation = Conversation(
        id="c", audio=None, sample_rate_hz=None, channels=2, duration_seconds=10.0, speakers=("a", "b"),
        segments=(halves[0], halves[1]),
    )  # fmt: skip
    frames = np.arange(int(10 * rate)) / rate + 0.5 / rate
    activity = np.stack([np.any([(s <= frames) & (frames < e) for s, e in half], axis=0) for half in halves], axis=1)
    found = future_bins(torch.from_numpy(activity)[None], rate)
    expected = future_activity(conversation, rate, np.arange(found.shape[2]))  # [F, 2, 60]
    np.testing.assert_array_equal(found[0].numpy(), expected.transpose(1, 0, 2))


def test_a_window_without_a_whole_horizon_is_refused() -> None:
    for name, frames in ("future", 150), ("discrete", 100):
        with pytest.raises(InputError, match="give longer windows"):
            target(name).loss(torch.zeros(1, 2, frames, 1), torch.zeros(1, frames, 2, dtype=torch.bool))
