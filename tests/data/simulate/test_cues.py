"""The best possible score is what the cues allow, no more and no less."""

import numpy as np
import pytest

from ssl_tt.data.simulate import cues
from ssl_tt.data.simulate.cues import ALL_CUES


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_ceiling_is_what_the_best_decision_scores(strength: float) -> None:
    rng = np.random.default_rng(0)
    right = {"shift": [], "hold": []}
    for label in right:
        for _ in range(10_000):
            ending = cues.draw(label, strength, rng)
            right[label].append((cues.posterior(ending, strength, 0.5) > 0.5) == (label == "shift"))
    balanced = np.mean([np.mean(values) for values in right.values()])
    assert balanced == pytest.approx(cues.ceiling(strength), abs=0.012)  # three standard errors


@pytest.mark.parametrize("label", ["shift", "hold"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_probabilities_of_all_endings_sum_to_one(label: cues.Label, strength: float) -> None:
    assert sum(cues.probability(ending, label, strength) for ending in ALL_CUES) == pytest.approx(1)


def test_without_strength_nothing_tells() -> None:
    assert cues.ceiling(0.0) == pytest.approx(0.5)
    assert all(cues.posterior(ending, 0.0, 0.3) == pytest.approx(0.3) for ending in ALL_CUES)


def test_a_stronger_cue_tells_more() -> None:
    ceilings = [cues.ceiling(strength) for strength in np.linspace(0, 1, 6)]
    assert (np.diff(ceilings) > 0).all()
    assert 0.8 < ceilings[-1] < 0.9


@pytest.mark.parametrize(("cue", "least", "most"), [("softened", 0.55, 0.6), ("lengthened", 0.75, 0.83)])
def test_one_cue_alone_reaches_only_so_much(cue: str, least: float, most: float) -> None:
    def alone(label: cues.Label) -> float:
        return sum(cues.probability(ending, label, 1.0) for ending in ALL_CUES if getattr(ending, cue))

    balanced = 0.5 + 0.5 * (alone("shift") - alone("hold"))
    assert least < balanced <= most < cues.ceiling(1.0)


def test_the_posterior_is_bayes_rule() -> None:
    ending = cues.Cues("fall", lengthened=True, softened=False)
    # Moving 0.82 or 0.18, two thirds of it falls; lengthened 0.80 or 0.20; not softened 0.42 or 0.58.
    shift, hold = 0.82 * 2 / 3 * 0.80 * 0.42, 0.18 * 2 / 3 * 0.20 * 0.58
    assert cues.posterior(ending, 1.0, 0.25) == pytest.approx(0.25 * shift / (0.25 * shift + 0.75 * hold))
