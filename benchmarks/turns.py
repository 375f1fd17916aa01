"""How fast are events found, linear probes fitted, heads trained and asked?

    python benchmarks/turns.py [--out FILE] [--repeats N] [--hours H] [--rows N] [--columns N] [--seconds S]

About 3 minutes.

Events: `find_events` on the activity of one made-up dialogue of ten hours, as a ready array at the preset's rate (50
Hz, or 20 Hz where it counts frames), with utterances of 2 s, silences and overlaps of 0.5 s in the mean; on one core,
the best of the repeats, by the processor's time.

Probes: each task of `ssl_tt.training.probe` fitted once on a million rows of 512 normal features (`future_activity` on
half a million frames of 2 x 256, which are read in both orders), with the folds and penalties of `ProbeConfig`, 100
dialogues and labels that some features tell of. The features, 2 GB, are there already; `GB` is the most that the
process has held so far.

Heads: those of recipes/grid.toml, FC and LSTM of one layer, on its encoder (1 stack of 128 channels, 50 frames a
second), in the precision of each. Training is a step (forward, backward, clipping, AdamW) on one batch in memory: 8
windows of 12 s of two channels, frozen with their features, fine-tuned with their samples. Evaluation is one pass over
a dialogue on the disk: its questions, the head's logits, and the answers; the features of a frozen head are there
(`cached`) or made first. Seconds of dialogue have two channels each.

All cases of a table take turns, so whatever else the machine is doing weighs on all alike; heads have the median of the
repeats with its range. Prints tables in Markdown and writes the numbers as JSON.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import PRECISIONS, machine, options, show, shown, spread, table, write
from numpy.typing import NDArray
from throughput import train

from ssl_tt.data.audio import write_wav
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.recipe import load
from ssl_tt.training import frame_tasks, head_answers, probe
from ssl_tt.training.config import ProbeConfig, StudyRecipe
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.finetune import copied
from ssl_tt.training.loop import adamw
from ssl_tt.training.pretrain import keep_freed_memory
from ssl_tt.training.task import Task
from ssl_tt.turns.event_files import DEFAULT_FRAME_RATE_HZ
from ssl_tt.turns.events import find_events
from ssl_tt.turns.presets import PRESETS
from ssl_tt.turns.states import spoken_runs
from ssl_tt.turns.targets import FUTURE_BINS

MEAN_SECONDS = np.array([0.5, 2.0, 2.0, 0.5])  # silence, A, B, both
GRID = Path(__file__).parent.parent / "recipes" / "grid.toml"
HEADS = {"FC": ("fc", "fc-finetuned"), "LSTM": ("rnn-1", "rnn-1-finetuned")}
"""Frozen and fine-tuned, by the names of the recipe."""
DIALOGUES, PHONES = 100, 40
TIMED_SECONDS = 0.2  # of calls in a repeat; one call where it takes longer


# --- Events ----------------------------------------------------------------------------------------------------------


def dialogue(hours: float, frame_rate_hz: float) -> NDArray[np.bool_]:
    """Activity [T, 2] of a dialogue in which one of the other three states follows each."""
    rng = np.random.default_rng(0)
    n_frames = round(hours * 3600 * frame_rate_hz)
    n_runs = round(hours * 3600 * 2)  # enough, as a run lasts more than a second in the mean
    states = rng.integers(1, 4, n_runs).cumsum() % 4
    frames = 1 + rng.exponential(MEAN_SECONDS[states] * frame_rate_hz).astype(int)
    bits = np.repeat(states, frames)[:n_frames]
    return np.stack([bits & 1, bits >> 1], axis=1).astype(bool)


def measure_events(repeats: int, hours: float) -> list[dict[str, Any]]:
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


# --- Probes ----------------------------------------------------------------------------------------------------------


def normal(rows: int, columns: int) -> NDArray[np.float32]:
    """Features, made block by block."""
    rng = np.random.default_rng(0)
    features = np.empty((rows, columns), dtype=np.float32)
    for block in np.array_split(features, -(-features.size // 2**24)):
        rng.standard_normal(dtype=np.float32, out=block)
    return features


def measure_probes(rows: int, columns: int) -> list[dict[str, Any]]:
    features, config = normal(rows, columns), ProbeConfig()
    rng = np.random.default_rng(1)
    likely = features[:, :8].sum(axis=1) + rng.logistic(size=rows) > 1
    group = np.arange(rows) * DIALOGUES // rows
    frames = features.reshape(rows // 2, 2, columns)  # of one channel each
    both = features[: rows // 2].reshape(rows // 2, 2, columns // 2)
    future = rng.random((rows // 2, 2, FUTURE_BINS)) < 0.3 + 0.2 * (both[:, :, :1] > 0)
    phones = np.char.add("p", ((features[:, 0] > 0) * (PHONES // 2) + rng.integers(PHONES // 2, size=rows)).astype(str))

    def frame_task(task: str, label: NDArray[np.str_]) -> None:
        frame, channel = np.divmod(np.arange(rows), 2)
        asked = frame_tasks.Rows(frame, channel, label, group, group)
        frame_tasks.answer(task, asked, frames, asked[frame < 1000], frames, config)

    fits: dict[str, Callable[[], Any]] = {
        "shift_hold": lambda: probe.fit_events("shift_hold", features, likely, group, config),
        "future_activity": lambda: probe.fit_future(both, future, group[: 2 * len(both) : 2], config),
        "voice_activity": lambda: frame_task("voice_activity", np.where(likely, "speech", "silence")),
        "phone": lambda: frame_task("phone", phones),
    }
    found = []
    for task, fit in fits.items():
        started, used = time.perf_counter(), time.process_time()
        fit()
        found.append(
            {
                "task": task,
                "rows": rows,
                "columns": columns,
                "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - used,
                "most_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            }
        )
    return found


# --- Heads -----------------------------------------------------------------------------------------------------------


class Case:
    """Something done with a head, and how many seconds of dialogue it takes at once."""

    def __init__(self, name: dict[str, str], dialogue_seconds: float, step: Callable[[], Any]) -> None:
        self.name, self.dialogue_seconds, self.step = name, dialogue_seconds, step
        self.speeds: list[float] = []
        step()  # the first makes the optimizer's moments

    def measure(self) -> None:
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < TIMED_SECONDS:
            self.step()
            calls += 1
        self.speeds.append(self.dialogue_seconds * calls / (time.perf_counter() - started))

    def row(self) -> dict[str, Any]:
        return {**self.name, "dialogue_seconds": self.dialogue_seconds, "seconds_per_second": spread(self.speeds)}


def training(recipe: StudyRecipe, encoder: Encoder, kind: str, name: str) -> Case:
    """A step of one of the recipe's heads."""
    config = recipe.heads[name]
    assert config.window_seconds is not None
    torch.manual_seed(0)
    task = Task(config, copied(encoder))
    optimizer = adamw(task, config, task.layers())
    n_frames = round(config.window_seconds * encoder.frame_rate_hz)
    samples = 0.1 * torch.randn(config.batch_windows, 2, n_frames * encoder.hop_samples)
    if config.mode == "frozen":
        with torch.inference_mode():
            features, _ = encoder(samples.flatten(0, 1))
        samples = features.clone().unflatten(0, (-1, 2))
    activity = dialogue(config.batch_windows * config.window_seconds / 3600, encoder.frame_rate_hz)
    items = torch.arange(config.batch_windows)
    batch = Batch(samples, torch.from_numpy(activity).unflatten(0, (-1, n_frames)), items, items)
    dtype = PRECISIONS[config.precision]
    return Case(
        {"work": "training", "head": kind, "mode": config.mode, "precision": config.precision},
        config.batch_windows * config.window_seconds,
        lambda: train(task, optimizer, batch, dtype),
    )


def call(folder: Path, seconds: float, frame_rate_hz: float, sample_rate_hz: int) -> Conversation:
    """A dialogue of noise on the disk."""
    activity = dialogue(seconds / 3600, frame_rate_hz)
    loudness = 0.001 + 0.1 * activity.T.repeat(round(sample_rate_hz / frame_rate_hz), axis=1)
    write_wav(folder / "call.wav", loudness * np.random.default_rng(0).standard_normal(loudness.shape), sample_rate_hz)
    runs = [spoken_runs(activity[:, speaker]) for speaker in (0, 1)]
    bounds = [zip(each.starts / frame_rate_hz, each.ends / frame_rate_hz, strict=True) for each in runs]
    return Conversation(
        id="call",
        audio=folder / "call.wav",
        sample_rate_hz=sample_rate_hz,
        channels=2,
        duration_seconds=len(activity) / frame_rate_hz,
        speakers=("A", "B"),
        segments=tuple(tuple(Segment(float(start), float(end)) for start, end in each) for each in bounds),
    )


def evaluation(task: Task, kind: str, conversation: Conversation, cache: FeatureCache, cached: bool) -> Case:
    """A pass over a dialogue."""
    config = ProbeConfig()

    def step() -> None:
        if not cached:
            cache.remove()
        asked = probe.Asked([probe.ask(conversation, cache.encoder.frame_rate_hz, config)])
        read = probe.read(head_answers.logits_reader(task, cache), asked)["logits"]
        head_answers.answer(task, read, asked, (read, asked), config)

    features = "cached" if cached else "made first"
    name = {"work": "evaluation", "head": kind, "mode": "frozen", "precision": "fp32", "features": features}
    return Case(name, conversation.duration_seconds, step)


def measure_heads(repeats: int, seconds: float) -> list[dict[str, Any]]:
    recipe = load(GRID, StudyRecipe)
    torch.manual_seed(0)
    encoder = Encoder(recipe.encoder).eval()
    with tempfile.TemporaryDirectory() as folder:
        conversation = call(Path(folder), seconds, encoder.frame_rate_hz, encoder.sample_rate_hz)
        cases = [training(recipe, encoder, kind, name) for kind, names in HEADS.items() for name in names]
        for kind, (frozen, _) in HEADS.items():
            task = Task(recipe.heads[frozen], encoder).eval()
            for cached in (True, False):
                cache = FeatureCache(Path(folder) / f"{kind} {cached}", encoder)
                cases.append(evaluation(task, kind, conversation, cache, cached))
        for _ in range(repeats):
            for case in cases:
                case.measure()
    return [case.row() for case in cases]


# --- Showing ---------------------------------------------------------------------------------------------------------


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


def probe_table(rows: list[dict[str, Any]]) -> str:
    return table(
        ("probe", "rows", "columns", "seconds", "CPU seconds", "GB"),
        [
            (
                row["task"],
                f"{row['rows']:,}",
                str(row["columns"]),
                *(f"{row[name]:.1f}" for name in ("seconds", "cpu_seconds", "most_gigabytes")),
            )
            for row in rows
        ],
    )


def head_table(rows: list[dict[str, Any]]) -> str:
    return table(
        ("work", "head", "encoder", "precision", "features", "s of dialogue a second"),
        [
            (
                *(row[name] for name in ("work", "head", "mode", "precision")),
                row.get("features", ""),
                shown(row["seconds_per_second"], ",.0f"),
            )
            for row in rows
        ],
    )


def arguments() -> argparse.Namespace:
    parser = options(__doc__, "turns", "times each preset is applied, and each head trained and asked")
    parser.add_argument("--hours", type=float, default=10.0, help="length of the dialogue of events (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the probes, even (%(default)s)")
    parser.add_argument("--columns", type=int, default=512, help="features of the probes, even (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="length of the dialogue of heads (%(default)s), at least 120"
    )
    return parser.parse_args()


def main() -> None:
    given = arguments()
    events = measure_events(given.repeats, given.hours)
    probes = measure_probes(given.rows, given.columns)
    keep_freed_memory()
    heads = measure_heads(given.repeats, given.seconds)
    about = machine() | {"numpy": np.__version__}
    show(about, preset_table(events), probe_table(probes), head_table(heads))
    write(given.out, about, rows=events, probes=probes, heads=heads)


if __name__ == "__main__":
    main()
