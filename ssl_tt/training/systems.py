"""What a comparison probes: baselines, the untrained encoder, and every pretrained one."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch

from ssl_tt import timebase
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.normalised import normalised
from ssl_tt.encoder.receptive_field import frontend_reach, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.quantizer import Quantizer
from ssl_tt.training import checkpoint
from ssl_tt.training.config import CompareRecipe, ProbeConfig
from ssl_tt.training.cost import NO_COST, Cost, representation_cost
from ssl_tt.training.features import (
    Reader,
    activity_reader,
    logmel_reader,
    logmel_windows,
    objective_reader,
    representation_names,
)
from ssl_tt.turns.activity_history import HISTORY_SECONDS


@dataclass(frozen=True)
class System:
    """Something to probe: a pretrained or untrained encoder of one seed, or a baseline."""

    name: str
    seed: int
    identity: str
    """Changes with whatever decides what is read."""
    reader: Reader | None
    """None for the majority, which reads nothing."""
    costs: dict[str, Cost]
    """Cost of each representation to probe."""
    reads_activity: bool = False
    """Whether it is told who speaks, which the tasks of a frame ask for."""


def frame_rate_hz(recipe: CompareRecipe) -> float:
    """Frames a second of the encoder."""
    frontend = recipe.encoder.frontend
    return frontend.sample_rate_hz / (frontend.hop_samples * recipe.encoder.stride)


def count_systems(recipe: CompareRecipe) -> int:
    """How many `systems` yields."""
    n_seeds = len(recipe.seeds)
    return sum(n_seeds if baseline == "random" else 1 for baseline in recipe.probe.baselines) + n_seeds * len(
        recipe.objectives
    )


def systems(recipe: CompareRecipe, runs: dict[str, list[Path]]) -> Iterator[System]:
    """Baselines, then the pretrained with every seed; each is made when its turn comes."""
    config = recipe.probe
    known = _known_representations(recipe)
    # An untrained codebook is empty: there are no codes to probe, and no context that reads them.
    codeless = {name: set(names) - _coded(recipe, name) for name, names in known.items()}
    # The untrained encoder is that of an objective with a context network, if there is one, to show that one untrained.
    home = next((name for name, names in codeless.items() if "context" in names), next(iter(known)))
    for baseline in config.baselines:
        match baseline:
            case "majority":
                yield System("majority", 0, "", None, {"none": NO_COST})
            case "activity_history":
                cost = NO_COST | {"receptive_field_ms": 1000 * HISTORY_SECONDS[-1]}
                reader = activity_reader(frame_rate_hz(recipe))
                yield System(
                    "activity_history", 0, f"the last {HISTORY_SECONDS} s", reader, {"activity_history": cost}, True
                )
            case "logmel":
                some_context = any("context" in names for names in known.values())
                with_memory = some_context and "context" in config.representations
                yield _logmel(recipe, checkpoint.load_objective(runs[home][0]).encoder, with_memory)
            case "random":
                names = [name for name in config.representations if name in codeless[home]]
                for seed, run in zip(recipe.seeds, runs[home], strict=True):
                    start = untrained(recipe, home, seed, checkpoint.load_objective(run).encoder)
                    yield _encoder_system("random", seed, start, names, config.pool_seconds, {})
    for objective, paths in runs.items():
        names = [name for name in config.representations if name in known[objective]]
        for seed, run in zip(recipe.seeds, paths, strict=True):
            trained = checkpoint.load_objective(run)
            yield _encoder_system(objective, seed, trained, names, config.pool_seconds, pretraining_cost(run))


def pretraining_cost(run: Path) -> Cost:
    """What the pretraining of a finished run cost."""
    spent = json.loads((run / "cost.json").read_bytes())
    return {key: value for key, value in spent.items() if key in NO_COST and key.startswith("pretrain_")}


def check_representations(recipe: CompareRecipe) -> None:
    """InputError unless every representation that the recipe names is some objective's, and every objective has one.

    The default asks for whatever there is.
    """
    known = _known_representations(recipe)
    everyone = list(dict.fromkeys(name for names in known.values() for name in names))
    wanted = recipe.probe.representations
    chosen = wanted != ProbeConfig.model_fields["representations"].default
    for name in wanted if chosen else ():
        if name not in everyone:
            near = get_close_matches(name, everyone, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(everyone)}"
            raise InputError(f"probe.representations: no objective has {name!r}; {hint}")
    for objective, names in known.items():
        if not set(wanted) & set(names):
            raise InputError(
                f"probe.representations: none of {', '.join(wanted)} is {objective}'s; it has {', '.join(names)}"
            )
    if clash := set(recipe.objectives) & {"majority", "activity_history", "logmel", "random", "scratch"}:
        raise InputError(f"objectives.{clash.pop()}: the name of a baseline; give the objective another one")
    if clash := set(recipe.heads) & {*everyone, "none", "activity_history", "logmel"}:
        raise InputError(f"heads.{clash.pop()}: the name of a representation; give the head another one")


def _known_representations(recipe: CompareRecipe) -> dict[str, list[str]]:
    with torch.random.fork_rng(devices=[]):
        return {
            name: representation_names(build(config, Encoder(recipe.encoder)))
            for name, config in recipe.objectives.items()
        }


def _coded(recipe: CompareRecipe, objective: str) -> set[str]:
    """Representations of an objective that a codebook decides: those that are no numbers if its codes are none."""
    with torch.random.fork_rng(devices=[]):
        built = build(recipe.objectives[objective], Encoder(recipe.encoder)).eval()
    with torch.inference_mode():
        for module in built.modules():
            if isinstance(module, Quantizer):
                module.codebook.fill_(torch.nan)
        found, _ = built.representations(torch.zeros(1, built.cycle_samples))
    return {name for name, frames in found.items() if frames.isnan().any()}


def _encoder_system(
    name: str, seed: int, objective: Objective, names: Sequence[str], pool_seconds: Sequence[float], pretraining: Cost
) -> System:
    digest = hashlib.sha256(objective.encoder.config.model_dump_json().encode())
    for key, tensor in sorted(objective.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    costs = {each: representation_cost(objective, each) | pretraining for each in names}
    return System(name, seed, digest.hexdigest(), objective_reader(objective, names, pool_seconds), costs)


def untrained(recipe: CompareRecipe, objective: str, seed: int, trained: Encoder) -> Objective:
    """What the run of this seed started from, weights drawn as `pretrain` does, with the same corpus statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(recipe.encoder)
        for frontend, fixed in zip(normalised(encoder), normalised(trained), strict=True):
            frontend.set_statistics(fixed.mean, fixed.std)
        torch.manual_seed(seed)
        return build(recipe.objectives[objective], encoder).eval()


def _logmel(recipe: CompareRecipe, encoder: Encoder, with_memory: bool) -> System:
    """Log-mel over the encoder's field and, to stand beside a context network, over a training window."""
    log_mel = encoder.log_mel
    config = log_mel.config
    rate = config.sample_rate_hz / config.hop_samples
    # As many frames as fit into the field, their windows included.
    window = frontend_reach(config).span
    span_frames = 1 + max(0, receptive_field(encoder).span_samples - window) // config.hop_samples
    span_ms = 1000 * timebase.seconds((span_frames - 1) * config.hop_samples + window, config.sample_rate_hz)
    windows = {"logmel": logmel_windows(span_frames, rate)}
    costs = {"logmel": NO_COST | {"receptive_field_ms": span_ms}}
    if with_memory:
        memory = timebase.frames(recipe.data.window_seconds, rate)
        windows["context"] = logmel_windows(max(memory, span_frames), rate)
        costs["context"] = NO_COST | {"receptive_field_ms": 1000 * recipe.data.window_seconds}
    statistics = (log_mel.mean.tolist(), log_mel.std.tolist())
    identity = f"{config.model_dump_json()} {windows} {statistics}"
    return System("logmel", 0, identity, logmel_reader(encoder, windows), costs)
