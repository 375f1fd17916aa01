"""The prior over codes against sources whose entropy is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.prior import Prior
from ssl_tt.training.prior import fit

TRANSITIONS = torch.tensor([[0.0, 0.9, 0.1, 0.0], [0.0, 0.0, 0.5, 0.5], [0.7, 0.0, 0.0, 0.3], [0.25, 0.25, 0.25, 0.25]])
CONFIG = PriorConfig(channels=16, dilations=(1, 2), steps=150, batch_sequences=16, learning_rate=1e-2)


def markov_chain(sequences: int, length: int, seed: int = 0) -> Tensor:
    """Codes [sequences, length] of the chain of TRANSITIONS."""
    generator = torch.Generator().manual_seed(seed)
    codes = [torch.zeros(sequences, dtype=torch.int64)]
    for _ in range(length - 1):
        codes.append(torch.multinomial(TRANSITIONS[codes[-1]], 1, generator=generator).flatten())
    return torch.stack(codes, dim=1)


def entropy_rate() -> float:
    """Nats a code: the entropies of the rows, weighted by how often the chain is in each state."""
    stationary = torch.linalg.matrix_power(TRANSITIONS.double(), 1000)[0]
    return float((stationary * torch.special.entr(TRANSITIONS.double()).sum(dim=1)).sum())


def test_the_prior_starts_uniform():
    nats = Prior(CONFIG, codes=64, given=5)(torch.randint(64, (2, 12)), torch.randint(5, (2, 4)))
    torch.testing.assert_close(nats / math.log(2), torch.full((2, 12), 6.0))


def test_the_prior_learns_a_markov_chain_to_its_entropy_rate_and_draws_it():
    prior = fit(CONFIG, 4, markov_chain(64, 48), quiet=True)
    with torch.no_grad():
        nats = prior(markov_chain(64, 48, seed=1))[:, 1:].mean().item()
    assert nats == pytest.approx(entropy_rate(), rel=0.03)
    drawn = prior.sample(64, 48, torch.Generator().manual_seed(0))
    counts = torch.zeros(4, 4).index_put_((drawn[:, :-1].flatten(), drawn[:, 1:].flatten()), torch.tensor(1.0), True)
    assert (counts / counts.sum(dim=1, keepdim=True) - TRANSITIONS).abs().max() < 0.08


def test_codes_that_follow_from_those_before_cost_nothing():
    """Every sequence counts to 5 and begins again."""
    codes = (torch.arange(40) % 5).expand(16, -1)
    prior = fit(CONFIG.model_copy(update={"steps": 60}), 5, codes, quiet=True)
    with torch.no_grad():
        assert prior(codes).mean() / math.log(2) < 0.02


def test_a_bottom_that_copies_its_top_costs_nothing_given_it_from_the_first_frame_of_each_on():
    """The tops are fair rolls of a die, of which the codes before tell nothing; the bottom is held-out."""
    tops = torch.randint(6, (128, 10), generator=torch.Generator().manual_seed(0))
    top, top_held_out = tops[:96], tops[96:]
    held_out = top_held_out.repeat_interleave(4, dim=1)
    prior = fit(CONFIG.model_copy(update={"steps": 100}), 6, top.repeat_interleave(4, dim=1), top, quiet=True)
    with torch.no_grad():
        assert prior(held_out, top_held_out).max() / math.log(2) < 0.1
    assert torch.equal(prior.sample(32, 40, torch.Generator().manual_seed(0), top_held_out), held_out)


def test_a_prior_given_the_coarser_level_spends_nothing_on_what_that_tells():
    """Each coarse code tells a half of the codebook for its two fine codes; which of that half is a fair coin."""
    torch.manual_seed(0)
    coarse = torch.randint(2, (64, 16))
    fine = 2 * coarse.repeat_interleave(2, dim=1) + torch.randint(2, (64, 32))
    prior = Prior(CONFIG, codes=4, given=2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        prior(fine, coarse).mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert prior(fine, coarse).mean().item() == pytest.approx(math.log(2), rel=0.03)
        assert torch.equal(
            prior.sample(64, 32, torch.Generator().manual_seed(0), coarse) // 2, coarse.repeat_interleave(2, dim=1)
        )


def test_training_is_a_function_of_the_seed_and_leaves_the_generator_alone():
    codes = markov_chain(8, 16)
    few = CONFIG.model_copy(update={"steps": 3})
    generator = torch.get_rng_state()
    first, again = (fit(few, 4, codes, quiet=True).state_dict() for _ in range(2))
    assert torch.equal(generator, torch.get_rng_state())
    other = fit(few.model_copy(update={"seed": 1}), 4, codes, quiet=True).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not np.allclose(first["codes.hidden.weight"], other["codes.hidden.weight"])


def test_a_prior_of_groups_starts_uniform_and_finds_what_one_group_tells_of_the_next():
    """The first group of a frame is a fair coin; the second repeats it, and the next frame's first is another coin."""
    coin = torch.randint(2, (64, 12), generator=torch.Generator().manual_seed(0))
    codes = torch.stack([coin, 1 - coin], dim=2)
    nats = Prior(CONFIG, codes=2, groups=2)(codes)
    torch.testing.assert_close(nats, torch.full((64, 12, 2), math.log(2)))
    prior = fit(CONFIG.model_copy(update={"steps": 60}), 2, codes, quiet=True)
    with torch.no_grad():
        first, second = prior(codes).mean(dim=(0, 1)).tolist()
    assert first == pytest.approx(math.log(2), rel=0.05)
    assert second < 0.01
    drawn = prior.sample(64, 12, torch.Generator().manual_seed(0))
    assert drawn.shape == (64, 12, 2)
    assert torch.equal(drawn[..., 1], 1 - drawn[..., 0])


def test_a_prior_of_groups_reads_every_group_of_the_coarser_level():
    torch.manual_seed(0)
    coarse = torch.randint(2, (64, 6, 2))
    fine = coarse.flip(2).repeat_interleave(2, dim=1)
    prior = fit(CONFIG.model_copy(update={"steps": 60}), 2, fine, coarse, quiet=True)
    with torch.no_grad():
        assert prior(fine, coarse).mean() < 0.02
    assert torch.equal(prior.sample(64, 12, torch.Generator().manual_seed(0), coarse), fine)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("given", [None, 5])
def test_codes_are_drawn_by_the_seed_as_their_probabilities_one_after_another_say(given: int | None, groups: int):
    """The slow way asks the whole sequence for the probability of every code at every place, and keeps no past."""
    torch.manual_seed(0)
    prior = Prior(CONFIG, 4, given, groups)
    torch.nn.init.normal_(prior.codes.output.weight, std=0.5)
    shape = (2, 8) if groups == 1 else (2, 8, groups)
    coarser = None if given is None else torch.randint(given, (2, 4, *shape[2:]))
    drawn = prior.sample(2, 8, torch.Generator().manual_seed(3), coarser)
    noise = torch.rand(2, 8 * groups, 1, generator=torch.Generator().manual_seed(3))
    slow = torch.zeros(2, 8 * groups, dtype=torch.int64)
    for n in range(8 * groups):
        shares = []
        for code in range(4):
            slow[:, n] = code
            with torch.no_grad():
                shares.append((-prior(slow.view(shape), coarser).flatten(1)[:, n]).exp())
        slow[:, n] = (torch.stack(shares, dim=1).cumsum(dim=1)[:, :-1] <= noise[:, n]).sum(dim=1)
    assert torch.equal(drawn, slow.view(shape))
    assert torch.equal(drawn, prior.sample(2, 8, torch.Generator().manual_seed(3), coarser))
    assert not torch.equal(drawn, prior.sample(2, 8, torch.Generator().manual_seed(4), coarser))


@pytest.mark.parametrize("given", [None, 3])
def test_coarser_codes_are_given_where_the_prior_was_made_for_some_and_only_there(given):
    coarse = None if given else torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="coarser codes must be given"):
        Prior(CONFIG, codes=4, given=given)(torch.zeros(2, 12, dtype=torch.int64), coarse)
