"""What does a live frame cost, and what would it cost to encode a window again for each?

    python benchmarks/streaming.py [--out FILE] [--repeats N]         about 4 minutes on one core

Every 20 ms a chunk of each stream comes in and its frames go out: log-mel, then 2 or 4 stacks of 256 channels (kernel
3, dilations 1, 3, 9, 27) on 80 mel bands, at 50 frames a second and at 100 (stride 1, two frames a chunk). One thread
runs 1, 8 or 64 streams together. Prints a table in Markdown and writes the numbers as JSON.

`stream` keeps the past as state: `ssl_tt.Stream` in PyTorch, and the graph of `ssl-tt export` in onnxruntime, with fp32
and with int8 weights, its states handed to and fro between two sets of buffers. `window` keeps none and encodes the
last 1, 5 or 20 s anew for each chunk, as systems do whose encoder has no state. Both give the same frames as long as
the window holds the receptive field (int8 weights nearly so).

All cases take turns, so whatever else the machine is doing weighs on all alike; each number is the median of the
repeats, with their range, a repeat being the median of some chunks. Of windows at most 64 s are encoded at once, which
bounds the memory; where there are more, the parts follow one another and are timed once, as they take seconds. Live,
the caches are colder than here, where one chunk follows another at once. Every weight must be read once for a chunk,
whatever the streams: `weights` and the rate at which one core reads as much, timed here too, give the least time in
fp32; int8 weights are a quarter of it.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from machine import machine, options, show, spread, table, write

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.objectives.config import VQVAEConfig
from ssl_tt.objectives.vqvae import VQVAE
from ssl_tt.training.export import export_encoder, export_stream, onnx_session
from ssl_tt.training.int8 import BLOCK

SAMPLE_RATE_HZ = 16000
CHUNK_SAMPLES = SAMPLE_RATE_HZ // 50
STREAMS = (1, 8, 64)
WINDOW_SECONDS = (1, 5, 20)
MOST_SECONDS = 64  # of windows encoded at once, and timed more than once
TIMED_SECONDS = 0.1  # of chunks in a repeat; one chunk where it takes longer

Step = Callable[[], Any]


# --- What is measured ------------------------------------------------------------------------------------------------


class Case:
    """A way to encode the next 20 ms of some streams; `once`, where that takes too long to be repeated."""

    def __init__(self, name: dict[str, Any], step: Step, once: bool = False) -> None:
        self.name, self.step, self.once = name, step, once
        self.milliseconds: list[float] = []

    def measure(self) -> None:
        if self.once and self.milliseconds:
            return
        times: list[float] = []
        if not self.once:
            self.step()  # what the case before has left in the caches is of no use here
        while sum(times) < TIMED_SECONDS:
            started = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - started)
        self.milliseconds.append(1000 * statistics.median(times))

    def row(self) -> dict[str, Any]:
        """The time as [median, least, most]."""
        return {**self.name, "ms_per_chunk": spread(self.milliseconds)}


def cases(n_stacks: int, stride: int, folder: Path) -> list[Case]:
    """Every engine and way of one encoder, for every number of streams."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(stride=stride, stacks=(StackConfig(),) * n_stacks)).eval()
    stream_path, int8_path, encoder_path = folder / "stream.onnx", folder / "int8.onnx", folder / "encoder.onnx"
    description = export_stream(VQVAE(VQVAEConfig(), encoder), stream_path, ("encoder",), CHUNK_SAMPLES)
    export_encoder(encoder, encoder_path)
    export_stream(VQVAE(VQVAEConfig(), encoder), int8_path, ("encoder",), CHUNK_SAMPLES, "int8")
    live, int8, whole = onnx_session(stream_path), onnx_session(int8_path), onnx_session(encoder_path)
    made = []
    for streams in STREAMS:
        chunk = noise(streams, CHUNK_SAMPLES)
        common = {
            "stacks": n_stacks,
            "frame_rate_hz": encoder.frame_rate_hz,
            "weights_megabytes": 4e-6 * encoder.parameter_count,
            "streams": streams,
        }
        made.append(Case(common | {"way": "stream", "engine": "PyTorch"}, pytorch_stream(encoder, chunk)))
        made.append(Case(common | {"way": "stream", "engine": "onnxruntime"}, onnx_stream(live, description, chunk)))
        quarter = {"weights_megabytes": 1e-6 * (1 + 4 / BLOCK) * encoder.parameter_count}
        way = {"way": "stream", "engine": "onnxruntime int8"}
        made.append(Case(common | quarter | way, onnx_stream(int8, description, chunk)))
        for seconds in WINDOW_SECONDS:
            parts = window_parts(streams, seconds)
            window = common | {"way": f"window of {seconds} s"}
            once = len(parts) > 1
            made.append(Case(window | {"engine": "PyTorch"}, pytorch_window(encoder, parts), once))
            made.append(Case(window | {"engine": "onnxruntime"}, onnx_window(whole, parts), once))
    return made


def pytorch_stream(encoder: Encoder, chunk: np.ndarray) -> Step:
    stream = Stream(encoder)
    return lambda: stream.push(chunk)


def window_parts(streams: int, seconds: int) -> list[np.ndarray]:
    """The windows of all streams, as many together as come to at most `MOST_SECONDS`."""
    rows = MOST_SECONDS // seconds
    window = noise(streams, seconds * SAMPLE_RATE_HZ)
    return [window[first : first + rows] for first in range(0, streams, rows)]


def pytorch_window(encoder: Encoder, parts: list[np.ndarray]) -> Step:
    samples = [torch.from_numpy(part) for part in parts]

    @torch.inference_mode()
    def step() -> torch.Tensor:
        return torch.cat([encoder(part)[0][:, -1] for part in samples])

    return step


def onnx_stream(session: Any, description: dict[str, Any], chunk: np.ndarray) -> Step:
    """Two sets of buffers for the states take turns, so that nothing is copied or allocated."""

    def buffer(entry: dict[str, Any]) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros([len(chunk), *entry["shape"][1:]], np.float32))

    states = description["states"]
    samples, frames = onnxruntime.OrtValue.ortvalue_from_numpy(chunk), buffer(description["outputs"][0])
    now, after = [[buffer(state) for state in states] for _ in range(2)]
    bindings = []
    for given, following in ((now, after), (after, now)):
        binding = session.io_binding()
        binding.bind_ortvalue_input("samples", samples)
        binding.bind_ortvalue_output("encoder", frames)
        for state, past, future in zip(states, given, following, strict=True):
            binding.bind_ortvalue_input(state["name"], past)
            binding.bind_ortvalue_output(state["next"], future)
        bindings.append(binding)
    turns = cycle(bindings)

    def step() -> np.ndarray:
        samples.update_inplace(chunk)
        session.run_with_iobinding(next(turns))
        return frames.numpy()

    return step


def onnx_window(session: Any, parts: list[np.ndarray]) -> Step:
    return lambda: np.concatenate([session.run(None, {"samples": part})[0][:, -1] for part in parts])


@cache  # the longest windows are 82 MB, and every encoder hears the same
def noise(streams: int, n_samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((streams, n_samples), dtype=np.float32)


def read_gigabytes_per_second(megabytes: int = 10) -> float:
    """How fast one core reads as much as 2 stacks weigh, in products with one vector."""
    matrices = [torch.randn(256, 768) for _ in range(megabytes * 1_000_000 // (4 * 256 * 768))]
    vector, times = torch.randn(768), []
    for _ in range(50):
        started = time.perf_counter()
        for matrix in matrices:
            torch.mv(matrix, vector)
        times.append(time.perf_counter() - started)
    return 4e-9 * 256 * 768 * len(matrices) / statistics.median(times)


# --- Measuring and showing -------------------------------------------------------------------------------------------


def measure(stacks: list[int], strides: list[int], repeats: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        made: list[Case] = []
        for stride in strides:
            for n_stacks in stacks:
                path = Path(folder) / f"{n_stacks}-{stride}"
                path.mkdir()
                made += cases(n_stacks, stride, path)
        for _ in range(repeats):
            for case in made:
                case.measure()
    return [case.row() for case in made]


def chunk_table(rows: list[dict[str, Any]]) -> str:
    """A line for each encoder, engine and number of streams; ms for a chunk of 20 ms of all streams.

    A time without a range was measured once.
    """
    ways = ["stream", *(f"window of {seconds} s" for seconds in WINDOW_SECONDS)]
    head = ["frames a second", "stacks", "weights", "streams", "engine", *(f"{way}, ms" for way in ways)]
    cells: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        median, least, most = row["ms_per_chunk"]
        key = (row["frame_rate_hz"], row["stacks"], row["weights_megabytes"], row["streams"], row["engine"])
        between = f" ({least:.3g} to {most:.3g})" if least < most else ""
        cells.setdefault(key, {})[row["way"]] = f"{median:.3g}{between}"
    return table(
        head,
        [
            (f"{rate:g}", str(stacks), f"{megabytes:.1f} MB", str(streams), engine, *(found.get(w, "") for w in ways))
            for (rate, stacks, megabytes, streams, engine), found in cells.items()
        ],
    )


def main() -> None:
    parser = options(__doc__, "streaming", "repeats of each case")
    parser.add_argument("--stacks", type=int, nargs="+", default=[2, 4], help="numbers of stacks (%(default)s)")
    parser.add_argument("--strides", type=int, nargs="+", default=[2, 1], help="strides of 10 ms (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.stacks, arguments.strides, arguments.repeats)
    about = machine() | {
        "onnxruntime": onnxruntime.__version__,
        "read_gigabytes_per_second": round(read_gigabytes_per_second(), 1),
    }
    show(about, chunk_table(rows))
    write(arguments.out, about, rows=rows)


if __name__ == "__main__":
    main()
