"""How fast is audio read, how long does a run of 100,000 hours take to start, and does training wait for data?

    python benchmarks/data.py [--out FILE] [--repeats N] [--minutes M] [--hours H ...] [--steps N]

About 15 minutes and 3 GB of disk, most of them for the manifest of 100,000 hours.

Reading: random windows of 4 s of two channels at 16 kHz, in batches of 16, as the training loop asks for them, from
conversations of ten minutes that lie in the page cache: WAV, FLAC, shards here, and shards at a URL whose blocks are in
the local cache. `workers` are processes that read beside the one that asks; with 0 a thread does. Hours of single
channels a second.

Start: a process of its own opens a manifest of conversations of ten minutes with 240 segments, splits it, makes its
windows and draws one (without reading audio, of which there is none): `first` when there is no index yet, `start` at
the first window, `resume` at the 1,000,000,007th. MB are what its memory has grown by at its highest since the imports.
The last column is the same for a list of all conversations.

Waiting: share of a training step (VQ-VAE of benchmarks/throughput.py, fp32) in which the loop waits for its batch.

Cases take turns; numbers are the median of the repeats with their range, those of `first` of one run. Prints tables in
Markdown and writes the numbers as JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, options, show, shown, spread, table, write
from scipy.signal import lfilter
from throughput import ENCODER, OBJECTIVES, train

from ssl_tt.data.audio import write_wav
from ssl_tt.data.cache import Cache
from ssl_tt.data.config import DataConfig
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.flac import write_flac
from ssl_tt.data.manifest import read_manifest
from ssl_tt.data.shards import write_shards
from ssl_tt.data.storage import located
from ssl_tt.data.windows import Windows
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives import build
from ssl_tt.objectives.config import VQVAEConfig
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.loop import adamw, batches

RATE_HZ = 16_000
WINDOW_SECONDS = 4.0
CONVERSATION_SECONDS = 600.0
SEGMENTS = 120  # of each speaker
RESUMED_ITEM = 1_000_000_007


# --- Reading ---------------------------------------------------------------------------------------------------------


def write_corpora(folder: Path, minutes: float) -> dict[str, list[Conversation]]:
    """The same conversations in each format."""
    plain = []
    seconds = min(CONVERSATION_SECONDS, 60 * minutes)
    for number in range(max(1, round(60 * minutes / seconds))):
        path = folder / "wav" / f"{number}.wav"
        write_wav(path, dialogue(number, seconds), RATE_HZ)
        plain.append(Conversation(str(number), path, RATE_HZ, 2, seconds, (f"{number}a", f"{number}b")))
    flac = [replace(each, audio=folder / f"{each.id}.flac") for each in plain]
    for before, after in zip(plain, flac, strict=True):
        write_flac(after.audio, before.audio)
    shards = write_shards(plain, folder / "shards", lambda each, _: (each, []), settings="", processes=1)
    remote = located(f"file://{folder}/shards/manifest.jsonl", Cache(folder / "cache"))
    return {"WAV": plain, "FLAC": flac, "shards": read_manifest(shards.manifest), "shards, URL": read_manifest(remote)}


def dialogue(number: int, seconds: float) -> np.ndarray:
    """Two channels [2, N] that take turns of 2 s: noise with the slope of speech over a faint floor."""
    draw = np.random.default_rng(number)
    n = round(seconds * RATE_HZ)
    turns = np.arange(n) // (2 * RATE_HZ) % 2
    loud = np.where(np.stack([turns == 0, turns == 1]), 0.05, 0.0005)
    sloped: np.ndarray = lfilter([1.0], [1.0, -0.9], draw.standard_normal((2, n))) * loud
    return sloped


def reader(
    conversations: list[Conversation], workers: int, seed: int, window_seconds: float, batch_windows: int
) -> Iterator[Any]:
    """Batches as the training loop reads them."""
    recipe = PretrainRecipe(
        name="data",
        data=DataConfig(pretrain=("none",), window_seconds=window_seconds),
        encoder=ENCODER,
        training=TrainingConfig(batch_windows=batch_windows, workers=workers),
        objective=VQVAEConfig(),
    )
    windows = Windows(conversations, round(window_seconds * RATE_HZ), RATE_HZ, 100.0, seed, swap_channels=True)
    return batches(windows, recipe, first_step=0, rank=0, world=1)


def read_rows(
    corpora: dict[str, list[Conversation]], workers: tuple[int, ...], repeats: int, steps: int, batch_windows: int
) -> list[Any]:
    cases = {
        (name, n): reader(of, n, 0, WINDOW_SECONDS, batch_windows) for n in workers for name, of in corpora.items()
    }
    hours: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for case, batch in cases.items():
        for _ in range(2 * (case[1] + 1)):
            next(batch)  # processes start, what is at the URL is fetched
    for _ in range(repeats):
        for case, batch in cases.items():
            for _ in range(4 * case[1] + 1):
                next(batch)  # what was read while others were measured
            started = time.perf_counter()
            for _ in range(steps):
                next(batch)
            took = time.perf_counter() - started
            hours[case].append(steps * batch_windows * 2 * WINDOW_SECONDS / 3600 / took)
    return [{"format": name, "workers": n, "hours_per_second": spread(of)} for (name, n), of in hours.items()]


# --- Start -----------------------------------------------------------------------------------------------------------


def write_long_manifest(path: Path, hours: float) -> int:
    """A manifest of conversations of ten minutes, by people who come back in none; how many there are."""
    starts = np.linspace(0, CONVERSATION_SECONDS, 2 * SEGMENTS, endpoint=False).round(3)
    spoken = {side: json.dumps([[s, round(s + 2.0, 3)] for s in starts[side::2].tolist()]) for side in (0, 1)}
    n = round(hours * 3600 / CONVERSATION_SECONDS)
    with path.open("w") as file:
        for number in range(n):
            a, b = f"{number}-a", f"{number}-b"
            file.write(
                f'{{"id": "call-{number}", "audio": "shard-{number // 100:05d}.tar", "audio_bytes": [{number}, 99], '
                f'"sample_rate_hz": {RATE_HZ}, "channels": 2, "duration_seconds": {CONVERSATION_SECONDS}, '
                f'"speakers": ["{a}", "{b}"], "segments": {{"{a}": {spoken[0]}, "{b}": {spoken[1]}}}, '
                f'"sha256": "{number:064x}"}}\n'
            )
    return n


def apart(manifest: Path, cache: Path, indexed: bool, item: int) -> dict[str, float]:
    """Seconds to the first window, and megabytes, of a process of its own."""
    job = json.dumps([str(manifest), str(cache), indexed, item])
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("started.py")), job],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(ran.stdout)
    return result


def start_rows(hours: list[float], repeats: int, folder: Path) -> list[dict[str, Any]]:
    rows = []
    for each in hours:
        manifest, cache = folder / "manifest.jsonl", folder / "cache"
        n = write_long_manifest(manifest, each)
        first = apart(manifest, cache, True, 0)
        row: dict[str, Any] = {"hours": each, "conversations": n, "manifest_gb": manifest.stat().st_size / 1e9}
        row |= {"first_seconds": first["seconds"], "first_megabytes": first["megabytes"]}
        row["index_megabytes"] = sum(f.stat().st_size for f in (cache / "indices").rglob("*.npy")) / 1e6
        for name, item in (("start", 0), ("resume", RESUMED_ITEM)):
            measured = [apart(manifest, cache, True, item) for _ in range(repeats)]
            row |= {f"{name}_{key}": spread(one[key] for one in measured) for key in ("seconds", "megabytes")}
        if each <= 2000:  # beyond, a list takes gigabytes
            listed = apart(manifest, cache, False, 0)
            row |= {"list_seconds": listed["seconds"], "list_megabytes": listed["megabytes"]}
        rows.append(row)
        manifest.unlink()
    return rows


# --- Waiting ---------------------------------------------------------------------------------------------------------


def wait_rows(
    corpora: dict[str, list[Conversation]], workers: tuple[int, ...], steps: int, batch_windows: int
) -> list[dict[str, Any]]:
    rows = []
    for name, conversations in corpora.items():
        for n in workers:
            torch.manual_seed(0)
            objective = build(OBJECTIVES["VQ-VAE"], Encoder(ENCODER))
            optimizer = adamw(objective, TrainingConfig(learning_rate=1e-4))
            batch = reader(conversations, n, 1, 2.0, batch_windows)
            shares = []
            for step in range(steps + 2):
                began = time.perf_counter()
                given, _ = next(batch)
                waited = time.perf_counter() - began
                train(objective, optimizer, given, torch.float32)
                if step >= 2:  # the first waits for processes to start and for the first batch
                    shares.append(waited / (time.perf_counter() - began))
            rows.append({"format": name, "workers": n, "waiting_share": spread(shares)})
    return rows


# --- Measuring and showing -------------------------------------------------------------------------------------------


def tables(read: list[Any], start: list[Any], wait: list[Any]) -> list[str]:
    waits = {(row["format"], row["workers"]): f"{row['waiting_share'][0]:.1%}" for row in wait}
    return [
        table(
            ("format", "workers", "hours of audio a second", "training waits"),
            [
                (r["format"], str(r["workers"]), shown(r["hours_per_second"], ".2f"), waits[r["format"], r["workers"]])
                for r in read
            ],
        ),
        table(
            ("hours", "conversations", "manifest", "index", "first", "start", "resume", "a list"),
            [
                (
                    f"{r['hours']:,g}",
                    f"{r['conversations']:,}",
                    f"{r['manifest_gb']:.2g} GB",
                    f"{r['index_megabytes']:.1f} MB",
                    f"{r['first_seconds']:.1f} s, {r['first_megabytes']:.0f} MB",
                    f"{r['start_seconds'][0]:.2f} s, {r['start_megabytes'][0]:.0f} MB",
                    f"{r['resume_seconds'][0]:.2f} s, {r['resume_megabytes'][0]:.0f} MB",
                    f"{r['list_seconds']:.1f} s, {r['list_megabytes']:.0f} MB" if "list_seconds" in r else "",
                )
                for r in start
            ],
        ),
    ]


def main() -> None:
    parser = options(__doc__, "data", "of each case")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the audio that is read (%(default)s)")
    parser.add_argument("--hours", type=float, nargs="+", default=[1e3, 1e4, 1e5], help="of manifests (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="batches of a repeat (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="windows of a batch (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="processes that read (%(default)s)")
    arguments = parser.parse_args()
    workers = tuple(arguments.workers)
    with tempfile.TemporaryDirectory() as folder:
        corpora = write_corpora(Path(folder), arguments.minutes)
        read = read_rows(corpora, workers, arguments.repeats, arguments.steps, arguments.batch)
        wait = wait_rows(corpora, workers, arguments.steps, arguments.batch)
    with tempfile.TemporaryDirectory() as folder:
        start = start_rows(arguments.hours, arguments.repeats, Path(folder))
    about = machine()
    show(about, *tables(read, start, wait))
    write(arguments.out, about, read=read, start=start, wait=wait)


if __name__ == "__main__":
    main()
