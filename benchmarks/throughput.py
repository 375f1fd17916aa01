"""How fast is a training step, how near is that to what the machine can multiply, and does it wait for data?

    python benchmarks/throughput.py [--out FILE] [--repeats N]         about 3 minutes on 2 cores

A step is all of it: reading random windows from WAV files, log-mel, forward, backward, clipping, AdamW, codebook. The
batches are 32 channels of 2 s, the encoder has 2 stacks of 256 channels at 100 Hz on 80 mel bands, CPC has 12 steps and
128 negatives. Prints a table in Markdown and writes the numbers as JSON.

`of peak` is the step's multiply-adds (counted by PyTorch, LSTM included; FFT and elementwise work count for nothing)
over its time, as a share of a 1024 x 1024 matrix product in the same precision, timed just before and after the step.
All cases take turns, so whatever else the machine is doing weighs on all alike; each number is the median of the
repeats, with their range. `in products` is how much of the step its convolutions, products and recurrent layers take,
and the share of peak that they reach meanwhile; what is left goes to elementwise work, which memory limits.

Each row tells whether glibc's MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ were raised, as training does for
itself: otherwise the activations are handed back and faulted in again at every step. Where the processor has AMX, bf16
is measured without it too, as on processors that have none. Each setting needs a process, one after the other: on a
busy machine compare them by their share of peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import HAS_AMX, PRECISIONS, machine, operations, options, peak, show, shown, spread, table, write

from ssl_tt.data.audio import write_wav
from ssl_tt.data.config import DataConfig
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_manifest, write_manifest
from ssl_tt.data.windows import Batch, Windows
from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig, ObjectiveConfig, VQVAEConfig
from ssl_tt.objectives.objective import Objective
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.loop import adamw, batches

SAMPLE_RATE_HZ = 16000
WINDOW_SECONDS = 2.0
WINDOWS = 16  # of two channels each
ENCODER = EncoderConfig(stride=1, stacks=(StackConfig(kernel=3), StackConfig(kernel=5)))
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "VQ-VAE": VQVAEConfig(),
    "CPC, LSTM": CPCConfig(context="lstm"),
    "CPC, GRU": CPCConfig(context="gru"),
    "CPC, conv": CPCConfig(context="conv"),
}
BEFORE_RAISING = ("VQ-VAE", "CPC, LSTM")  # measured with glibc's own thresholds too
RAISED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
WITHOUT_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
PRODUCTS = ("mkldnn_convolution", "convolution_backward", "mkldnn_rnn_layer", "mkldnn_rnn_layer_backward",
            "mm", "addmm", "bmm", "baddbmm")  # fmt: skip


# --- What is measured ------------------------------------------------------------------------------------------------


class Case:
    """An objective in training, fed from files."""

    def __init__(self, objective: str, precision: str, corpus: Path) -> None:
        self.name = {"objective": objective, "precision": precision}
        self.dtype = PRECISIONS[precision]
        torch.manual_seed(0)
        self.objective = build(OBJECTIVES[objective], Encoder(ENCODER))
        self.optimizer = adamw(self.objective, TrainingConfig(learning_rate=1e-4))
        self.reader = reader(corpus, OBJECTIVES[objective])
        self.flops = operations(self.step)
        self.measured: list[dict[str, float]] = []

    def step(self) -> tuple[float, float]:
        """Seconds waited for the batch and seconds of the rest of the step."""
        started = time.perf_counter()
        batch, _ = next(self.reader)
        read = time.perf_counter()
        train(self.objective, self.optimizer, batch, self.dtype)
        return read - started, time.perf_counter() - read

    def products_share(self) -> float:
        """Share of a step's time that is spent in products."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            self.step()
        spent = {event.key: event.self_cpu_time_total for event in profile.key_averages()}
        return sum(spent.get(f"aten::{name}", 0.0) for name in PRODUCTS) / sum(spent.values())

    def measure(self) -> None:
        before = peak(self.dtype)
        waited, worked = self.step()
        at_best = (before + peak(self.dtype)) / 2
        products = self.products_share()
        self.measured.append(
            {
                "audio_seconds_per_second": WINDOWS * 2 * WINDOW_SECONDS / (waited + worked),
                "share_of_peak": self.flops / (waited + worked) / at_best,
                "products_share": products,
                "products_share_of_peak": self.flops / (waited + worked) / at_best / products,
                "waiting_share": waited / (waited + worked),
                "peak_gflops": at_best / 1e9,
            }
        )

    def row(self) -> dict[str, Any]:
        """Each quantity as [median, least, most]."""
        row: dict[str, Any] = {**self.name, "gflop_per_step": self.flops / 1e9}
        for quantity in self.measured[0]:
            row[quantity] = spread(one[quantity] for one in self.measured)
        return row


def train(objective: Objective, optimizer: torch.optim.Optimizer, batch: Batch, dtype: torch.dtype) -> None:
    """One optimizer step, as the training loop does it."""
    with torch.autocast(batch.samples.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = objective(batch)
    loss.total.backward()
    torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    objective.after_optimizer_step()


# --- What it is fed --------------------------------------------------------------------------------------------------


def write_corpus(folder: Path, conversations: int = 20, seconds: int = 120) -> Path:
    """A manifest of two-channel WAV files of noise; 40 minutes are 150 MB, as good as any for timing."""
    written = []
    for number in range(conversations):
        path = folder / f"{number}.wav"
        noise = np.random.default_rng((0, number)).standard_normal((2, seconds * SAMPLE_RATE_HZ), dtype=np.float32)
        write_wav(path, 0.1 * noise, SAMPLE_RATE_HZ)
        speakers = (f"{number}a", f"{number}b")
        written.append(
            Conversation(
                id=str(number),
                audio=path,
                sample_rate_hz=SAMPLE_RATE_HZ,
                channels=2,
                duration_seconds=float(seconds),
                speakers=speakers,
                segments=None,
                sha256=None,
                split=None,
                provenance={},
            )
        )
    manifest = folder / "manifest.jsonl"
    write_manifest(manifest, written)
    return manifest


def reader(manifest: Path, objective: ObjectiveConfig) -> Iterator[Any]:
    """Batches as the training loop reads them."""
    recipe = PretrainRecipe(
        name="throughput",
        data=DataConfig(pretrain=(str(manifest),), window_seconds=WINDOW_SECONDS),
        encoder=ENCODER,
        training=TrainingConfig(batch_windows=WINDOWS),
        objective=objective,
    )
    windows = Windows(
        read_manifest(manifest),
        int(WINDOW_SECONDS * SAMPLE_RATE_HZ),
        SAMPLE_RATE_HZ,
        frame_rate_hz=100.0,
        seed=0,
        swap_channels=True,
    )
    return batches(windows, recipe, first_step=0, rank=0, world=1)


# --- Measuring and showing -------------------------------------------------------------------------------------------


def measure(objectives: list[str], precisions: list[str], corpus: Path, repeats: int) -> list[dict[str, Any]]:
    cases = [Case(objective, precision, corpus) for objective in objectives for precision in precisions]
    for _ in range(repeats):
        for case in cases:
            case.measure()
    return [case.row() for case in cases]


def measure_apart(
    objectives: Sequence[str], corpus: Path, repeats: int, *, raised: bool = True, amx: bool = HAS_AMX
) -> list[dict[str, Any]]:
    """In a process of its own: glibc and oneDNN read their settings when a process starts."""
    precisions = list(PRECISIONS) if amx == HAS_AMX else ["bf16"]  # of the two, AMX multiplies bf16 alone
    wanted = (RAISED if raised else {}) | (WITHOUT_AMX if HAS_AMX and not amx else {})
    environment = {name: value for name, value in os.environ.items() if name not in RAISED | WITHOUT_AMX}
    job = json.dumps([list(objectives), precisions, str(corpus), repeats])
    command = [sys.executable, __file__, "--measure", job]
    ran = subprocess.run(command, env=environment | wanted, stdout=subprocess.PIPE, text=True, check=True)
    return [{"malloc_thresholds_raised": raised, "amx": amx, **row} for row in json.loads(ran.stdout)]


def step_table(rows: list[dict[str, Any]]) -> str:
    head = (
        "objective", "precision", "thresholds", "s of audio a second", "of peak", "in products", "GFLOP/s at peak",
        "waits for data",
    )  # fmt: skip
    cells = []
    for row in rows:
        precision = row["precision"] + (" without AMX" if HAS_AMX and not row["amx"] else "")
        cells.append(
            (
                row["objective"],
                precision,
                "raised" if row["malloc_thresholds_raised"] else "default",
                shown(row["audio_seconds_per_second"], ".0f"),
                shown(row["share_of_peak"], ".0%"),
                f"{row['products_share'][0]:.0%} at {row['products_share_of_peak'][0]:.0%}",
                f"{row['peak_gflops'][0]:.0f}",
                f"{row['waiting_share'][0]:.1%}",
            )
        )
    return table(head, cells)


def main() -> None:
    parser = options(__doc__, "throughput", "timed steps of each case")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        objectives, precisions, corpus, repeats = arguments.measure
        json.dump(measure(objectives, precisions, Path(corpus), repeats), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder))
        rows = measure_apart(list(OBJECTIVES), corpus, arguments.repeats)
        if HAS_AMX:
            rows += measure_apart(list(OBJECTIVES), corpus, arguments.repeats, amx=False)
        rows += measure_apart(BEFORE_RAISING, corpus, arguments.repeats, raised=False)
    about = machine()
    show(about, step_table(rows))
    write(arguments.out, about, rows=rows)


if __name__ == "__main__":
    main()
