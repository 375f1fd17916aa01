"""Crash-safe checkpoints without pickle, and the models that they give back.

    RUN/recipe.toml, environment.json, cost.json, metrics.jsonl, quarantine.jsonl, tensorboard/
    RUN/checkpoints/step-00000500/model.safetensors, optimizer.safetensors, state.json, digests.json

A checkpoint is written to a hidden folder, flushed to the disk, and renamed: under its name it is whole. The digests
tell if it has been damaged since. Kept are the newest few and the best.

A run directory may come from anywhere: what it says of itself is checked before it is believed, nothing in it leads out
of it, and no more is allocated than its files hold.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors.torch import save as tensors_to_bytes

from ssl_tt import recipe
from ssl_tt.data.atomic import flush_folder
from ssl_tt.data.contained import check_contained
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives import build
from ssl_tt.objectives.objective import Objective
from ssl_tt.training import tensors
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.tensors import Tensors

MODEL, OPTIMIZER, STATE, _DIGESTS = "model.safetensors", "optimizer.safetensors", "state.json", "digests.json"

_LARGEST_JSON_BYTES = 1 << 20  # a state is a few hundred bytes

_Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0)]


class _Best(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    step: _Count
    loss: float


class _State(BaseModel):
    """What every state has; a loop may keep more."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    step: _Count
    best: _Best
    data: str
    seconds: _Seconds
    cpu_seconds: _Seconds
    since_log: dict[str, float]


_DIGESTS_OF = TypeAdapter(dict[str, str])


def save(run: Path, step: int, model: Tensors, optimizer: Tensors, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Write the checkpoint of a step, read it back, and drop all but the `keep` newest and the best of the run.

    `state["best"]["step"]` names the best. RunError if the disk is full, or the folder cannot be written or is gone:
    what was there before is still there, and whole.
    """
    folder = run / "checkpoints"
    target, partial = folder / f"step-{step:08d}", folder / f".step-{step:08d}.partial"
    contents = {
        MODEL: tensors_to_bytes(model),
        OPTIMIZER: tensors_to_bytes(optimizer),
        STATE: json.dumps({**state, "step": step}, indent=2).encode(),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[_DIGESTS] = json.dumps(digests, indent=2).encode()
    try:
        folder.mkdir(exist_ok=True)  # but not the run: where it has vanished, nothing could rebuild this checkpoint
        _clear(folder)
        partial.mkdir()
        for name, content in contents.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        flush_folder(partial)
        if problem := damage(partial):
            raise OSError(f"it reads back {problem}")
        if target.exists():  # damaged, or it would have been resumed from
            _drop(target)
        partial.rename(target)
        flush_folder(folder)
        kept = {path.name for path in _steps(folder)[:keep]} | {f"step-{state['best']['step']:08d}"}
        for path in _steps(folder):
            if path.name not in kept:
                _drop(path)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(
            f"{target}: the checkpoint cannot be written ({error.strerror or error}); those before it are whole: free "
            "some space, see that the folder is there, and give the same command to go on"
        ) from error
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
    expected = {MODEL, OPTIMIZER, STATE}
    try:
        digests = _DIGESTS_OF.validate_json(_small(checkpoint / _DIGESTS))
        if digests.keys() != expected:
            names = ", ".join(sorted(digests)[:8])
            return f"damaged ({_DIGESTS} lists {names or 'nothing'}, expected {', '.join(sorted(expected))})"
        for name, digest in digests.items():
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"damaged ({name} is not as it was written, by its SHA-256)"
    except ValidationError as error:
        return f"damaged ({_DIGESTS}: {error.errors()[0]['msg']})"
    except (OSError, InputError) as error:
        return f"damaged ({error})"
    return None


def identity(checkpoint: Path) -> str:
    """SHA-256 that no other weights than those of this checkpoint have."""
    digests: dict[str, str] = json.loads((checkpoint / _DIGESTS).read_bytes())
    return digests[MODEL]


def restore_model(model: torch.nn.Module, checkpoint: Path) -> None:
    """Give a model the weights of a checkpoint; InputError if they are another's."""
    path = checkpoint / MODEL
    tensors.restore(model, tensors.read(path, model.state_dict()), path)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint; InputError if it is not one that a training loop has left."""
    path = checkpoint / STATE
    try:
        state = _State.model_validate_json(_small(path)).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']}; take another checkpoint") from error
    if checkpoint.name != f"step-{state['step']:08d}":
        raise InputError(f"{path}: step {state['step']}, expected that of its folder; take another checkpoint")
    return state


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST_JSON_BYTES + 1)
    if len(content) > _LARGEST_JSON_BYTES:
        raise InputError(f"{path}: more than {_LARGEST_JSON_BYTES} bytes, expected a few hundred")
    return content


def find(run: Path, which: Literal["best", "last"]) -> Path:
    """The whole checkpoint of a run with the lowest validation loss, or the newest; InputError if there is none."""
    if not (run / "recipe.toml").is_file():
        raise InputError(f"{run}: not a run directory (no recipe.toml); expected one that `ssl-tt pretrain` made")
    check_contained(run)
    last = newest(run)
    if last is None:
        raise InputError(f"{run}: no checkpoint yet; go on with `ssl-tt pretrain`")
    if which == "last":
        return last
    best = run / "checkpoints" / f"step-{read_state(last)['best']['step']:08d}"
    if problem := damage(best):
        raise InputError(f'{best}: the best checkpoint is {problem}; take which="last", or train again')
    return best


def load_objective(path: Path | str, which: Literal["best", "last"] = "best") -> Objective:
    """The objective of a run directory, or of one checkpoint in it, with its trained weights and statistics.

    In evaluation mode, on the CPU. `best` is the checkpoint of a run with the lowest validation loss. InputError if
    there is no whole checkpoint, or its weights are not just those of the recipe's objective.
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
    run = path.absolute().parent.parent
    check_contained(run)
    if problem := damage(path):
        raise InputError(f"{path}: {problem}; take another checkpoint of the run")
    return run, path


def _rebuilt(run: Path, checkpoint: Path) -> Objective:
    settings = recipe.load(run / "recipe.toml", PretrainRecipe)

    def new() -> Objective:
        return build(settings.objective, Encoder(settings.encoder))

    return tensors.rebuilt(new, checkpoint / MODEL).eval()


# --- Optimizer -------------------------------------------------------------------------------------------------------


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of every parameter under `NUMBER.name`; learning rates are functions of the step and not kept."""
    states = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Path) -> None:
    """Give an optimizer over the same parameters the state it had; InputError if it is that of others."""
    path = checkpoint / OPTIMIZER
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    count = torch.zeros((), dtype=torch.float32)
    expected = {
        f"{number}.{name}": like
        for number, parameter in enumerate(parameters)
        for name, like in (("step", count), ("exp_avg", parameter), ("exp_avg_sq", parameter))
    }
    states: dict[int, Tensors] = {}
    for key, value in tensors.read(path, expected, some=True).items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    if incomplete := [number for number, state in states.items() if len(state) != 3]:
        raise InputError(
            f"{path}: parts of the state of parameter {incomplete[0]} are missing; take another checkpoint"
        )
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


# --- Folders ---------------------------------------------------------------------------------------------------------


def _steps(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted(
        (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8,18}", path.name)),
        key=lambda path: int(path.name[5:]),
        reverse=True,
    )


def _drop(checkpoint: Path) -> None:
    """Remove a checkpoint such that a crash leaves no half of one under its name."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.dropped")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)


def _clear(folder: Path) -> None:
    """Remove what a killed process left behind."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path)
