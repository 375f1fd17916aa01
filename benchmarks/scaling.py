"""What do more processes gain, what do checkpoints cost, and what does a GPU reach?

    python benchmarks/scaling.py [--out FILE] [--repeats N] [--device DEVICE] ...         about 4 minutes on 2 cores

Processes: `ssl-tt pretrain` itself, started by torchrun on the CPU with recipes/corpora/candor.toml (CPC on 1 stack
of 256 channels, 50 frames a second, bf16) and with its encoder at 128 channels, on WAV files of noise, 16 windows of
8 s of two channels a step: one process with one thread, one with two, and two with one thread each. A run's rate is
the median of its lines of metrics.jsonl, the first left out; the runs take turns, so whatever else the machine is doing
weighs on all alike, and ratios are of one turn.

Checkpoints: the time of `checkpoint.save` of that recipe's weights and moments, with all its flushes to the disk, over
the time of the steps between two of them, at the best of those rates and the recipe's batch.

Device: where there is a GPU (or with --device), a training step on one batch in memory, forward, backward, clipping,
AdamW and codebook, in bf16, for each objective, width and number of windows, as it is and compiled (`torch.compile` of
the objective). `of peak` is the multiply-adds that PyTorch counts, convolutions and products alone, over the time, as
a share of a product of two large square matrices in bf16 on the same device. `MB` is the most that was allocated. The
profile lists the kernels that take the most of a step's time.

Each number is the median with its range. Prints tables in Markdown and writes the numbers as JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from machine import machine, operations, options, show, shown, spread, table, write
from objectives import OBJECTIVES, RECIPES
from throughput import train, write_corpus

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives import build
from ssl_tt.recipe import load
from ssl_tt.training import checkpoint
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.loop import adamw
from ssl_tt.training.pretrain import keep_freed_memory

RECIPE = RECIPES / "corpora" / "candor.toml"
SETTINGS = ("1x1", "1x2", "2x1")
"""Processes, and threads of each."""
CONVERSATIONS = 5
SAVED_EVERY = (500, 100, 10)
PEAK_SIZE = {"cuda": 8192, "cpu": 1024}
ON_DEVICE = ("VQ-VAE", "VAE", "VQ-VAE-2", "APC", "CPC", "CPC v2", "CPC and VQ-VAE")
KERNELS = 12
WARM_UP_STEPS = 3


# --- Processes -------------------------------------------------------------------------------------------------------


def measure_processes(corpus: Path, folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    cases = [(width, *setting) for width in given.channels[:2] for setting in given.settings]
    runs: dict[tuple[int, int, int], list[dict[str, float]]] = {case: [] for case in cases}
    for repeat in range(given.repeats):
        for case in cases:
            run = folder / f"{'-'.join(map(str, case))}-{repeat}"
            pretrained(corpus, run, *case, given.steps)
            runs[case].append(rate(run))
    return [
        {
            "channels": width,
            "processes": processes,
            "threads": threads,
            "audio_seconds_per_second": spread(each["rate"] for each in found),
            "ratio": spread(
                each["rate"] / first["rate"] for each, first in zip(found, runs[width, *given.settings[0]], strict=True)
            ),
            "waiting_share": spread(each["waiting"] for each in found),
        }
        for (width, processes, threads), found in runs.items()
    ]


def pretrained(corpus: Path, run: Path, channels: int, processes: int, threads: int, steps: int) -> None:
    fields = {
        "data.pretrain": corpus,
        "data.validation_share": 0.1,
        "encoder.channels": channels,
        "encoder.output_channels": channels,
        "training.steps": steps,
        "training.batch_windows": 16,
        "training.validation_windows": 1,
        "training.log_every_steps": 1,
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "ssl_tt.cli", "pretrain", str(RECIPE), "--out", str(run)]
    command += [word for name, value in fields.items() for word in (f"--{name}", str(value))]
    path = os.pathsep.join((str(RECIPES.parent), os.environ.get("PYTHONPATH", "")))
    on_cpu = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path}
    ran = subprocess.run(command, env=os.environ | on_cpu, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-2000:])
    if (found := json.loads((run / "environment.json").read_text())["processes"]) != processes:
        raise SystemExit(f"{run}: {found} processes, expected {processes}")


def rate(run: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["split"] == "train"][1:]
    return {
        "rate": statistics.median(line["seconds_of_audio_per_second"] for line in steps),
        "waiting": statistics.median(line["waiting_share"] for line in steps),
    }


# --- Checkpoints -----------------------------------------------------------------------------------------------------


def measure_checkpoints(folder: Path, audio_seconds_per_second: float, repeats: int) -> dict[str, Any]:
    recipe = load(RECIPE, PretrainRecipe)
    objective = build(recipe.objective, Encoder(recipe.encoder))
    optimizer = adamw(objective, recipe.training)
    for parameter in objective.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes the moments
    folder.mkdir()
    seconds = []
    for step in range(repeats):
        state = {"step": step, "best": {"step": 0, "loss": 1.0}, "data": "", "seconds": 0.0, "cpu_seconds": 0.0}
        state["since_log"] = {}
        started = time.perf_counter()
        tensors = objective.state_dict(), checkpoint.optimizer_tensors(optimizer)
        saved = checkpoint.save(folder, step, *tensors, state)
        seconds.append(time.perf_counter() - started)
    step_seconds = recipe.training.batch_windows * 2 * recipe.data.window_seconds / audio_seconds_per_second
    return {
        "parameters": sum(parameter.numel() for parameter in objective.parameters()),
        "megabytes": sum(path.stat().st_size for path in saved.iterdir()) / 1e6,
        "seconds": spread(seconds),
        "step_seconds": step_seconds,
        "shares": {
            str(every): spread(each / (each + every * step_seconds) for each in seconds) for every in SAVED_EVERY
        },
    }


# --- Device ----------------------------------------------------------------------------------------------------------


class Step:
    """A training step of an objective on one batch that lies on the device."""

    def __init__(self, name: str, channels: int, windows: int, seconds: float, device: str, compiled: bool) -> None:
        recipe, *changes = OBJECTIVES[name].split()
        torch.manual_seed(0)
        encoder = load(RECIPE, PretrainRecipe).encoder.model_copy(
            update={"channels": channels, "output_channels": channels}
        )
        objective = build(load(RECIPES / f"{recipe}.toml", PretrainRecipe, changes).objective, Encoder(encoder))
        self.objective: Any = objective.to(device)
        if compiled:
            torch.compiler.reset()
            self.objective.compile(dynamic=False)
        self.optimizer = adamw(objective, TrainingConfig(learning_rate=1e-4))
        self.device = device
        rate_hz = encoder.frontend.sample_rate_hz
        self.audio_seconds = windows * 2 * seconds
        self.batch = Batch(
            samples=0.1 * torch.randn(windows, 2, int(seconds * rate_hz), device=device),
            activity=None,
            conversation=torch.arange(windows, device=device) // 2,
            item=torch.arange(windows, device=device),
        )

    def __call__(self) -> None:
        train(self.objective, self.optimizer, self.batch, torch.bfloat16)

    def seconds(self) -> float:
        return timed(self, self.device)


def measure_device(given: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for name in given.objectives:
        for channels in given.channels:
            for windows in given.windows:
                counted = Step(name, channels, windows, given.seconds, given.device, compiled=False)
                flops = operations(counted)
                for compiled in (False, True) if given.compile else (False,):
                    step = Step(name, channels, windows, given.seconds, given.device, compiled)
                    rows.append({**case(name, channels, windows, compiled), **measured(step, flops, given)})
    return rows


def case(name: str, channels: int, windows: int, compiled: bool) -> dict[str, Any]:
    return {"objective": name, "channels": channels, "windows": windows, "compiled": compiled}


def measured(step: Step, flops: int, given: argparse.Namespace) -> dict[str, Any]:
    """Numbers of a step; or, of one that does not fit or cannot be compiled, why."""
    try:
        for _ in range(WARM_UP_STEPS):
            step()
    except (torch.cuda.OutOfMemoryError, torch._dynamo.exc.TorchDynamoException) as error:
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    if given.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, shares = [], []
    for _ in range(given.repeats):
        at_best = peak(given.device)
        seconds.append(step.seconds())
        shares.append(flops / seconds[-1] / at_best)
    return {
        "audio_seconds_per_second": spread(step.audio_seconds / each for each in seconds),
        "share_of_peak": spread(shares),
        "megabytes": torch.cuda.max_memory_allocated() / 1e6 if given.device == "cuda" else None,
        "kernels": kernels(step),
    }


def timed(step: Callable[[], Any], device: str) -> float:
    """Seconds until the device has done a step."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - started


def peak(device: str, products: int = 4) -> float:
    """Floating-point operations a second of a product of two large matrices in bf16."""
    a = torch.full((PEAK_SIZE[device], PEAK_SIZE[device]), 0.5, dtype=torch.bfloat16, device=device)
    a @ a
    return 2 * len(a) ** 3 * products / timed(lambda: [a @ a for _ in range(products)], device)


def kernels(step: Step) -> list[dict[str, Any]]:
    """What takes most of a step's time on the device, with its share."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if step.device == "cuda" else []
    with torch.profiler.profile(activities=activities) as profile:
        step.seconds()
    own = "self_device_time_total" if step.device == "cuda" else "self_cpu_time_total"
    spent = sorted(((getattr(event, own), event.key) for event in profile.key_averages()), reverse=True)
    total = sum(time for time, _ in spent)
    return [{"kernel": key, "share": time / total} for time, key in spent[:KERNELS]]


# --- Showing ---------------------------------------------------------------------------------------------------------


def process_table(rows: Iterable[dict[str, Any]]) -> str:
    head = ("channels", "processes", "threads each", "s of audio a second", "of the first", "waits for data")
    cells = [
        (
            *(str(row[name]) for name in ("channels", "processes", "threads")),
            shown(row["audio_seconds_per_second"], ".0f"),
            shown(row["ratio"], ".2f"),
            shown(row["waiting_share"], ".1%"),
        )
        for row in rows
    ]
    return table(head, cells)


def checkpoint_table(found: dict[str, Any]) -> str:
    head = ("parameters", "MB", "ms", *(f"share of training, every {every} steps" for every in SAVED_EVERY))
    cells = (
        f"{found['parameters']:,}",
        f"{found['megabytes']:.0f}",
        shown([1000 * each for each in found["seconds"]], ".0f"),
        *(shown(found["shares"][str(every)], ".3%") for every in SAVED_EVERY),
    )
    return table(head, [cells])


def device_table(rows: Iterable[dict[str, Any]]) -> str:
    head = ("objective", "channels", "windows", "compiled", "s of audio a second", "of peak", "MB", "most time")
    cells = []
    for row in rows:
        name = (row["objective"], str(row["channels"]), str(row["windows"]), "yes" if row["compiled"] else "no")
        if "failed" in row:
            cells.append((*name, row["failed"], "", "", ""))
            continue
        cells.append(
            (
                *name,
                shown(row["audio_seconds_per_second"], ",.0f"),
                shown(row["share_of_peak"], ".0%"),
                "" if row["megabytes"] is None else f"{row['megabytes']:,.0f}",
                f"{row['kernels'][0]['kernel'][:40]} {row['kernels'][0]['share']:.0%}",
            )
        )
    return table(head, cells)


def arguments() -> argparse.Namespace:
    parser = options(__doc__, "scaling", "runs of each number of processes, checkpoints, and timed steps of each case")
    parser.set_defaults(repeats=3)
    parser.add_argument("--steps", type=int, default=10, help="steps of a run on the CPU (%(default)s)")
    parser.add_argument("--minutes", type=float, default=40.0, help="minutes of noise to read (%(default)s)")
    parser.add_argument(
        "--settings", nargs="+", default=SETTINGS, help="processes x threads; ratios are to the first (%(default)s)"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="measure steps on it; a GPU if there is one")
    parser.add_argument("--objectives", nargs="+", default=list(ON_DEVICE), choices=OBJECTIVES, metavar="NAME")
    parser.add_argument("--channels", nargs="+", type=int, default=[128, 256, 512], help="widths (%(default)s)")
    parser.add_argument("--windows", nargs="+", type=int, default=[16, 64, 256], help="batch sizes (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window on the device (%(default)s)")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="compiled too")
    given = parser.parse_args()
    given.settings = [tuple(map(int, setting.split("x"))) for setting in given.settings]
    if given.device is None and torch.cuda.is_available():
        given.device = "cuda"
    return given


def main() -> None:
    given = arguments()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write_corpus(folder, seconds=int(60 * given.minutes / CONVERSATIONS), conversations=CONVERSATIONS)
        processes = measure_processes(corpus, folder, given)
        rates = [row["audio_seconds_per_second"][0] for row in processes if row["channels"] == given.channels[:2][-1]]
        checkpoints = measure_checkpoints(folder / "saved", max(rates), 5 * given.repeats)
    steps = measure_device(given) if given.device else []
    about = machine() | {"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}
    show(
        about,
        process_table(processes),
        checkpoint_table(checkpoints),
        *([device_table(steps)] if steps else []),
    )
    write(given.out, about, processes=processes, checkpoints=checkpoints, steps=steps)


if __name__ == "__main__":
    main()
