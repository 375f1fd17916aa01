"""The prior over the codes of a finished run: trained apart from it, kept beside it.

RUN/prior/LEVEL.safetensors      weights of the prior of each level of codes
RUN/prior/prior.json             settings, the run's checkpoint, bits a second and use of the codes
RUN/prior/LEVEL.npy, sample.wav  codes drawn from it, and what the decoder makes of them

A file holds the levels in the order in which they are decoded, the coarser first, so that all of it takes bits(top) +
bits(bottom | top).
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor
from tqdm import tqdm

from ssl_tt import recipe as recipes
from ssl_tt import timebase
from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import write_wav
from ssl_tt.data.manifest import read_line
from ssl_tt.data.windows import Window, Windows, permuted
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.prior import Prior
from ssl_tt.objectives.vqvae import VQVAE
from ssl_tt.objectives.vqvae2 import VQVAE2
from ssl_tt.training import checkpoint, loop, tensors
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.corpora import conversations
from ssl_tt.training.pretrain import training_windows

Autoencoder = VQVAE | VQVAE2
Codes = dict[str, Tensor]
"""By level, all channels of all windows: [n, T], with several groups [n, T, G]."""


@dataclass(frozen=True)
class Bits:
    """What codes cost, bits for each second of a channel."""

    prior: float
    """Each code given those before it, and those of the coarser level."""
    unigram: float
    """Each code by how often it is chosen in training."""
    uniform: float
    """log2 of the number of codes, each as likely as any other."""

    def __add__(self, other: "Bits") -> "Bits":
        return Bits(self.prior + other.prior, self.unigram + other.unigram, self.uniform + other.uniform)

    def __str__(self) -> str:
        return (
            f"{self.prior:.1f} bits a second under the prior, {self.unigram:.1f} by the codes' frequencies alone, "
            f"{self.uniform:.1f} if all were alike"
        )


@dataclass(frozen=True)
class Level:
    """What the validation conversations' codes of one level cost, and how the codebook of each group is used."""

    bits: Bits
    codes: int
    """Size of a codebook."""
    perplexity: list[float]
    """exp of the entropy of the codes that are chosen, of each group."""
    perplexity_speaking: list[float] | None
    """The same of the frames in at least half of which their channel speaks; None without segments or such frames."""

    def __str__(self) -> str:
        if self.perplexity_speaking is None:
            return (
                f"{self.bits}; perplexity not known while speaking, {_listed(self.perplexity)} of {self.codes} in all"
            )
        return (
            f"{self.bits}; perplexity {_listed(self.perplexity_speaking)} of {self.codes} while speaking, "
            f"{_listed(self.perplexity)} in all"
        )


Levels = dict[str, Level]


def train_prior(run: Path, config: PriorConfig, *, quiet: bool = False) -> Levels:
    """Train the priors over the codes of a run's best checkpoint into RUN/prior, and score them on validation.

    Where RUN/prior was made by the same settings of the same checkpoint already, it is taken as it is. Windows that
    cannot be read are passed over, as in the run. InputError for a run that cannot be rebuilt from codes.
    """
    objective, identity = _run(run)
    folder = run / "prior"
    known = _known(folder)
    asked = {"settings": config.model_dump(mode="json"), "checkpoint": identity}
    if "together" in known and known.items() >= asked.items():
        return {name: Level(**level | {"bits": Bits(**level["bits"])}) for name, level in known["levels"].items()}
    recipe = recipes.load(run / "recipe.toml", PretrainRecipe)
    windows, validation = training_windows(conversations(recipe)[0], recipe, objective.encoder)
    (train, _), (held_out, speaking) = code_sequences(objective, windows), code_sequences(objective, validation)
    frames = max(codes.shape[1] for codes in held_out.values())
    seconds = len(held_out[next(iter(held_out))]) * frames / objective.encoder.frame_rate_hz
    levels = {}
    for name, coarser in objective.code_levels.items():
        given, given_held_out = (None if coarser is None else codes[coarser] for codes in (train, held_out))
        size = objective.config.codes
        prior = fit(config, size, train[name], given, quiet=quiet)
        with atomically(folder / f"{name}.safetensors") as file:
            file.write(tensors_to_bytes(prior.state_dict()))
        levels[name] = score(prior, train[name], held_out[name], given_held_out, speaking, size, seconds)
    facts = {
        **asked,
        "levels": {name: asdict(level) for name, level in levels.items()},
        "together": asdict(together(levels)),
    }
    with atomically(folder / "prior.json") as file:
        file.write(json.dumps(facts, indent=2).encode() + b"\n")
    return levels


def together(levels: Levels) -> Bits:
    """What all levels cost, each given those before it."""
    return reduce(add, (level.bits for level in levels.values()))


def fit(
    config: PriorConfig, codes: int, sequences: Tensor, given: Tensor | None = None, *, quiet: bool = False
) -> Prior:
    """A prior trained on sequences [n, T] or [n, T, G] of codes below `codes`, given those of a coarser level.

    A function of the settings, with their seed, and the sequences. Leaves torch's generator as it was.
    """
    schedule = TrainingConfig(
        steps=config.steps, learning_rate=config.learning_rate, warmup_steps=max(1, config.steps // 10)
    )
    n = len(sequences)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        groups = sequences.shape[2] if sequences.ndim > 2 else 1
        prior = Prior(config, codes, None if given is None else codes, groups)
    optimizer = loop.adamw(prior, schedule)
    for step in tqdm(range(config.steps), unit="step", disable=quiet, mininterval=0.5):
        items = range(step * config.batch_sequences, (step + 1) * config.batch_sequences)
        rows = [permuted(item % n, n, config.seed, item // n) for item in items]
        for group in optimizer.param_groups:
            group["lr"] = loop.learning_rate(step, schedule)
        loss = prior(sequences[rows], None if given is None else given[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), schedule.gradient_clip)
        optimizer.step()
    return prior.eval()


@torch.inference_mode()
def code_sequences(objective: Autoencoder, windows: Windows) -> tuple[Codes, Tensor | None]:
    """Codes of every channel of every window of the first epoch that can be read, and who speaks, bool [n, T].

    What a window has beyond whole frames of the slowest level is left out. Who speaks is None without segments.
    """
    cycle = objective.cycle_samples // objective.encoder.hop_samples
    frames = windows.window_frames // cycle * cycle
    found: dict[str, list[Tensor]] = {name: [] for name in objective.code_levels}
    speaking: list[Tensor] = []
    for window in _readable(windows):
        drawn = objective.diagnostics(window.samples)
        for name, sequences in found.items():
            sequences.append(drawn[name][:, :frames])
        if window.activity is not None:
            speaking.append(window.activity.T[:, :frames])
    if not all(found.values()):
        raise InputError("none of the run's windows can be read: `ssl-tt check` lists what is wrong with its audio")
    return {name: torch.cat(parts) for name, parts in found.items()}, torch.cat(speaking) if speaking else None


@torch.inference_mode()
def score(
    prior: Prior,
    train: Tensor,
    held_out: Tensor,
    given: Tensor | None,
    speaking: Tensor | None,
    size: int,
    seconds: float,
) -> Level:
    """Costs and use of held-out codes [n, T] or [n, T, G], which together are of so many seconds.

    speaking [n, F] bool, F a multiple of T: who speaks, where that is known.
    """
    parts, bits = held_out.split(16), seconds * math.log(2)
    coarser = [None] * len(parts) if given is None else given.split(16)
    nats = sum(prior(part, known).double().sum() for part, known in zip(parts, coarser, strict=True))
    groups, groups_of_train = (codes.flatten(2) if codes.ndim > 2 else codes[..., None] for codes in (held_out, train))
    unigram = 0.0
    for group, learned in zip(groups.unbind(2), groups_of_train.unbind(2), strict=True):
        # One more of each than were counted: no code of the validation is impossible.
        counts = torch.bincount(learned.flatten(), minlength=size).double() + 1
        unigram -= float((counts / counts.sum()).log()[group].sum())
    while_speaking = None
    if speaking is not None:
        spoken = speaking.unflatten(1, (held_out.shape[1], -1)).float().mean(dim=2) >= 0.5
        if spoken.any():
            while_speaking = [perplexity(group[spoken], size) for group in groups.unbind(2)]
    return Level(
        bits=Bits(float(nats) / bits, unigram / bits, held_out.numel() * math.log(size) / bits),
        codes=size,
        perplexity=[perplexity(group, size) for group in groups.unbind(2)],
        perplexity_speaking=while_speaking,
    )


def perplexity(codes: Tensor, size: int) -> float:
    """exp of the entropy of codes [...] below `size`: 1 if all are one, `size` if all are chosen alike."""
    share = torch.bincount(codes.flatten(), minlength=size).double() / max(1, codes.numel())
    return float(torch.special.entr(share).sum().exp())


def sample(run: Path, seconds: float) -> Path:
    """Codes drawn from RUN/prior, LEVEL.npy, and what the run's decoder makes of them, sample.wav; its path.

    InputError for less than a frame (of the slowest level), or if the prior there is of another checkpoint.
    """
    objective, identity = _run(run)
    encoder, cycle = objective.encoder, objective.cycle_samples // objective.encoder.hop_samples
    frames = timebase.frames(seconds, encoder.frame_rate_hz) // cycle * cycle
    if frames < 1:
        raise InputError(
            f"a sample of {seconds:g} s, expected at least a frame of {1000 * cycle / encoder.frame_rate_hz:g} ms: ask "
            "for more"
        )
    folder = run / "prior"
    known = _known(folder)
    if known.get("checkpoint") != identity:
        raise InputError(f"{folder}: no prior of the run's best checkpoint; train it by `ssl-tt prior`")
    config = read_line(PriorConfig, json.dumps(known.get("settings")).encode(), f"{folder / 'prior.json'}: settings")
    generator = torch.Generator().manual_seed(config.seed)
    drawn: Codes = {}
    for name, coarser in objective.code_levels.items():
        given = None if coarser is None else drawn[coarser]
        size, groups = objective.config.codes, objective.config.groups
        new = partial(Prior, config, size, None if coarser is None else size, groups)
        prior = tensors.rebuilt(new, folder / f"{name}.safetensors").eval()
        slow = name in objective.code_levels.values()  # another level is known by it
        drawn[name] = prior.sample(1, frames // cycle if slow else frames, generator, given)
        with atomically(folder / f"{name}.npy") as file:
            np.save(file, drawn[name][0].numpy())
    path = folder / "sample.wav"
    write_wav(path, objective.sound(drawn, config.seed).numpy(), encoder.sample_rate_hz)
    return path


def _readable(windows: Windows) -> Iterator[Window]:
    for item in range(len(windows)):
        try:
            yield windows[item]
        except InputError:
            continue


def _run(run: Path) -> tuple[Autoencoder, str]:
    """The objective of a run, and what tells its best checkpoint from any other."""
    best = checkpoint.find(run, "best")
    objective = checkpoint.load_objective(best)
    if not isinstance(objective, VQVAE | VQVAE2):
        raise InputError(
            f"{run}: a run of {type(objective).__name__} is not rebuilt from codes, expected one of objective.kind "
            '"vqvae" or "vqvae2"'
        )
    return objective, checkpoint.identity(best)


def _known(folder: Path) -> dict[str, Any]:
    path = folder / "prior.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error}): remove {folder} to train the prior anew") from error
    return found if isinstance(found, dict) else {}


def _listed(perplexities: Sequence[float]) -> str:
    return " and ".join(f"{perplexity:.0f}" for perplexity in perplexities)
