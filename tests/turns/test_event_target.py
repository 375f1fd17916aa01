"""Shift against hold as a target, in closed form."""

import math

import numpy as np
import pytest
import torch

from ssl_tt.errors import InputError
from ssl_tt.turns.config import EventsTargetConfig
from ssl_tt.turns.event_target import EventsTarget
from ssl_tt.turns.events import find_events

RATE_HZ = 50.0


def turns(*speakers: int) -> np.ndarray:
    """Activity [T, 2] of turns of 1.2 s with silences of 0.4 s between."""
    spoken = np.zeros((80 * len(speakers) - 20, 2), dtype=bool)
    for number, speaker in enumerate(speakers):
        spoken[80 * number : 80 * number + 60, speaker] = True
    return spoken


MANY_HOLDS = turns(0, 0, 0, 0, 0, 0, 1)  # three holds and a shift after the first 3 s, which are context


def target() -> EventsTarget:
    found = EventsTarget(EventsTargetConfig(), RATE_HZ)
    found.prepare([MANY_HOLDS], [MANY_HOLDS])
    return found


def test_both_kinds_count_alike_however_rare_one_is() -> None:
    """Always saying "hold" with the same confidence costs as much as always saying "shift"."""
    activity = torch.from_numpy(MANY_HOLDS)[None]
    logits = torch.full((1, 2, len(MANY_HOLDS), 1), 2.0)
    assert target().loss(logits, activity) == pytest.approx(float(target().loss(-logits, activity)))
    assert target().weights.tolist() == pytest.approx([4 / 6, 4 / 2])
    assert float(target().loss(0 * logits, activity)) == pytest.approx(math.log(2))


def test_the_answer_is_that_of_who_had_the_turn_at_the_decision() -> None:
    activity = torch.from_numpy(MANY_HOLDS)[None]
    logits = torch.zeros(1, 2, len(MANY_HOLDS), 1, requires_grad=True)
    target().loss(logits, activity).backward()
    assert logits.grad is not None
    asked = {(int(s), int(t)) for _, s, t, _ in logits.grad.nonzero()}
    assert asked == {(event.previous, event.decision) for event in find_events(MANY_HOLDS, RATE_HZ)}


def test_swapping_the_speakers_changes_nothing() -> None:
    activity = torch.from_numpy(turns(0, 1, 0, 1, 1, 0, 0))[None]
    logits = torch.randn(1, 2, activity.shape[1], 1)
    assert torch.equal(target().loss(logits, activity), target().loss(logits.flip(1), activity.flip(2)))


def test_events_of_a_window_are_some_of_its_conversation() -> None:
    rng = np.random.default_rng(0)
    whole = turns(*rng.integers(0, 2, 12))
    every = {(event.kind, event.decision) for event in find_events(whole, RATE_HZ)}
    for start in range(0, len(whole) - 300, 7):
        found = find_events(whole[start : start + 300], RATE_HZ)
        assert {(event.kind, event.decision + start) for event in found} <= every


def test_a_batch_without_events_costs_nothing() -> None:
    logits = torch.randn(2, 2, 100, 1, requires_grad=True)
    loss = target().loss(logits, torch.zeros(2, 100, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_one_kind_alone_is_refused() -> None:
    found = EventsTarget(EventsTargetConfig(), RATE_HZ)
    with pytest.raises(InputError, match=r"0 shifts and 2 holds .* to fit on"):
        found.prepare([turns(0, 0, 0, 0, 0)], [MANY_HOLDS])
