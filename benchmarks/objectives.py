"""What does a training step of each objective cost beside plain VQ-VAE, and what do contrast and generation gain?

    python benchmarks/objectives.py [--out FILE] [--repeats N]         about 3 minutes on 2 cores

A step is forward, backward, clipping, AdamW and codebook on one batch in memory: 8 windows of 8 s of two channels, two
of each conversation, each speaker speaking every other second, in noise. All objectives have the encoder of
recipes/real.toml with 40 mel bands (1 stack of 128 channels, kernel 3, dilations 1, 3, 9, 27, 81, 50 frames a second)
and otherwise the settings of their own recipes; the WaveNet decodes 0.1 s of each channel. `all_ranks` is this one
process. Prints tables in Markdown and writes the numbers as JSON.

`MB` is the most that a step holds of what it allocates itself, by PyTorch's profiler: weights, moments, batch and what
oneDNN allocates for itself do not count; it is the same in every run. `of peak` is the multiply-adds (counted by
PyTorch; FFT and elementwise work count for nothing) over the time, as a share of a 1024 x 1024 matrix product in the
same precision, timed just before and after. `of encoder` is that share over the one of the encoder alone, forward and
backward from the mean square of its output, and says where it lies under half. All cases take turns, so whatever else
the machine is doing weighs on all alike; each number is the median of the repeats, with their range, and ratios are of
one repeat. Freed memory is kept, as in training.

The second table is about InfoNCE, forward and backward, in fp32: negatives pooled for each sequence, so that the scores
of a step are one product (`ssl_tt.objectives.cpc.info_nce`), beside a loop that scores each sequence, step and frame
against its own negatives, which lie ready for it. The third is about the WaveNet of recipes/vqvae-wavenet.toml, at
8 kHz: its layers keep their past while it generates (`Autoregressive.generate`), beside the network run anew over its
receptive field for each sample. Both ways give the same numbers, or the benchmark stops.
"""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from machine import PRECISIONS, machine, operations, options, peak, show, shown, spread, table, timed, write
from throughput import train
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives import build
from ssl_tt.objectives.autoregressive import Autoregressive
from ssl_tt.objectives.config import CPCConfig
from ssl_tt.objectives.cpc import info_nce
from ssl_tt.objectives.negatives import Pool, candidate_sequences, draw_pool
from ssl_tt.objectives.wavenet import WaveNet
from ssl_tt.recipe import load
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.loop import adamw
from ssl_tt.training.pretrain import keep_freed_memory

RECIPES = Path(__file__).parent.parent / "recipes"
SAMPLE_RATE_HZ, FRAME_RATE_HZ = 16000, 50
WINDOWS, WINDOW_SECONDS = 8, 8
ENCODER = EncoderConfig(
    frontend=LogMelConfig(mel_bands=40),
    channels=128,
    output_channels=128,
    stacks=(StackConfig(kernel=3, dilations=(1, 3, 9, 27, 81)),),
)
ALONE, PLAIN = "encoder alone", "VQ-VAE"
"""What shares of peak, and times and memory, are compared with."""
OBJECTIVES = {
    PLAIN: "vqvae",
    "VQ-VAE, WaveNet": "vqvae --objective.decoder.kind wavenet --objective.decoder.train_frames 5 "
    "--objective.decoder_channels 64",
    "VQ-VAE-2": "vqvae2",
    "VAE": "vae",
    "APC": "apc",
    "CPC": "cpc",
    "CPC v2": "cpc2",
    "CPC and VQ-VAE": "joint",
    "CPC, LSTM": "cpc --objective.context lstm --objective.targets encoder",
    "CPC, speech only": "cpc --objective.speech_only",
    **({"CPC, quantizer": "cpc --objective.quantizer.codes 512"} if "quantizer" in CPCConfig.model_fields else {}),
    **{f"CPC, {name}": f"cpc --objective.predictor {name}" for name in ("mlp", "recurrent", "transformer")},
    **{
        f"CPC, {source}": f"cpc --objective.negatives {source}"
        for source in ("other_channel", "same_conversation", "other_conversation", "batch", "all_ranks")
    },
}
"""A recipe of each and what differs from it. CPC has a linear predictor and negatives of its own sequence."""

CONTRASTS = ((2, 100, 4), (8, 200, 4))
"""Sequences, frames and steps of InfoNCE."""
CONTRAST_CHANNELS, NEGATIVES = 128, 128
GENERATED = (1, 8)
"""Sequences generated together."""
RECOMPUTED_SAMPLES = 8
TIMED_SECONDS = 0.1  # of calls in a repeat; one call where it takes longer

Step = Callable[[], Any]


# --- Steps -----------------------------------------------------------------------------------------------------------


class Case:
    """A training step, of an objective or of the encoder alone."""

    def __init__(self, name: str, precision: str, batch: Batch) -> None:
        self.name = {"objective": name, "precision": precision}
        self.dtype = PRECISIONS[precision]
        self.step = encoder_step(batch, self.dtype) if name == ALONE else objective_step(name, batch, self.dtype)
        self.step()  # the first makes the optimizer's moments and the codebook
        self.flops = operations(self.step)
        self.megabytes = most_allocated(self.step) / 1e6
        self.seconds: list[float] = []
        self.shares_of_peak: list[float] = []

    def measure(self) -> None:
        seconds, share = timed(self.step, self.flops, self.dtype)
        self.seconds.append(seconds)
        self.shares_of_peak.append(share)

    def row(self, plain: "Case", alone: "Case") -> dict[str, Any]:
        return {
            **self.name,
            "gflop_per_step": self.flops / 1e9,
            "ms": spread(1000 * seconds for seconds in self.seconds),
            "ratio": ratios(self.seconds, plain.seconds),
            "megabytes": self.megabytes,
            "megabytes_ratio": self.megabytes / plain.megabytes,
            "share_of_peak": spread(self.shares_of_peak),
            "share_of_encoders": ratios(self.shares_of_peak, alone.shares_of_peak),
        }


def objective_step(name: str, batch: Batch, dtype: torch.dtype) -> Step:
    recipe, *changes = OBJECTIVES[name].split()
    torch.manual_seed(0)
    objective = build(load(RECIPES / f"{recipe}.toml", PretrainRecipe, changes).objective, Encoder(ENCODER))
    optimizer = adamw(objective, TrainingConfig(learning_rate=1e-4))
    return lambda: train(objective, optimizer, batch, dtype)


def encoder_step(batch: Batch, dtype: torch.dtype) -> Step:
    torch.manual_seed(0)
    encoder = Encoder(ENCODER)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            z, _ = encoder(batch.samples.flatten(0, 1))
        z.square().mean().backward()
        encoder.zero_grad()

    return step


def noise_batch() -> Batch:
    """Two windows of each conversation, whose speakers take turns."""
    n_samples, n_frames = (WINDOW_SECONDS * rate_hz for rate_hz in (SAMPLE_RATE_HZ, FRAME_RATE_HZ))
    draw = torch.Generator().manual_seed(0)
    first = torch.arange(n_frames) // FRAME_RATE_HZ % 2 == 0
    return Batch(
        samples=0.1 * torch.randn(WINDOWS, 2, n_samples, generator=draw),
        activity=torch.stack((first, ~first), dim=1).expand(WINDOWS, -1, -1),
        conversation=torch.arange(WINDOWS) // 2,
        item=torch.arange(WINDOWS),
    )


def most_allocated(step: Step) -> int:
    """The most bytes that a step holds at once of those that it allocates."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # below 0 where it is freed
        most = max(most, held)
    return most


def ratios(values: list[float], others: list[float]) -> list[float]:
    return spread(a / b for a, b in zip(values, others, strict=True))


def measure(names: list[str], repeats: int) -> list[dict[str, Any]]:
    batch = noise_batch()
    wanted = dict.fromkeys((ALONE, PLAIN, *names))
    cases = {(name, precision): Case(name, precision, batch) for precision in PRECISIONS for name in wanted}
    for _ in range(repeats):
        for case in cases.values():
            case.measure()
    return [case.row(cases[PLAIN, precision], cases[ALONE, precision]) for (_, precision), case in cases.items()]


# --- Two ways to the same numbers ------------------------------------------------------------------------------------


class Pair:
    """A quick and an obvious way to the same result, timed by turns: seconds of one piece of work."""

    def __init__(self, name: dict[str, Any], quick: Step, obvious: Step, pieces: tuple[int, int] = (1, 1)) -> None:
        self.name, self.ways, self.pieces = name, (quick, obvious), pieces
        self.seconds: tuple[list[float], list[float]] = ([], [])

    def measure(self) -> None:
        for step, pieces, seconds in zip(self.ways, self.pieces, self.seconds, strict=True):
            times: list[float] = []
            while sum(times) < TIMED_SECONDS:
                started = time.perf_counter()
                step()
                times.append(time.perf_counter() - started)
            seconds.append(statistics.median(times) / pieces)

    def row(self) -> dict[str, Any]:
        quick, obvious = self.seconds
        return {
            **self.name,
            "quick_seconds": spread(quick),
            "obvious_seconds": spread(obvious),
            "ratio": ratios(obvious, quick),
        }


def contrast(sequences: int, frames: int, steps: int) -> Pair:
    """InfoNCE of predictions 1 ... H frames ahead, and its gradient."""
    torch.manual_seed(0)
    z = torch.randn(sequences, frames, CONTRAST_CHANNELS, requires_grad=True)
    predicted = [torch.randn(sequences, frames - h, CONTRAST_CHANNELS, requires_grad=True) for h in range(1, steps + 1)]
    candidates = candidate_sequences("sequence", torch.arange(sequences), speakers=1)
    pool = draw_pool(candidates, torch.arange(sequences), frames, min(NEGATIVES, frames - 1))
    choices = own_choices(pool)

    def gradients(loss: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(), (z, *predicted))

    def quick() -> tuple[Tensor, ...]:
        return gradients(lambda: pooled(predicted, z, pool))

    def obvious() -> tuple[Tensor, ...]:
        return gradients(lambda: by_frame(predicted, z, choices))

    torch.testing.assert_close(quick(), obvious(), rtol=1e-3, atol=1e-6)
    return Pair({"sequences": sequences, "frames": frames, "steps": steps}, quick, obvious)


def pooled(predicted: list[Tensor], z: Tensor, pool: Pool) -> Tensor:
    """The mean over steps of the means over frames, by one product a step."""
    assert pool.left_out is not None
    negatives = z.flatten(0, 1)[pool.frames]
    losses = [
        info_nce(step, z[:, h:], negatives, pool.left_out[:, h:])[0].mean() for h, step in enumerate(predicted, start=1)
    ]
    return torch.stack(losses).mean()


def by_frame(predicted: list[Tensor], z: Tensor, choices: Tensor) -> Tensor:
    """The same, frame by frame; choices [B, T, 1 + N] say which frames each is told from, itself the first."""
    lying_ready = [sequence.unbind() for sequence in z.flatten(0, 1)[choices].unbind()]
    itself = torch.tensor(0)
    losses = []
    for h, step in enumerate(predicted, start=1):
        of_step = [
            F.cross_entropy(told_from @ frame, itself)
            for sequence, chosen in zip(step.unbind(), lying_ready, strict=True)
            for frame, told_from in zip(sequence.unbind(), chosen[h:], strict=True)
        ]
        losses.append(torch.stack(of_step).mean())
    return torch.stack(losses).mean()


def own_choices(pool: Pool) -> Tensor:
    """Each frame of each sequence and its negatives, [B, T, 1 + N], as places in the flattened frames."""
    assert pool.left_out is not None
    (n_sequences, n_frames), size = pool.left_out.shape, pool.frames.shape[1]
    kept = torch.arange(size) != pool.left_out[..., None]
    negatives = pool.frames[:, None].expand(-1, n_frames, -1)[kept].view(n_sequences, n_frames, size - 1)
    itself = torch.arange(n_sequences * n_frames).view(n_sequences, n_frames, 1)
    return torch.cat((itself, negatives), dim=2)


def generation(sequences: int) -> Pair:
    """Samples of a WaveNet one after another, with its past kept, and without."""
    recipe = load(RECIPES / "vqvae-wavenet.toml", PretrainRecipe)
    torch.manual_seed(0)
    wavenet = cast(WaveNet, build(recipe.objective, Encoder(recipe.encoder)).decoder)
    network, hop = wavenet.samples, wavenet.hop_samples
    nn.init.normal_(network.output.weight, std=0.5)  # else what comes next would not depend on what came before
    n_frames = math.ceil((network.receptive_field + RECOMPUTED_SAMPLES) / hop)
    condition = torch.randn(sequences, n_frames, cast(nn.Linear, network.condition).in_features)
    noise = torch.rand(sequences, n_frames * hop, network.distribution.draws)
    values = network.generate(noise, condition)

    def obvious() -> Tensor:
        return recomputed(network, values, noise, condition)

    assert torch.equal(obvious(), values)
    return Pair(
        {"sequences": sequences, "receptive_field_samples": network.receptive_field},
        lambda: network.generate(noise[:, :hop], condition[:, :1]),
        obvious,
        (sequences * hop, sequences * RECOMPUTED_SAMPLES),
    )


@torch.inference_mode()
def recomputed(network: Autoregressive, values: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
    """Values [B, N], the last of them drawn anew, each by the network over all that it depends on."""
    hop, n_samples = values.shape[1] // condition.shape[1], values.shape[1]
    drawn = values.clone()
    drawn[:, -RECOMPUTED_SAMPLES:] = 0
    for place in range(n_samples - RECOMPUTED_SAMPLES, n_samples):
        frame = (place - network.receptive_field) // hop  # whole frames, as the condition has them
        parameters = network.parameters_of(drawn[:, frame * hop :], condition[:, frame:])[:, place - n_samples, None]
        drawn[:, place, None] = network.distribution.draw(parameters, noise[:, place, None])
    return drawn


def measure_pairs(pairs: list[Pair], repeats: int) -> list[dict[str, Any]]:
    for _ in range(repeats):
        for pair in pairs:
            pair.measure()
    return [pair.row() for pair in pairs]


# --- Showing ---------------------------------------------------------------------------------------------------------


def step_table(rows: list[dict[str, Any]]) -> str:
    head = ("objective", "precision", "ms", "ratio", "MB", "ratio", "of peak", "of encoder", "")
    cells = [
        (
            row["objective"],
            row["precision"],
            shown(row["ms"], ".0f"),
            shown(row["ratio"], ".2f"),
            f"{row['megabytes']:.0f}",
            f"{row['megabytes_ratio']:.2f}",
            shown(row["share_of_peak"], ".0%"),
            f"{row['share_of_encoders'][0]:.2f}",
            "under half" if row["share_of_encoders"][0] < 0.5 else "",
        )
        for row in rows
    ]
    return table(head, cells)


def contrast_table(rows: list[dict[str, Any]]) -> str:
    head = ("sequences", "frames", "steps", "one product a step, ms", "frame by frame, ms", "ratio")
    cells = [
        (
            *(str(row[name]) for name in head[:3]),
            *(shown([1000 * t for t in row[way]], ".3g") for way in ("quick_seconds", "obvious_seconds")),
            shown(row["ratio"], ".0f"),
        )
        for row in rows
    ]
    return table(head, cells)


def generation_table(rows: list[dict[str, Any]]) -> str:
    head = ("sequences", "receptive field, samples", "past kept, samples a second of all", "run anew", "ratio")
    cells = [
        (
            str(row["sequences"]),
            f"{row['receptive_field_samples']:,}",
            *(shown(per_second(row[way]), ",.0f") for way in ("quick_seconds", "obvious_seconds")),
            shown(row["ratio"], ".0f"),
        )
        for row in rows
    ]
    return table(head, cells)


def per_second(seconds: list[float]) -> list[float]:
    """Median, least and most pieces a second."""
    median, least, most = seconds
    return [1 / median, 1 / most, 1 / least]


def main() -> None:
    parser = options(__doc__, "objectives", "timed steps of each case")
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), help="rows of the first table (all)")
    arguments = parser.parse_args()
    keep_freed_memory()
    steps = measure(arguments.objectives, arguments.repeats)
    contrasts = measure_pairs([contrast(*size) for size in CONTRASTS], arguments.repeats)
    generated = measure_pairs([generation(sequences) for sequences in GENERATED], arguments.repeats)
    about = machine() | {f"peak_gflops_{name}": round(peak(dtype) / 1e9) for name, dtype in PRECISIONS.items()}
    show(about, step_table(steps), contrast_table(contrasts), generation_table(generated))
    write(arguments.out, about, steps=steps, contrast=contrasts, generation=generated)


if __name__ == "__main__":
    main()
