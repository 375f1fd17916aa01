"""From who will have the floor to scores of events: one number a scored frame, the higher the likelier class 1.

| question            | class 1 against class 0           | score                                    |
|---------------------|-----------------------------------|------------------------------------------|
| shift_hold          | shift against hold                | now, of the one who did not speak last   |
| predict_shift       | predict_shift, its negative       | later, of the one who has not the turn   |
| predict_backchannel | predict_backchannel, its negative | now, of the one who listens              |
| short_long          | long against short                | later, of the one who has begun to speak |

`now` is the floor in the next 0.6 s, `later` that from 0.6 to 2 s. Which of them a question reads is that of
VoiceActivityProjection (vap/objective.py, `extract_prediction_and_targets`). Backchannels are left open there, and the
paper of 2022 reads them from a subset of its 256 states, which other targets do not have: here it is `now`, as a
backchannel begins within 0.5 s of every frame of its window. Its scores are not those of the paper.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.turns.bootstrap import Floats
from ssl_tt.turns.breakdown import event_wise
from ssl_tt.turns.events import Event
from ssl_tt.turns.sampling import windows
from ssl_tt.turns.spans import Kind

EventTask = Literal["shift_hold", "predict_shift", "predict_backchannel", "short_long"]


class Reading(NamedTuple):
    kinds: tuple[Kind, Kind]
    """Of class 0 and of class 1."""
    later: bool
    """Whether it is asked about what comes later; now if not."""
    of_speaker: bool
    """Whether it is asked about the event's `speaker`; about the other than `previous` if not."""


READINGS: dict[EventTask, Reading] = {
    "shift_hold": Reading(("hold", "shift"), later=False, of_speaker=False),
    "predict_shift": Reading(("predict_shift_negative", "predict_shift"), later=True, of_speaker=False),
    "predict_backchannel": Reading(
        ("predict_backchannel_negative", "predict_backchannel"), later=False, of_speaker=True
    ),
    "short_long": Reading(("short", "long"), later=True, of_speaker=True),
}


class Scores(NamedTuple):
    """Answers to one question, each frame of the events' regions by itself."""

    truth: NDArray[np.bool_]
    """[n], true for class 1."""
    score: Floats
    """[n], from 0 to 1."""
    event: NDArray[np.int64]
    """[n], the number of the frame's event among those of this question, from 0, in the order given."""

    @property
    def weight(self) -> Floats:
        """[n], one over the frames of the event: so weighed, every event counts the same."""
        return 1 / np.bincount(self.event)[self.event]

    def event_wise(self) -> "Scores":
        """One answer an event, the mean over its region; of a region of one frame, that at its decision."""
        n_events = int(self.event.max(initial=-1)) + 1
        _, first = np.unique(self.event, return_index=True)
        return Scores(self.truth[first], event_wise(self.score, self.event, n_events), np.arange(n_events))


def floor_scores(now: ArrayLike, later: ArrayLike, events: Sequence[Event]) -> dict[EventTask, Scores]:
    """Scores of every question of one conversation, some without an answer.

    now, later: probability [T] that speaker 0 rather than 1 has the floor, as row 0 of a target's `floor`. events: of
    the same frames, by any preset; kinds that no question is about are passed over. Raises InputError for other than
    probabilities of one length, and for events that are scored outside of their frames.
    """
    floors = _check(now, later)
    found: dict[EventTask, Scores] = {}
    for question, reading in READINGS.items():
        asked = [event for event in events if event.kind in reading.kinds]
        columns = [
            (*event.region, event.speaker if reading.of_speaker else 1 - event.previous, event.kind == reading.kinds[1])
            for event in asked
        ]
        start, end, who, truth = np.array(columns, dtype=np.int64).reshape(-1, 4).T
        outside = np.flatnonzero((start < 0) | (end > floors.shape[1]) | (start >= end))
        if len(outside):
            first = asked[outside[0]]
            raise InputError(
                f"a {first.kind} is scored in frames {first.region[0]} to {first.region[1] - 1}, given are "
                f"probabilities of {floors.shape[1]}: find events in the activity of the same frames"
            )
        frame, event = windows(start, end, 1)
        of_first = floors[int(reading.later), frame]
        score = np.where(who[event] == 0, of_first, 1 - of_first)
        found[question] = Scores(truth[event].astype(bool), score, event)
    return found


def _check(now: ArrayLike, later: ArrayLike) -> Floats:
    """Both as [2, T]."""
    parts = [np.asarray(each, dtype=np.float64) for each in (now, later)]
    if parts[0].ndim != 1 or parts[0].shape != parts[1].shape:
        raise InputError(
            f"probabilities {list(parts[0].shape)} of now and {list(parts[1].shape)} of later, expected two lists of "
            "one length, [frames]: give those of speaker 0 of one conversation"
        )
    floors = np.stack(parts)
    if not ((floors >= 0) & (floors <= 1)).all():  # NaN is neither
        raise InputError("probabilities outside of 0 to 1, or NaN: give those that speaker 0 has the floor")
    return floors
