"""The prior over the codes of a finished run: trained apart from it, kept beside it.

RUN/prior/prior.safetensors, prior.json    weights; settings, the run's checkpoint, bits a second
RUN/prior/sample.npy, sample.wav           codes drawn from it, and what the decoder makes of them
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor
from tqdm import tqdm

from ssl_tt import recipe as recipes
from ssl_tt import timebase
from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import write_wav
from ssl_tt.data.windows import Windows, permuted
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import PriorConfig
from ssl_tt.objectives.prior import Prior
from ssl_tt.objectives.vqvae import VQVAE
from ssl_tt.training import checkpoint, loop
from ssl_tt.training.config import PretrainRecipe, TrainingConfig
from ssl_tt.training.corpora import conversations
from ssl_tt.training.pretrain import training_windows


class Bits(NamedTuple):
    """Bits for each second of one channel of the validation conversations, by what is known of their codes."""

    prior: float
    """Each code given those before it."""
    unigram: float
    """Each code by how often it is chosen in training."""
    uniform: float
    """log2 of the number of codes, each as likely as any other."""

    def __str__(self) -> str:
        return (
            f"{self.prior:.1f} bits a second under the prior, {self.unigram:.1f} by the codes' frequencies alone, "
            f"{self.uniform:.1f} if all were alike"
        )


def train_prior(run: Path, config: PriorConfig, *, quiet: bool = False) -> Bits:
    """Train the prior over the codes of a run's best checkpoint into RUN/prior, and score it on validation.

    Where RUN/prior was made by the same settings of the same checkpoint already, it is taken as it is. Windows that
    cannot be read are passed over, as in the run. InputError for a run without codes, or with several sequences of
    them.
    """
    objective, identity = _run(run)
    folder = run / "prior"
    known = _known(folder)
    if known.get("settings") == config.model_dump(mode="json") and known.get("checkpoint") == identity:
        return Bits(**known["bits_a_second"])
    recipe = recipes.load(run / "recipe.toml", PretrainRecipe)
    windows, validation = training_windows(conversations(recipe)[0], recipe, objective.encoder)
    train, held_out = code_sequences(objective, windows), code_sequences(objective, validation)
    prior = fit(config, objective.config.codes, train, quiet=quiet)
    bits = _bits(prior, train, held_out, objective.config.codes, objective.encoder.frame_rate_hz)
    facts = {"settings": config.model_dump(mode="json"), "checkpoint": identity, "bits_a_second": bits._asdict()}
    with atomically(folder / "prior.safetensors") as file:
        file.write(tensors_to_bytes(prior.state_dict()))
    with atomically(folder / "prior.json") as file:
        file.write(json.dumps(facts, indent=2).encode() + b"\n")
    return bits


def fit(config: PriorConfig, codes: int, sequences: Tensor, *, quiet: bool = False) -> Prior:
    """A prior trained on sequences [n, T] of codes below `codes`; a function of the settings, with its seed, and them.

    Leaves torch's generator as it was.
    """
    schedule = TrainingConfig(
        steps=config.steps, learning_rate=config.learning_rate, warmup_steps=max(1, config.steps // 10)
    )
    n = len(sequences)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        prior = Prior(config, codes)
    optimizer = loop.adamw(prior, schedule)
    for step in tqdm(range(config.steps), unit="step", disable=quiet, mininterval=0.5):
        items = range(step * config.batch_sequences, (step + 1) * config.batch_sequences)
        rows = [permuted(item % n, n, config.seed, item // n) for item in items]
        for group in optimizer.param_groups:
            group["lr"] = loop.learning_rate(step, schedule)
        loss = prior(sequences[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), schedule.gradient_clip)
        optimizer.step()
    return prior.eval()


@torch.inference_mode()
def code_sequences(objective: VQVAE, windows: Windows) -> Tensor:
    """Codes [n, T] of every channel of every window of the first epoch that can be read."""
    found = []
    for item in range(len(windows)):
        try:
            samples = windows[item].samples
        except InputError:
            continue
        found.append(objective.diagnostics(samples)["codes"])
    if not found:
        raise InputError("none of the run's windows can be read: `ssl-tt check` lists what is wrong with its audio")
    return torch.cat(found)


def sample(run: Path, seconds: float) -> Path:
    """Codes drawn from RUN/prior, sample.npy [T], and what the run's decoder makes of them, sample.wav; its path.

    InputError for less than a frame, or if the prior there is of another checkpoint.
    """
    objective, identity = _run(run)
    encoder = objective.encoder
    frames = timebase.frames(seconds, encoder.frame_rate_hz)
    if frames < 1:
        raise InputError(
            f"a sample of {seconds:g} s, expected at least a frame of {1000 / encoder.frame_rate_hz:g} ms: ask for more"
        )
    known = _known(run / "prior")
    if known.get("checkpoint") != identity:
        raise InputError(f"{run / 'prior'}: no prior of the run's best checkpoint; train it by `ssl-tt prior`")
    config = PriorConfig.model_validate_json(json.dumps(known["settings"]))
    prior = Prior(config, objective.config.codes).eval()
    prior.load_state_dict(tensors_from_bytes((run / "prior" / "prior.safetensors").read_bytes()))
    codes = prior.sample(1, frames, torch.Generator().manual_seed(config.seed))
    with atomically(run / "prior" / "sample.npy") as file:
        np.save(file, codes[0].numpy())
    path = run / "prior" / "sample.wav"
    write_wav(path, objective.sound(codes, config.seed).numpy(), encoder.sample_rate_hz)
    return path


def _run(run: Path) -> tuple[VQVAE, str]:
    """The objective of a run, and what tells its best checkpoint from any other."""
    best = checkpoint.find(run, "best")
    objective = checkpoint.load_objective(best)
    if not isinstance(objective, VQVAE) or objective.config.groups > 1:
        given = f"{type(objective).__name__} with groups" if isinstance(objective, VQVAE) else type(objective).__name__
        raise InputError(
            f'{run}: a run of {given} has no single sequence of codes, expected one of objective.kind "vqvae" with '
            "groups = 1"
        )
    return objective, checkpoint.identity(best)


def _known(folder: Path) -> dict[str, Any]:
    path = folder / "prior.json"
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


@torch.inference_mode()
def _bits(prior: Prior, train: Tensor, held_out: Tensor, codes: int, frame_rate_hz: float) -> Bits:
    # One more of each than were counted: no code of the validation is impossible.
    counts = torch.bincount(train.flatten(), minlength=codes).double() + 1
    unigram = -(counts / counts.sum()).log()[held_out].mean()
    nats = torch.cat([prior(part) for part in held_out.split(16)]).double().mean()
    a_second = frame_rate_hz / math.log(2)
    return Bits(float(nats) * a_second, float(unigram) * a_second, math.log(codes) * a_second)
