"""In how many hours of voice activity does each preset find its events in a second, on one core?

    python benchmarks/turns.py [--out FILE] [--repeats N] [--hours H]         half a minute

Events alone: `find_events` on the activity of one made-up dialogue of ten hours, as a ready array at the preset's rate
(50 Hz, or 20 Hz where it counts frames), with utterances of 2 s, silences and overlaps of 0.5 s in the mean. Presets
take turns, so whatever else the machine is doing weighs on all alike; each number is the best of the repeats, by the
processor's time. Prints a table in Markdown and writes the numbers as JSON.
"""

import time
from typing import Any

import numpy as np
from machine import machine, options, show, table, write
from numpy.typing import NDArray

from ssl_tt.turns.event_files import DEFAULT_FRAME_RATE_HZ
from ssl_tt.turns.events import find_events
from ssl_tt.turns.presets import PRESETS

MEAN_SECONDS = np.array([0.5, 2.0, 2.0, 0.5])  # silence, A, B, both


def dialogue(hours: float, frame_rate_hz: float) -> NDArray[np.bool_]:
    """Activity [T, 2] of a dialogue in which one of the other three states follows each."""
    rng = np.random.default_rng(0)
    n_frames = round(hours * 3600 * frame_rate_hz)
    n_runs = round(hours * 3600 * 2)  # enough, as a run lasts more than a second in the mean
    states = rng.integers(1, 4, n_runs).cumsum() % 4
    frames = 1 + rng.exponential(MEAN_SECONDS[states] * frame_rate_hz).astype(int)
    bits = np.repeat(states, frames)[:n_frames]
    return np.stack([bits & 1, bits >> 1], axis=1).astype(bool)


def measure(repeats: int, hours: float) -> list[dict[str, Any]]:
    rates_hz = {name: preset.frame_rate_hz or DEFAULT_FRAME_RATE_HZ for name, preset in PRESETS.items()}
    activity = {rate_hz: dialogue(hours, rate_hz) for rate_hz in set(rates_hz.values())}
    seconds: dict[str, list[float]] = {}
    n_events: dict[str, int] = {}
    for _ in range(repeats):
        for name, rate_hz in rates_hz.items():
            start = time.process_time()
            n_events[name] = len(find_events(activity[rate_hz], rate_hz, name))
            seconds.setdefault(name, []).append(time.process_time() - start)
    return [
        {
            "preset": name,
            "frame_rate_hz": rate_hz,
            "hours": hours,
            "events": n_events[name],
            "seconds": seconds[name],
            "hours_per_second": hours / min(seconds[name]),
        }
        for name, rate_hz in rates_hz.items()
    ]


def preset_table(rows: list[dict[str, Any]]) -> str:
    return table(
        ("preset", "Hz", "events", "seconds", "hours of activity a second"),
        [
            (
                row["preset"],
                f"{row['frame_rate_hz']:g}",
                f"{row['events']:,}",
                f"{min(row['seconds']):.2f}",
                f"{row['hours_per_second']:.0f}",
            )
            for row in rows
        ],
    )


def main() -> None:
    parser = options(__doc__, "turns", "times each preset is applied")
    parser.add_argument("--hours", type=float, default=10.0, help="length of the dialogue (%(default)s)")
    arguments = parser.parse_args()
    rows, about = measure(arguments.repeats, arguments.hours), machine() | {"numpy": np.__version__}
    show(about, preset_table(rows))
    write(arguments.out, about, rows=rows)


if __name__ == "__main__":
    main()
