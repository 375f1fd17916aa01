"""Pauses of Skantze 2017: a silence of so many frames after one speaker, and who alone speaks in the time after it."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.turns.presets import PauseRules
from ssl_tt.turns.spans import Kind, Spans, joined
from ssl_tt.turns.states import ONLY_A, ONLY_B, SILENCE, Runs, frames_before


def find_pauses(activity: NDArray[np.bool_], found: Runs, rules: PauseRules) -> dict[Kind, Spans]:
    """`shift` and `hold` at the pauses; start and end are those of the whole mutual silence.

        A ####..........    after 1 frame of silence and after 10 nobody knows; within the next 20 only B speaks
        B ........######

    A silence is asked about once for each length it reaches, at the last frame of that length, which is the region.
    The time looked ahead may end with the conversation, as in Roddy's code: what comes after is taken as silence.
    """
    silent = np.flatnonzero(found.states == SILENCE)
    silent = silent[silent > 0]  # Roddy's code reads silence at the start as coming after the last frame
    before = found.states[silent - 1]
    silent, before = (each[(before == ONLY_A) | (before == ONLY_B)] for each in (silent, before))
    counts = frames_before(activity)
    parts: dict[Kind, list[Spans]] = {"shift": [], "hold": []}
    for length in rules.pause_frames:
        reached = found.ends[silent] - found.starts[silent] >= length
        start, end = found.starts[silent[reached]], found.ends[silent[reached]]
        ask = start + length
        speaks = counts[np.minimum(ask + rules.ahead_frames, len(activity))] > counts[ask]
        one_speaks = speaks[:, 0] != speaks[:, 1]
        next_speaker = speaks[:, 1].astype(np.int64)
        same = next_speaker == (before[reached] == ONLY_B)
        spans = Spans(start, end, next_speaker, ask - 1, ask)
        parts["shift"].append(spans.take(one_speaks & ~same))
        parts["hold"].append(spans.take(one_speaks & same))
    return {kind: joined(of_kind) for kind, of_kind in parts.items()}
