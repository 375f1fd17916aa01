"""Sequences one value after another: distributions in closed form, causality, and drawing that equals the slow way."""

import math

import pytest
import torch
from torch import Tensor

from ssl_tt.objectives.autoregressive import Autoregressive
from ssl_tt.objectives.distributions import Categorical, Distribution, LogisticMixture

CHANNELS = 8


def categorical() -> Distribution:
    return Categorical(12, CHANNELS)


def logistic() -> Distribution:
    return LogisticMixture(256, 3, CHANNELS)


distributions = pytest.mark.parametrize("distribution", [categorical, logistic])


def network(distribution: Distribution, condition_channels: int = 3) -> Autoregressive:
    """In double precision, with an output layer that is no longer zero."""
    torch.manual_seed(0)
    made = Autoregressive(distribution, CHANNELS, 2, (1, 2, 4, 1), condition_channels)
    torch.nn.init.normal_(made.output.weight, std=0.3)
    return made.double()


def values_of(made: Autoregressive, length: int, seed: int = 0) -> Tensor:
    drawn = torch.rand(2, length, made.distribution.draws, generator=torch.Generator().manual_seed(seed))
    return made.distribution.draw(made.distribution.initial().expand(2, length, -1), drawn)


def condition(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(2, frames, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Distributions


def test_an_untrained_softmax_is_uniform():
    made = Autoregressive(Categorical(256, CHANNELS), CHANNELS, 2, (1, 2))
    torch.testing.assert_close(made(torch.randint(256, (2, 50))), torch.full((2, 50), math.log(256)))


@pytest.mark.parametrize("levels", [256, 65_536])
def test_probabilities_of_all_levels_add_up_to_one(levels):
    mixture = LogisticMixture(levels, 4, CHANNELS)
    wide_and_narrow = torch.tensor([0.3, -1, 2, 0, 0.99, -1.2, 0.1, 0, -8.5, -1, -20, 3], dtype=torch.float64)
    for parameters in (mixture.initial().double(), wide_and_narrow):
        every = mixture.nats(parameters.expand(levels, -1), torch.arange(levels))
        assert every.isfinite().all()
        assert torch.exp(-every).sum().item() == pytest.approx(1, abs=1e-9)


def test_a_level_has_what_the_mixture_of_logistics_has_around_it():
    mixture = LogisticMixture(16, 2, CHANNELS)
    parameters = torch.tensor([0.5, -0.5, -0.4, 0.3, -2.0, -1.0], dtype=torch.float64)
    shares = torch.softmax(parameters[:2], dim=0)
    for level in range(16):
        expected = 0.0
        for share, mean, log_scale in zip(shares, parameters[2:4], parameters[4:], strict=True):
            edges = [-math.inf if level == 0 else (2 * level - 1) / 15 - 1]
            edges += [math.inf if level == 15 else (2 * level + 1) / 15 - 1]
            below, above = (torch.sigmoid((torch.tensor(edge) - mean) / log_scale.exp()) for edge in edges)
            expected += (share * (above - below)).item()
        assert math.exp(-mixture.nats(parameters, torch.tensor(level)).item()) == pytest.approx(expected, rel=1e-6)


def test_an_untrained_mixture_is_nearly_uniform():
    mixture = LogisticMixture(65_536, 10, CHANNELS)
    every = mixture.nats(mixture.initial().expand(65_536, -1), torch.arange(65_536))
    assert every.mean().item() == pytest.approx(math.log(65_536), abs=0.1)


@distributions
def test_draws_have_the_probabilities_of_the_distribution(distribution):
    torch.manual_seed(1)
    made = distribution()
    parameters = made.initial().double() + 0.5 * torch.randn(made.parameters_each, dtype=torch.float64)
    n = 100_000
    drawn = made.draw(parameters.expand(n, -1), torch.rand(n, made.draws, dtype=torch.float64))
    levels = 12 if isinstance(made, Categorical) else 256
    share = torch.bincount(drawn, minlength=levels) / n
    expected = torch.exp(-made.nats(parameters.expand(levels, -1), torch.arange(levels)))
    assert (share - expected).abs().max() < 5 * math.sqrt(expected.max().item() / n)


# --- Sequences


@distributions
def test_no_value_depends_on_itself_or_on_later_values_or_conditions(distribution):
    made = network(distribution())
    now, given = values_of(made, 24), condition(6)
    others, other_given = values_of(made, 24, seed=1), condition(6, seed=1)
    before = made.parameters_of(now, given)
    for cut in (9, 12):
        changed = torch.cat([now[:, :cut], others[:, cut:]], dim=1)
        after = made.parameters_of(changed, given)
        assert torch.equal(after[:, : cut + 1], before[:, : cut + 1])
        assert not torch.equal(after[:, cut + 1], before[:, cut + 1])
    changed = torch.cat([given[:, :3], other_given[:, 3:]], dim=1)
    after = made.parameters_of(now, changed)
    assert torch.equal(after[:, :12], before[:, :12])  # 4 values a frame
    assert (after[:, 12:] != before[:, 12:]).any(dim=2).all()


def test_the_gradient_reaches_the_receptive_field_and_nothing_else():
    # 1 + 1 + 2 + 4 + 1 values before the next one
    made = network(LogisticMixture(256, 3, CHANNELS))
    assert made.receptive_field == 9
    heard = torch.randn(1, 30, CHANNELS, dtype=torch.float64, requires_grad=True)
    given = condition(30)[:1].requires_grad_()
    made._run(heard, made._conditions(given), [None] * 4)[0, 20].sum().backward()
    assert torch.nonzero(heard.grad[0].any(dim=1)).flatten().tolist() == list(range(12, 21))
    assert torch.nonzero(given.grad[0].any(dim=1)).flatten().tolist() == list(range(13, 21))


def test_doubling_dilations_see_1024_values():
    assert Autoregressive(Categorical(4, 2), 2, 2, [2**i for i in range(10)]).receptive_field == 1024


@distributions
def test_drawing_with_kept_past_equals_running_over_all_of_it(distribution):
    made = network(distribution())
    noise = torch.rand(2, 60, made.distribution.draws, dtype=torch.float64)
    given = condition(15)
    drawn = made.generate(noise, given)
    slow = torch.zeros_like(drawn)
    with torch.no_grad():
        for n in range(60):
            slow[:, n] = made.distribution.draw(made.parameters_of(slow, given)[:, n], noise[:, n])
    assert torch.equal(drawn, slow)
    assert len(drawn.unique()) > 5
    assert not torch.equal(made.generate(noise, condition(15, seed=1)), drawn)
    assert torch.equal(made.generate(noise[1:], given[1:]), drawn[1:])


def test_a_condition_that_is_missing_or_not_asked_for_is_refused():
    made = network(categorical())
    with pytest.raises(ValueError, match="a condition must be given where"):
        made(values_of(made, 8))
    unconditioned = network(categorical(), condition_channels=0)
    with pytest.raises(ValueError, match="and only there"):
        unconditioned(values_of(unconditioned, 8), condition(2))
