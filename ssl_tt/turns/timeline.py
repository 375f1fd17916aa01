"""A dialogue as text: who speaks, and the events that were found in it."""

from collections.abc import Iterable
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.timebase import frames
from ssl_tt.turns.events import Event
from ssl_tt.turns.spans import Kind
from ssl_tt.turns.states import check_activity

_SEVERAL = "*"


def timeline(
    activity: ArrayLike,
    events: Iterable[Event],
    frame_rate_hz: float,
    *,
    column_seconds: float = 0.1,
    columns: int = 100,
) -> str:
    """Activity [T, 2] and events drawn under each other, in blocks of so many columns.

    seconds 5         6
    A       ######...........
    B       ...........######
    shift         BB            B takes the turn; scored in these columns

    `#` where a speaker speaks in at least half of a column's frames, `.` else. Each kind of event that there is has a
    row with the letter of its speaker where an event's region touches the column, `*` where two speakers' do. A column
    has the frames that fit into `column_seconds`, the last one of the dialogue those that are left. Raises InputError
    for activity as `find_events` does, for a rate that is not positive, and for columns shorter than a frame or none.
    """
    spoken = check_activity(activity)
    if not (np.isfinite(frame_rate_hz) and frame_rate_hz > 0):
        raise InputError(f"frame rate {frame_rate_hz} Hz: expected a positive number")
    width = frames(column_seconds, frame_rate_hz) if column_seconds > 0 else 0
    if width == 0:
        raise InputError(
            f"columns of {column_seconds:g} s at {frame_rate_hz:g} Hz: expected at least a frame, "
            f"{1 / frame_rate_hz:g} s; raise column_seconds"
        )
    if columns < 1:
        raise InputError(f"blocks of {columns} columns, expected 1 or more")
    n_columns = -(-len(spoken) // width)
    by_kind: dict[Kind, list[Event]] = {}
    for event in events:
        by_kind.setdefault(event.kind, []).append(event)
    rows = {
        "seconds": _clock(n_columns, width, frame_rate_hz),
        **{name: _speech(spoken[:, speaker], width) for speaker, name in enumerate("AB")},
        **{kind: _marks(by_kind[kind], n_columns, width) for kind in get_args(Kind) if kind in by_kind},
    }
    margin = max(map(len, rows)) + 1
    blocks = [
        "\n".join(f"{name:{margin}}{row[first : first + columns]}".rstrip() for name, row in rows.items())
        for first in range(0, n_columns, columns)
    ]
    return "\n\n".join(blocks)


def _clock(n_columns: int, width: int, frame_rate_hz: float) -> str:
    """Every whole second at the first column that does not begin before it, where there is room for it."""
    row = [" "] * n_columns
    free = 0
    for second in range(int(n_columns * width / frame_rate_hz) + 1):
        at, digits = int(np.ceil(second * frame_rate_hz / width - 1e-9)), str(second)
        if free <= at and at + len(digits) <= n_columns:
            row[at : at + len(digits)] = digits
            free = at + len(digits) + 1
    return "".join(row)


def _speech(spoken: NDArray[np.bool_], width: int) -> str:
    """Activity [T] of a speaker, a mark for each column."""
    return "".join("#" if spoken[at : at + width].mean() >= 0.5 else "." for at in range(0, len(spoken), width))


def _marks(events: Iterable[Event], n_columns: int, width: int) -> str:
    """The letter of the speaker at every column that the region of an event of one kind touches."""
    row = [" "] * n_columns
    for event in events:
        letter, (first, end) = "AB"[event.speaker], event.region
        for at in range(first // width, min(-(-end // width), n_columns)):
            row[at] = letter if row[at] in (" ", letter) else _SEVERAL
    return "".join(row)
