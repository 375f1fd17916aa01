"""What the benchmarks share: the machine they run on, what it can do at best, and how numbers are shown and kept."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_CPU = Path("/proc/cpuinfo")
_CPU_LINES = _CPU.read_text().splitlines() if _CPU.exists() else []
HAS_AMX = any("amx_bf16" in line.split() for line in _CPU_LINES)


def machine() -> dict[str, Any]:
    """What stands above every table."""
    models = [line.split(":", 1)[1].strip() for line in _CPU_LINES if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability() + (" and AMX" if HAS_AMX else ""),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


# --- Products --------------------------------------------------------------------------------------------------------


def peak(dtype: torch.dtype, products: int = 4) -> float:
    """Floating-point operations a second of a product of two 1024 x 1024 matrices."""
    a = torch.full((1024, 1024), 0.5, dtype=dtype)
    a @ a
    started = time.perf_counter()
    for _ in range(products):
        a @ a
    return 2 * len(a) ** 3 * products / (time.perf_counter() - started)


def timed(step: Callable[[], Any], operations: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds of a step, and the share that it reaches of what the machine can multiply just before and after it."""
    before = peak(dtype)
    started = time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    return seconds, operations / seconds / ((before + peak(dtype)) / 2)


def operations(step: Callable[[], Any]) -> int:
    """Floating-point operations of a step's products, convolutions and recurrent layers, as PyTorch counts them."""
    with FlopCounterMode(display=False, custom_mapping=_LSTM) as counter:
        step()
    return counter.get_total_flops()


def _lstm(x: torch.Size, input_weight: torch.Size, hidden_weight: torch.Size, *rest: Any, **named: Any) -> int:
    """Every weight is used once for each frame of each sequence; PyTorch itself does not count this layer."""
    n_frames = x[0] * x[1]
    return 2 * n_frames * (input_weight.numel() + hidden_weight.numel())


def _lstm_backward(*args: Any, **named: Any) -> int:
    return 2 * _lstm(*args, **named)


_LSTM = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm,
    torch.ops.aten.mkldnn_rnn_layer_backward: _lstm_backward,
}


# --- Numbers ---------------------------------------------------------------------------------------------------------


def options(description: str | None, results: str, repeats: str) -> argparse.ArgumentParser:
    """The options of every benchmark, with what its `--repeats` counts; `results` names its file of numbers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = Path(__file__).parent / "results" / f"{results}.json"
    parser.add_argument("--out", type=Path, default=path, help="where to write the numbers (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help=f"{repeats} (%(default)s)")
    return parser


def spread(values: Iterable[float]) -> list[float]:
    """[median, least, most]"""
    values = list(values)
    return [statistics.median(values), min(values), max(values)]


def shown(values: Sequence[float], form: str) -> str:
    """A spread as "median (least to most)"."""
    median, least, most = (format(value, form) for value in values)
    return f"{median} ({least} to {most})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def show(about: dict[str, Any], *tables: str) -> None:
    """Print the machine in a line and each table after an empty one."""
    print(", ".join(f"{name} {value}" for name, value in about.items()), *tables, sep="\n\n")


def write(out: Path, about: dict[str, Any], **numbers: Any) -> None:
    """The numbers as JSON, with the machine they hold for."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": about, **numbers}, indent=2) + "\n")
