"""Scores of parts: by the length of the silence, and of events whose every frame was answered.

A system that never hears a cue can still be right after long silences, where the mere wait tells shifts from holds. So
scores are also given by silence duration.

Frame-wise and event-wise scores are different questions. Frame-wise (VAP 2022) every frame of a scored region is an
answer, so an event of ten frames weighs ten times one of a single frame, and a system that wavers within an event is
half right. Event-wise the scores of a region are averaged first and answered once, as a dialogue system has to decide
once: every event weighs the same. Where all regions have one length, they differ by the wavering alone.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.turns.bootstrap import Floats

SILENCE_EDGES = (0.25, 0.5, 1.0, 2.0, np.inf)


class SilenceGroup(NamedTuple):
    """Events after silences that last from `shortest` on and less than `longest` seconds."""

    shortest: float
    longest: float
    n: int
    """Number of events."""
    values: Floats
    """Score [1 + draws], for `estimate`; NaN where not defined, as it is without events."""


def by_silence(
    seconds: ArrayLike,
    score: Callable[[NDArray[np.bool_]], ArrayLike],
    edges: Sequence[float] = SILENCE_EDGES,
) -> list[SilenceGroup]:
    """Scores of the events in each group of silence durations: up to the first edge, to the second, ...

    seconds: duration [E] of each event's silence. score: from the chosen events [E] bool to values [1 + draws]. Raises
    InputError for edges that do not rise from above 0, and for a silence that is not below the last one.
    """
    seconds, bounds = np.asarray(seconds, dtype=np.float64), np.array([0.0, *edges])
    if not (len(bounds) > 1 and (np.diff(bounds) > 0).all()):
        raise InputError(f"edges of silence {list(edges)} s, expected numbers above 0 that rise")
    if outside := [each for each in seconds if not 0 <= each < bounds[-1]]:
        raise InputError(f"a silence of {outside[0]:g} s is in no group: edges end at {bounds[-1]:g}, expected inf")
    place = np.searchsorted(bounds, seconds, side="right") - 1
    groups = []
    for i, (shortest, longest) in enumerate(pairwise(bounds)):
        chosen = place == i
        values = np.asarray(score(chosen), dtype=np.float64)
        groups.append(SilenceGroup(float(shortest), float(longest), int(chosen.sum()), values))
    return groups


def event_wise(score: ArrayLike, event: ArrayLike, n_events: int) -> Floats:
    """Mean score [n_events] of the frames of each event; score and event (numbered from 0), each [n].

    Raises InputError for events that have no frame.
    """
    score, event = np.asarray(score, dtype=np.float64), np.asarray(event, dtype=np.int64)
    if score.ndim != 1 or score.shape != event.shape:
        raise InputError(f"scores {list(score.shape)} and events {list(event.shape)}: expected two lists of one length")
    if len(event) and not (event.min() >= 0 and event.max() < n_events):
        raise InputError(f"events are numbered 0 to {n_events - 1}, given {event.min()} to {event.max()}")
    n = np.bincount(event, minlength=n_events)
    if not n.all():
        raise InputError(f"event {int(np.argmin(n))} has no frame, expected at least one of each event")
    return np.bincount(event, score, n_events) / n
