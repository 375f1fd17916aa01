"""How many seconds of audio does each front end turn into features in a second, on one core?

    python benchmarks/frontends.py [--out FILE] [--repeats N]         about a minute

One channel of 30 s at 16 kHz, a gliding buzz that comes and goes over noise, through each front end with its default
settings: whole, as in training, and in chunks of 20 ms with state, as live (10 s of it). Without gradient, one thread.
Front ends take turns, so whatever else the machine is doing weighs on all alike; each number is the median of the
repeats, with their range. Prints a table in Markdown and writes the numbers as JSON.
"""

import math
import time
from typing import Any

import torch
from machine import machine, options, show, shown, spread, table, write
from torch import Tensor

from ssl_tt.encoder.config import FrontEndConfig, JoinedConfig, LogMelConfig, ProsodyConfig, WaveformConfig
from ssl_tt.encoder.frontend import FrontEnd, build_frontend

SAMPLE_RATE_HZ = 16000
FRONTENDS: dict[str, FrontEndConfig] = {
    "log-mel": LogMelConfig(),
    "features": ProsodyConfig(),
    "waveform, 256 channels": WaveformConfig(),
    "log-mel and features": JoinedConfig(parts=(LogMelConfig(), ProsodyConfig())),
}


def audio(seconds: int) -> Tensor:
    """One channel [1, N]."""
    time_seconds = torch.arange(seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    phase = 2 * math.pi * (120 * time_seconds + 30 * torch.sin(time_seconds))
    buzz = sum((torch.sin(k * phase) / k for k in range(1, 8)), start=torch.zeros(()))
    loudness = torch.sin(2 * math.pi * time_seconds).clamp(min=0)
    noise = torch.randn(len(time_seconds), generator=torch.Generator().manual_seed(0))
    return (0.1 * loudness * buzz + 0.002 * noise)[None]


@torch.inference_mode()
def seconds_per_second(frontend: FrontEnd, samples: Tensor, chunk_samples: int) -> float:
    """Seconds of audio a second of the processor's time."""
    state: Any = None
    start = time.process_time()
    for chunk in samples.split(chunk_samples, dim=1):
        _, state = frontend(chunk, state)
    return samples.shape[1] / SAMPLE_RATE_HZ / (time.process_time() - start)


def measure(repeats: int) -> list[dict[str, Any]]:
    modules = {name: build_frontend(config).eval() for name, config in FRONTENDS.items()}
    whole, live = audio(30), audio(10)
    found: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        for name, module in modules.items():
            for case, samples, chunk in (("whole", whole, whole.shape[1]), ("live", live, SAMPLE_RATE_HZ // 50)):
                speed = seconds_per_second(module, samples, chunk)
                if repeat > 0:  # the first one warms up
                    found.setdefault((name, case), []).append(speed)
    return [
        {"frontend": name, "case": case, "seconds_per_second": spread(each)} for (name, case), each in found.items()
    ]


def frontend_table(rows: list[dict[str, Any]]) -> str:
    speeds = {(row["frontend"], row["case"]): row["seconds_per_second"] for row in rows}
    cells = []
    for name in FRONTENDS:
        whole, live = speeds[name, "whole"], speeds[name, "live"]
        cells.append((name, shown(whole, ".0f"), shown(live, ".0f"), f"{20 / live[0]:.2f} ms"))
    return table(("front end", "s of audio a second", "in chunks of 20 ms", "a chunk"), cells)


def main() -> None:
    arguments = options(__doc__, "frontends", "timed passes of each case").parse_args()
    torch.set_num_threads(1)
    rows, about = measure(arguments.repeats), machine()
    show(about, frontend_table(rows))
    write(arguments.out, about, rows=rows)


if __name__ == "__main__":
    main()
