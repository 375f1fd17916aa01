"""Targets at every frame: their losses at the start and by hand, and the floor that is read out of them."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError
from ssl_tt.turns import vap
from ssl_tt.turns.config import VAPTargetConfig
from ssl_tt.turns.projection_targets import VAPTarget, future_bins
from ssl_tt.turns.targets import future_activity
from tests.turns.small_targets import RATE_HZ, TARGETS, knowing, random_logits, small_target, talk

FORESEEING = [name for name in TARGETS if not name.startswith("activity")]


@pytest.mark.parametrize("name", TARGETS)
def test_a_head_that_says_nothing_yet_costs_what_guessing_does(name: str) -> None:
    target = small_target(name)
    loss = target.loss(torch.zeros(2, 2, 400, target.outputs, dtype=torch.bfloat16), talk())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(TARGETS[name][1], abs=1e-5)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "comparative"])
def test_who_knows_the_future_pays_nothing(name: str) -> None:
    assert small_target(name).loss(knowing(name, talk()), talk()).item() < 1e-5


@pytest.mark.parametrize("name", TARGETS)
def test_swapping_the_speakers_leaves_the_loss(name: str) -> None:
    target, logits = small_target(name), random_logits(name)
    torch.testing.assert_close(target.loss(logits, talk()), target.loss(logits.flip(1), talk().flip(2)))


@pytest.mark.parametrize("name", FORESEEING)
def test_swapping_the_speakers_swaps_the_floor_bit_for_bit(name: str) -> None:
    target, logits = small_target(name), random_logits(name)
    floor, swapped = target.floor(logits), target.floor(logits.flip(1))
    assert floor is not None
    assert swapped is not None
    for one, other in zip(floor, swapped, strict=True):
        assert one.shape == (2, 2, 400)
        assert torch.equal(one, other.flip(1))
        torch.testing.assert_close(one.sum(dim=1), torch.ones(2, 400))
        assert ((one > 0) & (one < 1)).all()


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("t", [0, 7, 90])
def test_the_target_of_a_frame_begins_after_it_and_that_of_the_present_in_it(name: str, t: int) -> None:
    target, activity = small_target(name), talk()
    begins = t if name.startswith("activity") else t + 1

    def learned(activity: Tensor) -> Tensor:
        """What the logits from t on learn, up to the sum of weights, which is one of the whole window."""
        logits = random_logits(name).requires_grad_()
        (gradient,) = torch.autograd.grad(target.loss(logits, activity), logits)
        return gradient[:, :, t:] / gradient[:, :, t:].abs().sum()

    past, future = activity.clone(), activity.clone()
    past[:, :begins] = ~past[:, :begins]
    future[:, begins : begins + 20] = ~future[:, begins : begins + 20]
    torch.testing.assert_close(learned(past), learned(activity))
    assert not torch.allclose(learned(future)[:, :, 0], learned(activity)[:, :, 0])


@pytest.mark.parametrize("name", FORESEEING)
@pytest.mark.parametrize("sure", [60.0, 300.0])
def test_a_floor_of_logits_however_large_is_a_probability(name: str, sure: float) -> None:
    for logits in -sure * torch.ones(1, 2, 1, small_target(name).outputs), sure * random_logits(name):
        floor = small_target(name).floor(logits)
        assert floor is not None
        for part in floor:
            assert ((part >= 0) & (part <= 1)).all()


def test_where_silence_is_certain_the_floor_is_his_who_is_likelier_to_break_it() -> None:
    logits = torch.full((1, 2, 1, 4), -200.0)
    logits[:, 1] += 2
    now, later = VAPTarget(VAPTargetConfig(form="independent"), RATE_HZ).floor(logits)
    expected = 1 / (1 + math.exp(2))
    assert now[0, 0, 0].item() == later[0, 0, 0].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["discrete", "independent", "future"])
def test_the_floor_is_the_share_of_the_bins_that_are_expected(name: str) -> None:
    target, logits = small_target(name), random_logits(name, frames=3)
    floor = target.floor(logits)
    assert floor is not None
    parts = {"discrete": (2, 4), "independent": (2, 4), "future": (12, 40)}[name]
    if isinstance(target, VAPTarget) and name == "discrete":
        p = target.probabilities(logits)[:, 0].double()  # as speaker 0 sees it: [B, T, 256]
        bins = vap.bins_of_states().double()
        expected = torch.stack([sum(p[..., k, None] * bins[k, s] for k in range(256)) for s in range(2)], dim=1)  # type: ignore[misc]
    else:
        expected = logits.double().sigmoid()
    for part, first, last in zip(floor, (0, parts[0]), parts, strict=True):
        own = expected[..., first:last].sum(dim=3)
        torch.testing.assert_close(part.double(), own / own.sum(dim=1, keepdim=True), atol=1e-5, rtol=1e-5)


def test_who_speaks_now_has_no_floor_to_come() -> None:
    assert small_target("activity").floor(random_logits("activity")) is None


@pytest.mark.parametrize("name", FORESEEING)
def test_the_floor_is_his_who_will_speak_alone(name: str) -> None:
    activity = torch.zeros(1, 300, 2, dtype=torch.bool)
    activity[0, 50:81, 1] = True  # the whole of the next 0.6 s of frame 49, and no more
    activity[0, 81:200, 0] = True
    floor = small_target(name).floor(knowing(name, activity))
    assert floor is not None
    now, later = floor
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
    assert small_target("discrete").loss(discrete, activity).item() == pytest.approx(expected, rel=1e-5)
    p = independent[:, :, :known].sigmoid()
    expected = -torch.where(bins, p, 1 - p).log().mean().item()
    assert small_target("independent").loss(independent, activity).item() == pytest.approx(expected, rel=1e-5)
    losses = []
    for w in range(2):
        for t in range(known):
            one, other = (int(bins[w, s, t].sum()) for s in range(2))
            if one + other:
                said = torch.sigmoid(comparative[w, 0, t, 0] - comparative[w, 1, t, 0]).item()
                share = one / (one + other)
                losses.append(-(share * math.log(said) + (1 - share) * math.log(1 - said)))
    assert small_target("comparative").loss(comparative, activity).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("name", ["activity", "activity, weighed", "future", "future, weighed", "independent, weighed"])
def test_losses_of_what_is_or_is_not_are_weighted_means(name: str) -> None:
    activity, logits = talk(3, 260)[:1], random_logits(name, frames=260)[:1]
    weight = 3.0 if "weighed" in name else 1.0
    frames = activity[0].tolist()
    losses, weights = [], []
    for s in range(2):
        for t in range(260):
            for k, logit in enumerate(logits[0, s, t].tolist()):
                if name.startswith("activity"):
                    active = frames[t][s]
                elif name.startswith("future"):  # in halves of a frame, of which a bin has five
                    halves = [(2 * t + 2 + 5 * k + i) // 2 for i in range(5)]
                    if 2 * (t + 1) + 300 > 2 * 260:
                        continue
                    active = 2 * sum(frames[frame][s] for frame in halves) >= 5
                else:
                    first, last = ((0, 10), (10, 30), (30, 60), (60, 100))[k]
                    if t + 1 + 100 > 260:
                        continue
                    bin_ = [frames[t + 1 + i][s] for i in range(first, last)]
                    active = 2 * sum(bin_) >= len(bin_)
                p = 1 / (1 + math.exp(-logit))
                weights.append(weight if active else 1.0)
                losses.append(-weights[-1] * math.log(p if active else 1 - p))
    expected = sum(losses) / sum(weights)
    assert small_target(name).loss(logits, activity).item() == pytest.approx(expected, rel=1e-5)


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
            small_target(name).loss(torch.zeros(1, 2, frames, 1), torch.zeros(1, frames, 2, dtype=torch.bool))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    ("activity", "said"),
    [
        (torch.zeros(1, 400, 3), "of two speakers"),
        (torch.zeros(400, 2), "of two speakers"),
        (torch.full((1, 400, 2), 0.9), "other than 0 and 1"),
        (torch.full((1, 400, 2), math.nan), "or NaN"),
    ],
)
def test_what_is_no_activity_of_two_is_refused(name: str, activity: Tensor, said: str) -> None:
    target = small_target(name)
    with pytest.raises(InputError, match=said):
        target.loss(torch.zeros(1, 2, 400, target.outputs), activity)


@pytest.mark.parametrize("name", TARGETS)
def test_numbers_0_and_1_are_activity(name: str) -> None:
    target, logits = small_target(name), random_logits(name)
    assert torch.equal(target.loss(logits, talk().float()), target.loss(logits, talk()))


@pytest.mark.parametrize("form", ["discrete", "comparative"])
def test_a_weight_of_bins_that_are_not_asked_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match="which asks no bin by itself: drop it"):
        VAPTargetConfig(form=form, positive_weight=2.0)  # type: ignore[arg-type]
