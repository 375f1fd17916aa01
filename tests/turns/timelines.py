"""Dialogues drawn as timelines, `#` where a speaker speaks, and events drawn under them, a letter a scored frame."""

import numpy as np

from ssl_tt.turns.events import Event
from ssl_tt.turns.spans import Kind


def timeline(a: str, b: str) -> np.ndarray:
    """Activity [T, 2] of two rows."""
    assert len(a) == len(b)
    return np.array([[mark == "#" for mark in row] for row in (a, b)]).T.reshape(-1, 2)


def marked(events: list[Event], kind: Kind, n_frames: int) -> str:
    """The row of one kind: A or B, the event's speaker, in each frame of its region."""
    row = ["."] * n_frames
    for event in events:
        if event.kind == kind:
            for frame in range(*event.region):
                assert row[frame] == ".", "two events of one kind share a frame"
                row[frame] = "AB"[event.speaker]
    return "".join(row)


def of_runs(stretches: list[tuple[int, int]]) -> np.ndarray:
    """Activity [T, 2] of runs: who speaks (1 A, 2 B, 3 both, 0 nobody) and frames."""
    states = np.repeat([state for state, _ in stretches], [length for _, length in stretches]).astype(int)
    return np.stack([states & 1, states >> 1], axis=1).astype(bool)
