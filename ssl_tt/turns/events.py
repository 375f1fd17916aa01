"""Who speaks next after a silence: events of turn-taking, found in voice activity.

A ######..........      a shift to B: kind "shift", speaker 1, the silence is frames 6 to 9
B ..........######

A ######....######      a hold by A: kind "hold", speaker 0
B ................
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.timebase import frames
from ssl_tt.turns.presets import Preset, find_preset

# States of a dialogue, as in Ekstedt & Skantze 2022.
ONLY_A, SILENCE, BOTH, ONLY_B = 0, 1, 2, 3


@dataclass(frozen=True, order=True)
class Event:
    """One turn-taking event; frame t covers [t * hop, (t + 1) * hop), and every `end` is exclusive."""

    start: int
    """First frame of the mutual silence."""
    end: int
    """First frame after it."""
    kind: Literal["shift", "hold"]
    speaker: int
    """Who speaks next."""
    region: tuple[int, int]
    """Frames that are scored, [first, last + 1)."""

    @property
    def decision(self) -> int:
        """Frame at which the answer is due: the last one that ends by the decision time of the preset."""
        return self.region[1] - 1

    @property
    def previous(self) -> int:
        """Who spoke before the silence."""
        return 1 - self.speaker if self.kind == "shift" else self.speaker


def find_events(activity: ArrayLike, frame_rate_hz: float, preset: str = "inoue2024") -> list[Event]:
    """Turn-taking events of one dialogue, in order of time.

    activity: [T, 2] bool (or 0 and 1), `activity[t, s]` true where speaker s speaks in frame t; `frame_rate_hz` frames
    a second. Raises InputError for other shapes or values, an unknown preset, and a rate too low for its durations.

    A silence between two different speakers is a shift, between the same one a hold. It counts if it is longer than
    the preset's minimum and if the utterances around it, pauses inside a turn filled, are of one speaker alone and
    longer than the preset's minimum. Durations become frames by truncation. Reference: Ekstedt & Skantze 2022
    (Interspeech), with the settings of the preset.
    """
    rules = find_preset(preset)
    states = dialogue_states(check_activity(activity))
    silence, utterance, decision, context = _durations(rules, frame_rate_hz)

    starts, ends, run_states = runs(states)
    if len(run_states) < 3:
        return []
    before, now, after = run_states[:-2], run_states[1:-1], run_states[2:]
    between_turns = (now == SILENCE) & (before != BOTH) & (after != BOTH)  # neighbours of a silence are never silence
    hold = between_turns & (before == after)

    # A pause inside a turn belongs to its speaker.
    filled = run_states.copy()
    filled[1:-1][hold] = before[hold]
    filled_starts, filled_ends, _ = runs(np.repeat(filled, ends - starts))
    silence_starts, silence_ends = starts[1:-1], ends[1:-1]
    utterance_before = silence_starts - filled_starts[np.searchsorted(filled_ends, silence_starts)]
    utterance_after = filled_ends[np.searchsorted(filled_starts, silence_ends, side="right") - 1] - silence_ends

    counts = (
        between_turns
        & (silence_ends - silence_starts > silence)
        & (utterance_before > utterance)
        & (utterance_after > utterance)
        & (silence_starts + decision >= context)
    )
    return [
        Event(
            start=int(silence_starts[i]),
            end=int(silence_ends[i]),
            kind="hold" if hold[i] else "shift",
            speaker=int(after[i] == ONLY_B),
            region=(int(silence_starts[i]) + decision - 1, int(silence_starts[i]) + decision),
        )
        for i in np.flatnonzero(counts)
    ]


def check_activity(activity: ArrayLike) -> NDArray[np.bool_]:
    """Activity [T, 2] as bool; InputError says what else was given."""
    array = np.asarray(activity)
    if array.ndim != 2:
        raise InputError(f"activity of shape {list(array.shape)}: expected [frames, 2]; give one column a speaker")
    if array.shape[1] != 2:
        raise InputError(
            f"activity of {array.shape[1]} speakers: turn-taking events are defined for 2; choose two columns"
        )
    if array.dtype != bool:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():  # NaN is neither 0 nor 1
            raise InputError("activity holds values other than 0 and 1, or NaN: give bool, true where a speaker speaks")
        array = array.astype(bool)
    return array


def dialogue_states(activity: NDArray[np.bool_]) -> NDArray[np.int64]:
    """States [T] of activity [T, 2]: 0 only A, 1 silence, 2 both, 3 only B."""
    code = activity[:, 0].astype(np.int64) + 2 * activity[:, 1]
    return np.array([SILENCE, ONLY_A, ONLY_B, BOTH])[code]


def runs(states: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Maximal stretches of one state: first frames, frames after the last, states."""
    if len(states) == 0:
        return (np.zeros(0, np.int64),) * 3
    changes = np.flatnonzero(np.diff(states)) + 1
    starts = np.concatenate([[0], changes])
    return starts, np.concatenate([changes, [len(states)]]), states[starts]


def last_speaker(activity: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Who was last active alone, [T]: carried over silence and overlap; -1 before anyone has spoken alone."""
    states = dialogue_states(activity)
    alone = (states == ONLY_A) | (states == ONLY_B)
    latest = np.maximum.accumulate(np.where(alone, np.arange(len(states)), -1))
    return np.where(latest >= 0, (states[latest] == ONLY_B).astype(np.int64), -1)


def _durations(rules: Preset, frame_rate_hz: float) -> tuple[int, int, int, int]:
    """Silence, utterance, decision and context of a preset in frames."""
    if not (np.isfinite(frame_rate_hz) and frame_rate_hz > 0):
        raise InputError(f"frame rate {frame_rate_hz} Hz: expected a positive number")
    durations = (
        rules.silence_above_seconds,
        rules.utterance_above_seconds,
        rules.decision_seconds,
        rules.context_seconds,
    )
    shortest = min(durations)
    if frames(shortest, frame_rate_hz) == 0:
        raise InputError(
            f"frame rate {frame_rate_hz:g} Hz: the {shortest:g} s of preset {rules.name!r} would be 0 frames; "
            f"give activity at {1 / shortest:g} Hz or more"
        )
    silence, utterance, decision, context = (frames(duration, frame_rate_hz) for duration in durations)
    return silence, utterance, decision, context
