"""What codes cost and how they are used, against counting by hand."""

import math
from collections import Counter

import pytest
import torch

from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.prior import Prior
from ssl_tt.training.prior import Bits, Level, fit, perplexity, score, together

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
    level = score(Prior(CONFIG, 16, groups=groups), train, held_out, None, None, 16, seconds=5 * 20 / 50)
    assert level.bits.uniform == pytest.approx(50 * groups * 4)
    assert level.bits.prior == pytest.approx(level.bits.uniform)
    assert level.perplexity_speaking is None


def test_unigram_bits_and_use_while_speaking_are_those_counted_by_hand() -> None:
    torch.manual_seed(0)
    train, held_out = torch.randint(4, (3, 8)), torch.randint(6, (2, 8))
    speaking = torch.rand(2, 16) < 0.5  # two frames for each code, as of a slow level
    level = score(Prior(CONFIG, 6), train, held_out, None, speaking, 6, seconds=2.0)
    counts = Counter(train.flatten().tolist())
    nats = -sum(math.log((counts[code] + 1) / (train.numel() + 6)) for code in held_out.flatten().tolist())
    assert level.bits.unigram == pytest.approx(nats / math.log(2) / 2.0)
    spoken = [
        int(held_out[row, frame])
        for row in range(2)
        for frame in range(8)
        if speaking[row, 2 * frame : 2 * frame + 2].sum() >= 1
    ]
    assert level.perplexity_speaking == [pytest.approx(by_hand(spoken))]
    assert level.perplexity == [pytest.approx(by_hand(held_out.flatten().tolist()))]


def test_groups_cost_the_sum_of_what_each_does_and_each_codebook_has_its_own_use() -> None:
    """The second group is a permutation of the first: it costs nothing, and its frequencies alone do not tell that."""
    torch.manual_seed(0)
    first = torch.randint(4, (64, 12))
    codes = torch.stack([first, torch.tensor([2, 0, 3, 1])[first]], dim=2)
    prior = fit(CONFIG.model_copy(update={"steps": 80, "learning_rate": 1e-2}), 4, codes, quiet=True)
    codes[:, 6:] = codes[:, :1]  # used less evenly than in training
    speaking = torch.rand(64, 12) < 0.3
    level = score(prior, codes, codes, None, speaking, 4, seconds=1.0)
    with torch.no_grad():
        each = (prior(codes).double().sum(dim=(0, 1)) / math.log(2)).tolist()
    assert level.bits.prior == pytest.approx(sum(each))
    assert each[1] < 0.02 * each[0]
    alone = [score(Prior(CONFIG, 4), codes[..., g], codes[..., g], None, speaking, 4, seconds=1.0) for g in (0, 1)]
    assert level.bits.unigram == pytest.approx(sum(of_group.bits.unigram for of_group in alone))
    assert level.perplexity == [use for of_group in alone for use in of_group.perplexity]
    assert level.perplexity_speaking == [use for of_group in alone for use in of_group.perplexity_speaking or []]


def test_levels_cost_their_sum_together() -> None:
    levels = {name: Level(Bits(n, 2 * n, 3 * n), 16, [1.0], None) for name, n in (("top", 1.5), ("bottom", 4.0))}
    assert together(levels) == Bits(5.5, 11.0, 16.5)


@pytest.mark.parametrize("speaking", [None, torch.zeros(2, 8, dtype=torch.bool)], ids=["no segments", "silence"])
def test_use_while_speaking_is_not_known_where_nobody_is_known_to_speak(speaking: torch.Tensor | None) -> None:
    codes = torch.tensor([[0, 1, 2, 3]]).expand(2, -1)
    level = score(Prior(CONFIG, 16), codes, codes, None, speaking, 16, seconds=1.0)
    assert level.perplexity_speaking is None
    assert str(level).endswith("perplexity not known while speaking, 4 of 16 in all")


def test_the_use_of_every_codebook_is_printed() -> None:
    level = Level(Bits(1.0, 2.0, 3.0), 512, perplexity=[190.2, 80.0], perplexity_speaking=[231.4, 96.0])
    assert str(level).endswith("perplexity 231 and 96 of 512 while speaking, 190 and 80 in all")
