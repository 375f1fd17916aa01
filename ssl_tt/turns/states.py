"""Who speaks, frame by frame: the states of a dialogue, its runs, its pauses filled, and who spoke last."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError

# States of a dialogue, as in Ekstedt & Skantze 2022.
ONLY_A, SILENCE, BOTH, ONLY_B = 0, 1, 2, 3


class Runs(NamedTuple):
    """Maximal stretches of one state, [R] each: first frames, frames after the last, states."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    states: NDArray[np.int64]


def check_activity(activity: ArrayLike) -> NDArray[np.bool_]:
    """Activity [T, 2] as bool; InputError says what else was given."""
    try:
        array = np.asarray(activity)
    except ValueError:  # from numpy, of nested lists
        raise InputError("activity of unequal rows: expected [frames, 2]; give one column a speaker") from None
    if array.ndim != 2:
        raise InputError(f"activity of shape {list(array.shape)}: expected [frames, 2]; give one column a speaker")
    if array.shape[1] != 2:
        hint = "transpose it to [frames, 2]" if array.shape[0] == 2 else "choose two columns"
        raise InputError(f"activity of {array.shape[1]} speakers: turn-taking events are defined for 2; {hint}")
    if array.dtype != bool:
        if array.dtype.kind not in "iuf" or not ((array == 0) | (array == 1)).all():  # NaN is neither 0 nor 1
            raise InputError("activity holds values other than 0 and 1, or NaN: give bool, true where a speaker speaks")
        array = array.astype(bool)
    return array


def dialogue_states(activity: NDArray[np.bool_]) -> NDArray[np.int64]:
    """States [T] of activity [T, 2]: 0 only A, 1 silence, 2 both, 3 only B."""
    code = activity[:, 0].astype(np.int64) + 2 * activity[:, 1]
    return np.array([SILENCE, ONLY_A, ONLY_B, BOTH])[code]


def runs(states: NDArray[np.generic]) -> Runs:
    """The runs of states [T], in order of time."""
    if len(states) == 0:
        return Runs(*(np.zeros(0, np.int64),) * 3)
    changes = np.flatnonzero(states[1:] != states[:-1]) + 1
    starts = np.concatenate([[0], changes])
    return Runs(starts, np.concatenate([changes, [len(states)]]), states[starts].astype(np.int64))


def spoken_runs(speaks: NDArray[np.bool_]) -> Runs:
    """The runs of [T] in which it is true."""
    found = runs(speaks)
    return Runs(*(column[found.states == 1] for column in found))


def filled(found: Runs) -> Runs:
    """Runs after every silence between two runs of one speaker alone has been given to that speaker.

    So pauses do not break a turn (Ekstedt & Skantze 2022; the runs 0, 1, 0 and 3, 1, 3).
    """
    states = found.states.copy()
    if len(states) > 2:
        before, now, after = states[:-2], states[1:-1], states[2:]
        pause = (now == SILENCE) & (before == after) & (before != BOTH)
        states[1:-1][pause] = before[pause]
    joined = runs(states)
    return Runs(found.starts[joined.starts], found.ends[joined.ends - 1], joined.states)


def last_states(found: Runs) -> NDArray[np.int64]:
    """Who was last active, [T]: the state itself, and in silence the one before it, which may be both.

    Silence at the start counts as both: nobody is known to have had the turn (Ekstedt & Skantze 2022).
    """
    states = found.states.copy()
    silent = np.flatnonzero(states == SILENCE)
    states[silent] = np.where(silent > 0, states[silent - 1], BOTH)
    return np.repeat(states, found.ends - found.starts)


def last_speaker(activity: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Who was last active alone, [T]: carried over silence and overlap; -1 before anyone has spoken alone."""
    states = dialogue_states(activity)
    alone = (states == ONLY_A) | (states == ONLY_B)
    latest = np.maximum.accumulate(np.where(alone, np.arange(len(states)), -1))
    return np.where(latest >= 0, (states[latest] == ONLY_B).astype(np.int64), -1)


def frames_before(activity: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Active frames before each frame, [T + 1, 2]: their number in [a, b) is the difference of rows b and a."""
    counts = np.zeros((len(activity) + 1, 2), np.int64)
    np.cumsum(activity, axis=0, out=counts[1:])
    return counts
