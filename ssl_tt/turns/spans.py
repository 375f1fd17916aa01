"""Events of one kind as columns, so that a conversation of hours is searched without a loop over it."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = Literal[
    "shift",
    "hold",
    "shift_overlap",
    "overlap",
    "predict_shift",
    "predict_shift_negative",
    "backchannel",
    "predict_backchannel",
    "predict_backchannel_negative",
    "short",
    "long",
    "non_shift",
]
Frames = NDArray[np.int64]


class Spans(NamedTuple):
    """Events of one kind, a row each; the columns are the fields of `Event`."""

    start: Frames
    end: Frames
    speaker: Frames
    region_start: Frames
    region_end: Frames

    def take(self, rows: ArrayLike) -> "Spans":
        """The rows at these places, or where this is true."""
        return Spans(*(column[np.asarray(rows)] for column in self))


def of_windows(start: ArrayLike, end: ArrayLike, speaker: ArrayLike) -> Spans:
    """Events that are scored as a whole: their region is all of them."""
    first, last, who = np.asarray(start), np.asarray(end), np.asarray(speaker)
    return Spans(first, last, who, first, last)


def joined(parts: list[Spans]) -> Spans:
    """Events of several lists, in order of time."""
    whole = Spans(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return whole.take(np.lexsort((whole.speaker, whole.end, whole.start)))
