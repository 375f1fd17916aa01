"""Heads in a comparison: each on every encoder and seed, trained, and asked what the probes are asked.

OUT/heads/SYSTEM-seedK-HEAD/    run directory of a head; see `finetune`
OUT/features/SYSTEM-seedK/      features of an encoder while frozen heads are trained on it; removed when they are done
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_tt import recipe as recipes
from ssl_tt.data.conversation import Conversation
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.training import checkpoint, head_answers, probe
from ssl_tt.training.config import CompareRecipe, FinetuneRecipe, HeadTraining
from ssl_tt.training.cost import Cost, representation_cost
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.finetune import copied, split_dialogues, train_head, weights_digest
from ssl_tt.training.probe import Answers, Asked
from ssl_tt.training.systems import pretraining_cost, untrained
from ssl_tt.training.task import Task
from ssl_tt.turns.config import RNNHeadConfig

SCRATCH = "scratch"
"""System of the heads that are trained together with an untrained encoder."""


@dataclass(frozen=True)
class Start:
    """An encoder of one seed, and the heads to train on it."""

    name: str
    seed: int
    encoder: Encoder
    run: Path | None
    """Where it was pretrained; None for an untrained one."""
    cost: Cost
    """Of the encoder and its pretraining."""
    heads: dict[str, HeadTraining]

    def recipe(self, comparison: CompareRecipe, head: str) -> FinetuneRecipe:
        """The run of one of the heads."""
        return FinetuneRecipe(
            name=comparison.name,
            simulate=comparison.simulate,
            data=comparison.data,
            encoder=comparison.encoder,
            training=self.heads[head],
            seed=self.seed,
            run=None if self.run is None else str(self.run),
        )


def starts(recipe: CompareRecipe, runs: dict[str, list[Path]]) -> Iterator[Start]:
    """The untrained encoder, as it is and to be trained from scratch, then the pretrained ones, with every seed."""
    heads = recipe.heads
    home = next(iter(runs))  # with one seed an encoder starts alike under every objective
    for name, mode in (("random", "frozen"), (SCRATCH, "scratch")):
        of_mode = {head: config for head, config in heads.items() if config.mode == mode}
        if not of_mode or (name == "random" and name not in recipe.probe.baselines):
            continue
        for seed, run in zip(recipe.seeds, runs[home], strict=True):
            objective = untrained(recipe, home, seed, checkpoint.load_objective(run).encoder)
            yield Start(name, seed, objective.encoder, None, representation_cost(objective, "encoder"), of_mode)
    pretrained = {head: config for head, config in heads.items() if config.mode != "scratch"}
    for name, paths in runs.items() if pretrained else ():
        for seed, run in zip(recipe.seeds, paths, strict=True):
            objective = checkpoint.load_objective(run)
            cost = representation_cost(objective, "encoder") | pretraining_cost(run)
            yield Start(name, seed, objective.encoder, run, cost, pretrained)


def count_starts(recipe: CompareRecipe) -> int:
    """How many `starts` yields."""
    modes = {config.mode for config in recipe.heads.values()}
    systems = ("random" in recipe.probe.baselines and "frozen" in modes) + ("scratch" in modes)
    return len(recipe.seeds) * (systems + (len(recipe.objectives) if modes - {"scratch"} else 0))


def identity(start: Start, recipe: CompareRecipe, head: str) -> str:
    """Changes with whatever decides what a head says."""
    run = start.recipe(recipe, head).model_copy(update={"run": None})
    return f"{weights_digest(start.encoder)} {recipes.dump(run)}"


def answers(
    start: Start,
    head: str,
    recipe: CompareRecipe,
    train: Asked,
    test: Asked,
    out: Path,
    cache: FeatureCache,
    *,
    quiet: bool = False,
) -> Answers:
    """Train a head on the conversations of `train`, and let it answer what is asked in `test`."""
    learned: list[Conversation] = [question.conversation for question in train.questions]
    run = out / "heads" / f"{start.name}-seed{start.seed}-{head}"
    settings = start.recipe(recipe, head)
    _, held_out = split_dialogues(learned, settings.training.held_out_share, recipe.data.split_seed)
    kept = Asked([question for question in train.questions if question.conversation in held_out])
    head_answers.check_held_out(settings.training.target, kept)
    task = train_head(settings, start.encoder, learned, run, cache, quiet=quiet)
    reader = head_answers.logits_reader(task, cache)
    said = {name: probe.read(reader, asked)["logits"] for name, asked in (("kept", kept), ("test", test))}
    return head_answers.answer(task, said["test"], test, (said["kept"], kept), recipe.probe)


def head_cost(start: Start, head: str) -> Cost:
    """Cost of encoder and head, for one channel of audio: each weight of a head is used once a frame and speaker."""
    encoder, config = start.encoder, start.heads[head]
    weights = list(Task(config, copied(encoder)).model.head.parameters())
    n_weights = sum(parameter.numel() for parameter in weights)
    products = sum(parameter.numel() for parameter in weights if parameter.ndim > 1)
    return start.cost | {
        "parameters": encoder.parameter_count + n_weights,
        "head_parameters": n_weights,
        "macs_per_second_of_audio": encoder.macs_per_second + products * encoder.frame_rate_hz,
        "receptive_field_ms": None if isinstance(config.head, RNNHeadConfig) else start.cost["receptive_field_ms"],
    }
