"""One run: conversations, encoder, objective, loop, and a run directory that rebuilds itself."""

import ctypes
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from ssl_tt import __version__
from ssl_tt import recipe as recipes
from ssl_tt.data.atomic import atomically
from ssl_tt.data.contained import check_contained
from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.data.index import audio_digest, columns
from ssl_tt.data.windows import Windows
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.normalised import corpus_statistics, normalised
from ssl_tt.encoder.receptive_field import check_window, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.timebase import samples
from ssl_tt.training import checkpoint, loop, processes
from ssl_tt.training.config import PretrainRecipe, RunRecipe
from ssl_tt.training.corpora import Splits, check_lengths, conversations

STATISTICS_WINDOWS = 256
"""Windows whose features give the front end's fixed mean and deviation; with 4 s and two channels, half an hour."""

# Fields that may differ when a run goes on: they change no bit of the weights (where a pretrained run lies does not).
_FREE = {"training.workers", "training.keep_checkpoints", "run", "data.cache_folder", "data.cache_gigabytes"}

_PACKAGES = ("accelerate", "numpy", "scipy", "soundfile", "safetensors", "pydantic")


def pretrain(recipe: PretrainRecipe, out: Path, *, splits: Splits | None = None, quiet: bool = False) -> Path:
    """Train the recipe's encoder into the run directory `out`, or go on there from the newest checkpoint.

    splits: conversations for `train` and `validation` if they are read already; otherwise those of the recipe. Raises
    InputError if `out` belongs to another recipe or the window (or each conversation) is shorter than the receptive
    field, RunError if training fails, StoppedEarly if it was asked to stop.
    """
    keep_freed_memory()
    processes.join(recipe.training)
    if splits is None:
        with PartialState().main_process_first():  # simulates what is not there yet
            check_lengths(recipe)  # before the window, since none mends a field longer than any conversation
    check_window(receptive_field(recipe.encoder), recipe.data.window_seconds)
    processes.agree(recipe=identity(recipe))
    claim(out, recipe)
    with PartialState().main_process_first():
        splits = splits or conversations(recipe)[0]

    torch.manual_seed(recipe.seed)  # the encoder first: with one seed it starts alike under every objective
    encoder = Encoder(recipe.encoder)
    windows, validation = training_windows(splits, recipe, encoder)
    if checkpoint.newest(out) is None:
        take_statistics(encoder, windows)
    objective = build(recipe.objective, encoder)

    if processes.is_main():
        write_json(out / "environment.json", environment())
    digest = f"{audio_digest(splits['train'])} {audio_digest(splits['validation'])}"
    state = loop.train(objective, recipe, windows, validation, out, data_digest=digest, quiet=quiet)
    if processes.is_main():
        write_json(out / "cost.json", cost(recipe, encoder, splits, state))
    return out


def cost(recipe: PretrainRecipe, encoder: Encoder, splits: Splits, state: dict[str, Any]) -> dict[str, float]:
    """What a run cost. Hours are those of the recordings; seconds of audio, as in MACs a second, of single channels.

    Seconds of audio and CPU seconds are those of all processes of the run, with all their threads, but not of the
    workers that read for them. Windows that could not be read were replaced by others.
    """
    field = receptive_field(encoder)
    return {
        "parameters": encoder.parameter_count,
        "macs_per_second_of_audio": encoder.macs_per_second,
        "receptive_field_ms": field.span_ms,
        "lookahead_ms": field.lookahead_ms,
        "seconds_of_audio_per_second": state["seconds_of_audio_per_second"],
        "pretrain_audio_hours": float(columns(splits["train"]).duration_seconds.sum()) / 3600,
        "pretrain_seconds": state["seconds"],
        "pretrain_cpu_seconds": state["cpu_seconds"],
        "unreadable_windows": state["unreadable_windows"],
    }


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of handing it back and faulting it in again, page by page, every step.

    Batches and activations are allocated anew in each step; above the thresholds glibc maps and unmaps them, and the
    page faults cost a third to two thirds of some steps on CPU. The same as MALLOC_MMAP_THRESHOLD_ and
    MALLOC_TRIM_THRESHOLD_ in the environment, which would have to be there before the process starts.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, 1 << 30)


def claim(out: Path, recipe: RunRecipe) -> None:
    """Make `out` the run directory of the recipe; InputError if it is something else's, or a link leads out of it."""
    check_contained(out)
    path = out / "recipe.toml"
    # Looked at before the recipe is: whatever another process of this run has put there came after its recipe, and
    # hidden files are those that it is about to rename.
    taken = out.exists() and (not out.is_dir() or any(not each.name.startswith(".") for each in out.iterdir()))
    if not path.exists():
        if taken:
            raise InputError(
                f"{out}: holds other files, expected a new folder or a run directory: choose another --out"
            )
        with atomically(path) as file:
            file.write(recipes.dump(recipe).encode())
        return
    there, given = recipes.flatten(recipes.load(path, type(recipe))), recipes.flatten(recipe)
    for name in dict.fromkeys((*given, *there)):
        if there.get(name) != given.get(name) and name not in _FREE:
            raise InputError(
                f"{out}: checkpoint folder of another recipe: {name} is {_said(there, name)} there, "
                f"{_said(given, name)} in this one: choose another --out"
            )


def identity(recipe: RunRecipe) -> str:
    """All fields of a recipe on which the weights depend, as text."""
    return json.dumps({name: value for name, value in recipes.flatten(recipe).items() if name not in _FREE})


def _said(fields: dict[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "not given"


def training_windows(splits: Splits, recipe: PretrainRecipe, encoder: Encoder) -> tuple[Windows, Windows]:
    """Windows of a whole number of frames to train on, and those to validate on, which no seed but the data's moves."""
    needed: tuple[Split, ...] = ("train", "validation")
    for split in needed:
        if not splits.get(split):
            raise InputError(f"data.pretrain: no conversation for {split}; raise data.{split}_share or add corpora")
    rate, data = encoder.sample_rate_hz, recipe.data
    length = samples(data.window_seconds, rate)
    length -= length % encoder.hop_samples

    def windows(of_split: Sequence[Conversation], seed: int, swap_channels: bool) -> Windows:
        together = data.windows_per_conversation
        rates = rate, encoder.frame_rate_hz
        return Windows(of_split, length, *rates, seed, swap_channels, per_conversation=together)

    return (
        windows(splits["train"], recipe.seed, recipe.training.swap_channels),
        windows(splits["validation"], data.split_seed, swap_channels=False),
    )


def take_statistics(encoder: Encoder, windows: Windows) -> None:
    """Fix the mean and deviation of an untrained encoder's features to those of windows of the training corpus."""
    for frontend in normalised(encoder):
        frontend.set_statistics(*corpus_statistics(frontend, _statistics_audio(windows)))


def _statistics_audio(windows: Windows) -> Iterator[Tensor]:
    """Samples [S, N] of the first windows of the first epoch that can be read."""
    for item in range(min(STATISTICS_WINDOWS, len(windows))):
        try:
            yield windows[item].samples
        except InputError:
            continue  # training meets it again, and lists it


def audio_facts(conversations: Sequence[Conversation]) -> list[list[Any]]:
    """All that the drawn windows depend on: which conversations, in which order, how long, with which audio."""
    return [[c.id, c.sha256, c.sample_rate_hz, c.channels, c.duration_seconds] for c in conversations]


def environment() -> dict[str, Any]:
    return {
        "ssl_tt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__},
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": PartialState().num_processes,
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    with atomically(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
