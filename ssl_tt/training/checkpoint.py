"""Crash-safe checkpoints without pickle, and the models that they give back.

    RUN/recipe.toml, environment.json, cost.json, metrics.jsonl, quarantine.jsonl, tensorboard/
    RUN/checkpoints/step-00000500/model.safetensors, optimizer.safetensors, state.json, digests.json

A checkpoint is written to a hidden folder, flushed to the disk, and renamed: under its name it is whole. The digests
tell if it has been damaged since. Kept are the newest two and the best.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from ssl_tt import recipe
from ssl_tt.data.atomic import flush_folder
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives import build
from ssl_tt.objectives.objective import Objective
from ssl_tt.training.config import PretrainRecipe

Tensors = dict[str, Tensor]

_DIGESTS = "digests.json"


def save(run: Path, step: int, model: Tensors, optimizer: Tensors, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a step, then drop those no longer needed; `state["best"]["step"]` names the best.

    RunError if the disk is full or the folder cannot be written: what was there before is still there, and whole.
    """
    folder = run / "checkpoints"
    target, partial = folder / f"step-{step:08d}", folder / f".step-{step:08d}.partial"
    contents = {
        "model.safetensors": tensors_to_bytes(model),
        "optimizer.safetensors": tensors_to_bytes(optimizer),
        "state.json": json.dumps({**state, "step": step}, indent=2).encode(),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[_DIGESTS] = json.dumps(digests, indent=2).encode()
    try:
        _clear(folder)
        partial.mkdir(parents=True)
        for name, content in contents.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        flush_folder(partial)
        if target.exists():  # damaged, or it would have been resumed from
            _drop(target)
        partial.rename(target)
        flush_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(
            f"{target}: the checkpoint cannot be written ({error.strerror or error}); those before it are whole: free "
            "some space and give the same command to go on"
        ) from error
    kept = {path.name for path in _steps(folder)[:2]} | {f"step-{state['best']['step']:08d}"}
    for path in _steps(folder):
        if path.name not in kept:
            _drop(path)
    return target


def newest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run, None if there is none yet; a damaged one is passed over, and said so.

    InputError if all there are have been damaged: starting anew would look like going on.
    """
    steps = _steps(run / "checkpoints")
    for path in steps:
        if not (problem := damage(path)):
            return path
        print(f"{path}: {problem}; passed over for the checkpoint before it", file=sys.stderr)
    if steps:
        raise InputError(f"{run}: no whole checkpoint among {len(steps)}; remove the folder to start anew")
    return None


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, None if every file is as it was written."""
    try:
        digests = json.loads((checkpoint / _DIGESTS).read_bytes())
        for name, digest in digests.items():
            if hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() != digest:
                return f"{name} is not as it was written (SHA-256)"
    except (OSError, ValueError, AttributeError) as error:
        return f"damaged ({error})"
    return None


def identity(checkpoint: Path) -> str:
    """SHA-256 that no other weights than those of this checkpoint have."""
    digests: dict[str, str] = json.loads((checkpoint / _DIGESTS).read_bytes())
    return digests["model.safetensors"]


def read(checkpoint: Path) -> tuple[Tensors, Tensors, dict[str, Any]]:
    """Tensors of the model, tensors of the optimizer, and the state."""
    model = tensors_from_bytes((checkpoint / "model.safetensors").read_bytes())
    optimizer = tensors_from_bytes((checkpoint / "optimizer.safetensors").read_bytes())
    return model, optimizer, json.loads((checkpoint / "state.json").read_bytes())


def find(run: Path, which: Literal["best", "last"]) -> Path:
    """The whole checkpoint of a run with the lowest validation loss, or the newest; InputError if there is none."""
    if not (run / "recipe.toml").is_file():
        raise InputError(f"{run}: not a run directory (no recipe.toml); expected one that `ssl-tt pretrain` made")
    last = newest(run)
    if last is None:
        raise InputError(f"{run}: no checkpoint yet; go on with `ssl-tt pretrain`")
    if which == "last":
        return last
    state = json.loads((last / "state.json").read_bytes())
    best = run / "checkpoints" / f"step-{state['best']['step']:08d}"
    if problem := damage(best):
        raise InputError(f'{best}: the best checkpoint is {problem}; take which="last", or train again')
    return best


def load_objective(path: Path | str, which: Literal["best", "last"] = "best") -> Objective:
    """The objective of a run directory, or of one checkpoint in it, with its trained weights and statistics.

    In evaluation mode, on the CPU. `best` is the checkpoint of a run with the lowest validation loss. InputError if
    there is no whole checkpoint.
    """
    return _rebuilt(*located(Path(path), which))


def load_encoder(path: Path | str) -> Encoder:
    """The encoder of a run directory (its best checkpoint) or of one checkpoint in it; frozen, in evaluation mode."""
    return load_objective(path).encoder.requires_grad_(False)


def located(path: Path, which: Literal["best", "last"]) -> tuple[Path, Path]:
    """Run directory and checkpoint that a path names: a checkpoint, or a run whose best or last one is meant.

    InputError if there is no whole checkpoint.
    """
    if not (path / _DIGESTS).is_file():
        return path, find(path, which)
    if problem := damage(path):
        raise InputError(f"{path}: {problem}; take another checkpoint of the run")
    return path.parent.parent, path


def _rebuilt(run: Path, checkpoint: Path) -> Objective:
    settings = recipe.load(run / "recipe.toml", PretrainRecipe)
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced: leave the user's generator alone
        objective = build(settings.objective, Encoder(settings.encoder))
    objective.load_state_dict(tensors_from_bytes((checkpoint / "model.safetensors").read_bytes()))
    return objective.eval()


# --- Optimizer -------------------------------------------------------------------------------------------------------


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of every parameter under `NUMBER.name`; learning rates are functions of the step and not kept."""
    states = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give an optimizer over the same parameters the state it had."""
    states: dict[int, Tensors] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


# --- Folders ---------------------------------------------------------------------------------------------------------


def _steps(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _drop(checkpoint: Path) -> None:
    """Remove a checkpoint such that a crash leaves no half of one under its name."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.dropped")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)


def _clear(folder: Path) -> None:
    """Remove what a killed process left behind."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path)
