"""What the end of a synthetic utterance tells: three cues of known strength, so that the best possible score is known.

Given whether a shift or a hold follows, the cues are independent, and they depend on nothing else. Each is present with
probability 0.5 + a * strength before a shift and 0.5 - a * strength before a hold, a being its entry below.
"""

from functools import cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

Label = Literal["shift", "hold"]
Movement = Literal["fall", "rise", "level"]

MOVEMENT, LENGTHENING, SOFTENING = 0.32, 0.30, 0.08
"""Weights of the cues: no single one decides alone, and intensity by itself stays below 0.6 balanced accuracy."""

FALL_SHARE = 2 / 3
"""Falls among the moving ends; statements outnumber questions, and the direction itself tells nothing."""


class Cues(NamedTuple):
    """How an utterance ends."""

    movement: Movement
    """Final movement of the pitch."""
    lengthened: bool
    """The last syllable is drawn out."""
    softened: bool
    """The voice drops."""


_MOVEMENTS: tuple[Movement, ...] = ("fall", "rise", "level")
ALL_CUES = tuple(Cues(*values) for values in product(_MOVEMENTS, (False, True), (False, True)))


def probability(cues: Cues, label: Label, strength: float) -> float:
    """Probability of an ending given what follows it."""
    sign = strength if label == "shift" else -strength
    moving = 0.5 + MOVEMENT * sign
    movement = {"fall": moving * FALL_SHARE, "rise": moving * (1 - FALL_SHARE), "level": 1 - moving}[cues.movement]
    lengthened, softened = 0.5 + LENGTHENING * sign, 0.5 + SOFTENING * sign
    return (
        movement * (lengthened if cues.lengthened else 1 - lengthened) * (softened if cues.softened else 1 - softened)
    )


def draw(label: Label, strength: float, rng: np.random.Generator) -> Cues:
    """Draw an ending given what follows it."""
    return ALL_CUES[rng.choice(len(ALL_CUES), p=_probabilities(label, strength))]


@cache
def _probabilities(label: Label, strength: float) -> list[float]:
    return [probability(cues, label, strength) for cues in ALL_CUES]


def posterior(cues: Cues, strength: float, shift_probability: float) -> float:
    """Probability of a shift given the ending."""
    shift = shift_probability * probability(cues, "shift", strength)
    return shift / (shift + (1 - shift_probability) * probability(cues, "hold", strength))


def ceiling(strength: float) -> float:
    """The best possible balanced accuracy of telling shift from hold: choosing what makes the ending likelier."""
    return 0.5 * sum(max(probability(c, "shift", strength), probability(c, "hold", strength)) for c in ALL_CUES)
