"""What does encoding cost, and does it grow linearly with stacks and with length?

    python benchmarks/encoder.py [--out FILE] [--repeats N]         about 3 minutes on 2 cores

The default encoder (log-mel at 100 Hz, stride 2, 256 channels, kernel 3, dilations 1, 3, 9, 27), log-mel included, on
60 s of audio in windows of 2 s unless a row says otherwise, on all cores. Inference is a forward pass without gradient,
training a forward and a backward pass. Prints tables in Markdown and writes the numbers as JSON.

`of peak` is the multiply-adds (counted by PyTorch; FFT and elementwise work count for nothing) over the time, as a
share of a 1024 x 1024 matrix product in the same precision, timed just before and after. `ratio` is the time for as
much audio, over that of the first row of its table. `exponent` is the slope of a straight line through the logarithms
of number and time: 1 is linear. All cases take turns, so whatever else the machine is doing weighs on all alike; each
number is the median of the repeats, with their range, and ratios are of one repeat. Freed memory is kept, as in
training.

The last table is about combining at every layer, where each block of every stack reads the mean of all: the package
works through the stacks one by one (`loop`), and beside it stands one layer for all of them (`grouped`), which stacks
of equal kernel and dilations would allow: convolutions in groups on windows, batched products on live chunks. Frames of
50 Hz, fp32; `x` is the least time of the loop over the least time of the group, so above 1 the group is faster.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from machine import PRECISIONS, machine, operations, options, peak, show, shown, spread, table, timed, write
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.conv import CausalConv1d
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.stack import ResidualBlock
from ssl_tt.training.pretrain import keep_freed_memory

SAMPLE_RATE_HZ = 16000
BATCH_SECONDS = 60
WINDOW_SECONDS = 2
LENGTHS_SECONDS = (2, 5, 20, 60)
STACKS = (1, 2, 4, 8)
COMBINED_STACKS = (2, 4)
WORK = ("inference", "training")

GROUPED_STACKS = (2, 4, 8)
GROUPED_CHANNELS = (64, 256)
GROUPED_DILATION = 9
LIVE = ((1, 1), (1, 2), (8, 1), (8, 2))
"""Streams and frames of a live chunk."""
FRAMES_IN_WINDOW = 100
WINDOWS = 16
GROUPED_SECONDS = 0.01  # of calls in a repeat; one call where it takes longer


# --- Which encoders --------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """A row of a table: an encoder and the windows it gets."""

    encoder: EncoderConfig
    window_seconds: int = WINDOW_SECONDS


def settings() -> dict[str, dict[str, Setting]]:
    """Rows by table and name; every ratio is to the first row of its table."""
    flat = Encoder(EncoderConfig())
    equal = {
        "parameters": over_frequency(lambda encoder: encoder.parameter_count, flat),
        "multiply-accumulates": over_frequency(lambda encoder: encoder.macs_per_second, flat),
    }
    return {
        "stacks": {str(n): Setting(encoder_of(n)) for n in STACKS},
        "length": {f"{seconds} s": Setting(EncoderConfig(), seconds) for seconds in LENGTHS_SECONDS},
        "convolution": {
            "1-D": Setting(EncoderConfig()),
            **{f"2-D, equal {name}": Setting(config) for name, config in equal.items()},
        },
        **{
            f"combined, {n} stacks": {
                f"{place.replace('_', ' ')}, {how}": Setting(encoder_of(n, combine_at=place, combine=how))
                for place in ("end", "every_layer")
                for how in ("add", "concat")
            }
            for n in COMBINED_STACKS
        },
    }


def encoder_of(n_stacks: int, **fields: Any) -> EncoderConfig:
    return EncoderConfig(stacks=(StackConfig(),) * n_stacks, **fields)


def over_frequency(quantity: Callable[[Encoder], float], flat: Encoder) -> EncoderConfig:
    """The 2-D encoder, in bands of 2 mel bands, whose channels bring it nearest to a quantity of the 1-D one."""

    def config(channels: int) -> EncoderConfig:
        return EncoderConfig(convolution="2d", frequency_stride=2, channels=channels)

    def found(channels: int) -> float:
        return quantity(Encoder(config(channels)))

    above = bisect_left(range(1, 256), quantity(flat), key=found) + 1
    near = (max(1, above - 1), above)
    return config(min(near, key=lambda channels: abs(found(channels) - quantity(flat))))


# --- What is measured ------------------------------------------------------------------------------------------------


class Case:
    """An encoder at work on one batch."""

    def __init__(self, encoder: Encoder, window_seconds: int, work: str, precision: str) -> None:
        self.encoder, self.work, self.dtype = encoder, work, PRECISIONS[precision]
        rng = np.random.default_rng(0)
        shape = (BATCH_SECONDS // window_seconds, window_seconds * SAMPLE_RATE_HZ)
        self.samples = torch.from_numpy(0.1 * rng.standard_normal(shape, dtype=np.float32))
        self.flops = operations(self.step)
        self.seconds: list[float] = []
        self.shares_of_peak: list[float] = []

    def step(self) -> None:
        with (
            torch.set_grad_enabled(self.work == "training"),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16),
        ):
            z, _ = self.encoder(self.samples)
        if self.work == "training":
            z.square().mean().backward()
            self.encoder.zero_grad()

    def measure(self) -> None:
        seconds, share = timed(self.step, self.flops, self.dtype)
        self.seconds.append(seconds)
        self.shares_of_peak.append(share)


def measure(tables: dict[str, dict[str, Setting]], repeats: int) -> list[dict[str, Any]]:
    """A row for each setting, work and precision; what stands in several tables is measured once."""
    wanted = dict.fromkeys(setting for rows in tables.values() for setting in rows.values())
    encoders = {config: seeded(config) for config in dict.fromkeys(setting.encoder for setting in wanted)}
    cases = {
        (setting, work, precision): Case(encoders[setting.encoder], setting.window_seconds, work, precision)
        for setting in wanted
        for work in WORK
        for precision in PRECISIONS
    }
    for _ in range(repeats):
        for case in cases.values():
            case.measure()
    rows = []
    for title, named in tables.items():
        first = next(iter(named.values()))
        for work in WORK:
            for precision in PRECISIONS:
                base = cases[first, work, precision]
                for name, setting in named.items():
                    case = cases[setting, work, precision]
                    rows.append(
                        {
                            "table": title,
                            "name": name,
                            "work": work,
                            "precision": precision,
                            "channels": setting.encoder.channels,
                            "parameters": case.encoder.parameter_count,
                            "macs_per_second_of_audio": case.encoder.macs_per_second,
                            "ms": spread(1000 * seconds for seconds in case.seconds),
                            "audio_seconds_per_second": spread(BATCH_SECONDS / seconds for seconds in case.seconds),
                            "ratio": spread(a / b for a, b in zip(case.seconds, base.seconds, strict=True)),
                            "share_of_peak": spread(case.shares_of_peak),
                        }
                    )
    return rows


def seeded(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return Encoder(config)


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of the logarithm of time over that of the number of stacks, by work and precision."""
    found = {}
    for work in WORK:
        for precision in PRECISIONS:
            grown = [
                (int(row["name"]), row["ms"][0])
                for row in rows
                if (row["table"], row["work"], row["precision"]) == ("stacks", work, precision)
            ]
            numbers, times = np.log(np.array(grown)).T
            found[f"{work}, {precision}"] = round(float(np.polyfit(numbers, times, 1)[0]), 3)
    return found


# --- Stacks one by one, and in one layer ------------------------------------------------------------------------------


class Group(nn.Module):
    """The same block of several stacks on one stream, and the mean of what they give: [B, T, C] -> [B, T, C].

    Of n stacks, the normalisation is computed once; their own scales and layers then work on [B, T, n * C]. The state
    is that of all, [B, past, n * C].
    """

    def __init__(self, blocks: Sequence[ResidualBlock]) -> None:
        super().__init__()
        self.n_stacks = len(blocks)
        self.scale, self.shift = (
            nn.Parameter(torch.stack([getattr(block.norm, name).detach() for block in blocks]))
            for name in ("weight", "bias")
        )
        self.dilated = joined([cast(CausalConv1d, block.dilated) for block in blocks])
        self.project = joined([cast(CausalConv1d, block.project) for block in blocks])

    def forward(self, x: Tensor) -> Tensor:
        """Whole windows, by convolutions in groups."""
        h, _ = self.dilated(self.normalised(x))
        h, _ = self.project(F.relu(h))
        return x + h.unflatten(2, (self.n_stacks, -1)).mean(dim=2)

    def live(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """A few frames, by one product of each layer for all stacks."""
        h = torch.cat((state, self.normalised(x)), dim=1)
        taps = h.unfold(1, self.dilated.span, 1)[..., :: self.dilated.dilation[0]]
        taps = taps.unflatten(2, (self.n_stacks, -1)).permute(2, 0, 1, 3, 4).flatten(3).flatten(1, 2)
        h_stacks = F.relu(self.product(taps, self.dilated))
        mean = self.product(h_stacks, self.project).mean(dim=0)
        return x + mean.view_as(x), h[:, x.shape[1] :]

    def normalised(self, x: Tensor) -> Tensor:
        normal = F.layer_norm(x, x.shape[-1:]).unsqueeze(2)
        return F.relu(torch.addcmul(self.shift, normal, self.scale)).flatten(2)

    def product(self, rows: Tensor, layer: CausalConv1d) -> Tensor:
        """[n, B * T, inputs] -> [n, B * T, C]"""
        assert layer.bias is not None
        weight = layer.weight.flatten(1).unflatten(0, (self.n_stacks, -1))
        bias = layer.bias.unflatten(0, (self.n_stacks, 1, -1))
        return torch.baddbmm(bias, rows, weight.transpose(1, 2))


def joined(layers: Sequence[CausalConv1d]) -> CausalConv1d:
    """One layer of as many groups as there are layers."""
    first, n = layers[0], len(layers)
    together = CausalConv1d(
        n * first.in_channels, n * first.out_channels, first.kernel_size[0], first.dilation[0], groups=n
    )
    for name in ("weight", "bias"):
        getattr(together, name).data = torch.cat([getattr(layer, name).detach() for layer in layers])
    return together


def looped(blocks: Sequence[ResidualBlock], x: Tensor, states: Sequence[Tensor | None]) -> tuple[Tensor, list[Tensor]]:
    """Block after block, as the encoder does."""
    found = [block(x, state) for block, state in zip(blocks, states, strict=True)]
    ends = [end for end, _ in found]
    return sum(ends[1:], start=ends[0]) / len(ends), [state for _, state in found]


class Pair:
    """The loop and the group at the same work, timed by turns."""

    def __init__(self, name: dict[str, Any], loop: Callable[[], Tensor], group: Callable[[], Tensor]) -> None:
        self.name, self.ways = name, (loop, group)
        torch.testing.assert_close(loop(), group(), rtol=1e-3, atol=1e-4)  # the same numbers, or no comparison
        self.least_ms = [float("inf"), float("inf")]

    def measure(self) -> None:
        for place, step in enumerate(self.ways):
            spent = 0.0
            while spent < GROUPED_SECONDS:
                started = time.perf_counter()
                step()
                seconds = time.perf_counter() - started
                spent += seconds
                self.least_ms[place] = min(self.least_ms[place], 1000 * seconds)

    def row(self) -> dict[str, Any]:
        loop, group = self.least_ms
        return {**self.name, "loop_ms": loop, "grouped_ms": group, "ratio": loop / group}


def pairs(n_stacks: int, channels: int) -> list[Pair]:
    """Every kind of work of one layer of some stacks."""
    torch.manual_seed(0)
    blocks = [ResidualBlock(channels, 3, GROUPED_DILATION) for _ in range(n_stacks)]
    group = Group(blocks)
    common = {"stacks": n_stacks, "channels": channels}
    made = [
        Pair({**common, "work": live_name(streams, frames)}, *live_steps(blocks, group, channels, streams, frames))
        for streams, frames in LIVE
    ]
    for work in WORK:
        made.append(Pair({**common, "work": work}, *window_steps(blocks, group, channels, work == "training")))
    return made


def live_name(streams: int, frames: int) -> str:
    return f"live, {streams} x {frames}"


def live_steps(
    blocks: Sequence[ResidualBlock], group: Group, channels: int, streams: int, frames: int
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    x = torch.randn(streams, frames, channels)
    states = list(torch.randn(len(blocks), streams, group.dilated.past, channels))
    state = torch.cat(states, dim=-1)

    @torch.inference_mode()
    def loop() -> Tensor:
        return looped(blocks, x, states)[0]

    @torch.inference_mode()
    def grouped() -> Tensor:
        return group.live(x, state)[0]

    return loop, grouped


def window_steps(
    blocks: Sequence[ResidualBlock], group: Group, channels: int, training: bool
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    x = torch.randn(WINDOWS, FRAMES_IN_WINDOW, channels, requires_grad=training)

    def step(forward: Callable[[], Tensor]) -> Tensor:
        with torch.set_grad_enabled(training):
            y = forward()
            if training:
                y.square().mean().backward()
        return y.detach()

    return lambda: step(lambda: looped(blocks, x, [None] * len(blocks))[0]), lambda: step(lambda: group(x))


def measure_groups(repeats: int) -> list[dict[str, Any]]:
    made = [pair for channels in GROUPED_CHANNELS for n_stacks in GROUPED_STACKS for pair in pairs(n_stacks, channels)]
    for _ in range(repeats):
        for pair in made:
            pair.measure()
    return [pair.row() for pair in made]


# --- Showing ---------------------------------------------------------------------------------------------------------


def encoder_table(title: str, rows: list[dict[str, Any]]) -> str:
    """A line for each setting and precision, inference and training side by side."""
    each = ["s of audio a second", "ms", "ratio", "of peak"]
    head = [
        title,
        "channels",
        "parameters",
        "MMAC a s of audio",
        "precision",
        *(f"{w}: {e}" for w in WORK for e in each),
    ]
    cells: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        macs = f"{row['macs_per_second_of_audio'] / 1e6:.1f}"
        key = (row["name"], str(row["channels"]), f"{row['parameters']:,}", macs, row["precision"])
        cells.setdefault(key, []).extend(
            (
                shown(row["audio_seconds_per_second"], ".0f"),
                f"{row['ms'][0]:.0f}",
                shown(row["ratio"], ".2f"),
                f"{row['share_of_peak'][0]:.0%}",
            )
        )
    return table(head, [(*key, *found) for key, found in sorted(cells.items(), key=by_precision)])


def by_precision(cell: tuple[tuple[Any, ...], list[str]]) -> int:
    return list(PRECISIONS).index(cell[0][-1])


def group_table(rows: list[dict[str, Any]]) -> str:
    works = [*(live_name(*each) for each in LIVE), *WORK]
    head = ["channels", "stacks", *(f"{work}: ms, x" for work in works)]
    cells: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        cell = f"{row['loop_ms']:.3g}, {row['ratio']:.2f}"
        cells.setdefault((row["channels"], row["stacks"]), []).append(cell)
    return table(head, [(str(channels), str(stacks), *found) for (channels, stacks), found in cells.items()])


def main() -> None:
    arguments = options(__doc__, "encoder", "repeats of each case").parse_args()
    keep_freed_memory()
    tables = settings()
    rows, groups = measure(tables, arguments.repeats), measure_groups(arguments.repeats)
    about = machine() | {f"peak_gflops_{name}": round(peak(dtype) / 1e9) for name, dtype in PRECISIONS.items()}
    grown = exponents(rows)
    show(
        about,
        *(encoder_table(title, [row for row in rows if row["table"] == title]) for title in tables),
        "exponent of the stacks: " + "; ".join(f"{name} {value:.3f}" for name, value in grown.items()),
        group_table(groups),
    )
    write(arguments.out, about, rows=rows, exponents_of_stacks=grown, groups=groups)


if __name__ == "__main__":
    main()
