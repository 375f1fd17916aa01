"""What codes cost and how they are used, against counting by hand."""

import math
from collections import Counter

import pytest
import torch

from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.prior import Prior
from ssl_tt.training.prior import _score, perplexity

CONFIG = PriorConfig(channels=8, dilations=(1, 2))


def by_hand(codes: list[int]) -> float:
    shares = [count / len(codes) for count in Counter(codes).values()]
    return math.exp(-sum(share * math.log(share) for share in shares))


@pytest.mark.parametrize("codes", [[0, 0, 0], [0, 1, 2, 3], [5, 5, 1, 0, 1, 5, 7]])
def test_perplexity_is_that_of_the_shares(codes: list[int]) -> None:
    assert perplexity(torch.tensor(codes), 8) == pytest.approx(by_hand(codes))


@pytest.mark.parametrize("groups", [1, 3])
def test_an_untrained_prior_costs_what_uniform_codes_do(groups: int) -> None:
    torch.manual_seed(0)
    shape = (5, 20) if groups == 1 else (5, 20, groups)
    train, held_out = torch.randint(16, shape), torch.randint(16, shape)
    level = _score(Prior(CONFIG, 16, groups=groups), train, held_out, None, None, 16, seconds=5 * 20 / 50)
    assert level.uniform == pytest.approx(50 * groups * 4)
    assert level.prior == pytest.approx(level.uniform)
    assert level.perplexity_speaking is None


def test_unigram_bits_and_use_while_speaking_are_those_counted_by_hand() -> None:
    torch.manual_seed(0)
    train, held_out = torch.randint(4, (3, 8)), torch.randint(6, (2, 8))
    speaking = torch.rand(2, 16) < 0.5  # two frames for each code, as of a slow level
    level = _score(Prior(CONFIG, 6), train, held_out, None, speaking, 6, seconds=2.0)
    counts = Counter(train.flatten().tolist())
    nats = -sum(math.log((counts[code] + 1) / (train.numel() + 6)) for code in held_out.flatten().tolist())
    assert level.unigram == pytest.approx(nats / math.log(2) / 2.0)
    spoken = [
        int(held_out[row, frame])
        for row in range(2)
        for frame in range(8)
        if speaking[row, 2 * frame : 2 * frame + 2].sum() >= 1
    ]
    assert level.perplexity_speaking == pytest.approx(by_hand(spoken))
    assert level.perplexity == pytest.approx(by_hand(held_out.flatten().tolist()))
