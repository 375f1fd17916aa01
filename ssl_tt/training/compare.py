"""The same encoder, data, steps and seeds under several objectives, probed side by side.

OUT/recipe.toml         the resolved recipe
OUT/runs/NAME-seedK/    pretraining of each objective and seed; see `checkpoint`
OUT/probe/*.json        scores of each system and seed, so that a comparison that was stopped goes on
OUT/heads/              run directories of heads, and OUT/heads-scored/*.json their scores; see `grid`
OUT/report.json         rows: task, system, representation, metric, value, interval, counts, cost
OUT/comparison.json     paired differences, ceiling, counts, choices of validation
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ssl_tt import recipe as recipes
from ssl_tt import timebase
from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import read_window
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_manifest
from ssl_tt.data.phones import Phones, read_phones
from ssl_tt.errors import InputError
from ssl_tt.training import budget, checkpoint, corpora, grid, probe, processes
from ssl_tt.training.config import CompareRecipe, PretrainRecipe
from ssl_tt.training.cost import Cost
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.finetune import split_dialogues
from ssl_tt.training.frame_tasks import FRAME_TASKS, count_classes, fitted, scored
from ssl_tt.training.pretrain import pretrain
from ssl_tt.training.systems import System, check_representations, count_systems, frame_rate_hz, systems
from ssl_tt.turns import metrics
from ssl_tt.turns.floor_scores import READINGS
from ssl_tt.turns.metrics import Floats

Row = dict[str, Any]

# A picture shows who speaks, and what the probes believe, over this long.
STRETCH_SECONDS = 60.0

# Draws of the bootstrap are the same for every comparison of the same number of conversations.
_DRAWS_SEED = 0

# Scores of an earlier kind are made anew.
_SCORING = 2


@dataclass(frozen=True)
class Comparison:
    """What a comparison found, as the report draws it."""

    recipe: CompareRecipe
    rows: list[Row]
    """One a task, system, representation and metric: `task, system, representation, metric, value, low, high,
    n_events, n_conversations, n_seeds, class_share, cost`; `value, low, high` are None where not defined."""
    differences: list[Row]
    """Paired differences, `system` minus `other`: `task, metric, system, representation, other, other_representation,
    value, low, high`."""
    runs: dict[str, list[Path]]
    """Run directories of each objective, one a seed."""
    ceiling: dict[str, Any] | None
    """Best balanced accuracy that the probed corpus allows, where its simulator knows it: `bayes_balanced_accuracy`
    in the mean and `realised` on the very events that were scored."""
    labels: dict[str, str]
    """What the shift and hold labels of each probed corpus rest on: "cue", "proxy", "annotated" or "detected"."""
    counts: dict[str, dict[str, float]]
    """For each split: `hours` of annotated dialogue, `conversations`, `shift`, `hold`, `frames`; where they are asked
    for, how many events of other kinds, how many `speakers` are heard alone, and how many different `phones`."""
    belief: dict[str, Any] | None
    """A stretch of one scored conversation: `conversation`, `start_seconds`, `frame_rate_hz`, `activity` [T, 2] bool,
    `events` (list of Event, frames counted from the stretch's start), `systems`: name -> p(shift) [T]."""
    examples: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    """Diagnostics of each objective's first seed on a few seconds of that stretch."""
    horizons: dict[str, Floats] = field(default_factory=dict)
    """ROC AUC of each 50 ms bin of future activity, [60], by system."""
    silences: list[Row] = field(default_factory=list)
    """Balanced accuracy of shift or hold by how long the silence lasts: `system, representation, shortest, longest`
    (seconds, None for no end), `n_events, value, low, high`."""
    confusion: list[Row] = field(default_factory=list)
    """Of tasks at events: `task, system, representation`, and `counts` [true class, answered class] of each seed."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of each stage."""
    found: "Results" = field(default_factory=dict)
    """Scores under every draw, for other comparisons of the same conversations."""


def compare(
    recipe: CompareRecipe,
    out: Path,
    *,
    quiet: bool = False,
    workdir: Path = corpora.WORKDIR,
    made: dict[str, Path] | None = None,
) -> Comparison:
    """Pretrain every objective with every seed, probe all of them and the baselines, and score them side by side.

    Writes into `out`, and goes on there if it was stopped. `made` are run directories by their recipes in TOML; what is
    in there is not trained again, what is not is added. Raises InputError for `out` of something else, for a recipe
    that asks for an unknown representation and for conversations that cannot be probed; else as `pretrain`.
    """
    processes.alone("a comparison")
    made = {} if made is None else made
    check_representations(recipe)
    _claim(out, recipe)
    seconds: dict[str, float] = {}
    with _timed(seconds, "corpora"):
        pretrain_splits, probe_splits = corpora.conversations(recipe, workdir)
        # What cannot be probed is refused before hours are spent on pretraining.
        asked = _asked(recipe, probe_splits, _phones(recipe, workdir))
    with _timed(seconds, "pretraining"):
        runs: dict[str, list[Path]] = {name: [] for name in recipe.objectives}
        for name, steps in budget.steps(recipe).items():
            for seed in recipe.seeds:
                planned = _pretrain_recipe(recipe, name, steps, seed)
                run = made.setdefault(recipes.dump(planned), out / "runs" / f"{name}-seed{seed}")
                runs[name].append(pretrain(planned, run, splits=pretrain_splits, quiet=quiet))
    return _scored(recipe, runs, asked, out, seconds, quiet=quiet, workdir=workdir)


def probe_run(
    recipe: CompareRecipe, run: Path, out: Path, *, quiet: bool = False, workdir: Path = corpora.WORKDIR
) -> Comparison:
    """Score one pretrained run beside the baselines, on the conversations and by the probes of a recipe.

    The encoder, objective and seed are the run's own; what the recipe says of them is not asked. Writes into `out` and
    raises InputError as `compare`; also if `run` is no finished run or has heard a speaker whom it is tested on.
    """
    processes.alone("probing")
    path = run / "recipe.toml"
    if not path.is_file() or not (run / "cost.json").is_file():
        raise InputError(f"{run}: expected the directory of a finished run, as `ssl-tt pretrain` leaves it")
    trained = recipes.load(path, PretrainRecipe)
    for name, config in trained.simulate.items():
        if recipe.simulate.get(name, config) != config:
            raise InputError(
                f"{run}: pretrained on another corpus {name!r} than the recipe's of that name: rename simulate.{name}"
            )
    # What was heard in pretraining is the run's word, so that a tested speaker who was is refused.
    data = recipe.data.model_copy(update={"pretrain": trained.data.pretrain, "probe": recipe.data.probed})
    recipe = recipe.model_copy(
        update={
            "data": data,
            "simulate": {**trained.simulate, **recipe.simulate},
            "encoder": trained.encoder,
            "objectives": {trained.objective.kind: trained.objective},
            "seeds": (trained.seed,),
        }
    )
    check_representations(recipe)
    _claim(out, recipe)
    seconds: dict[str, float] = {}
    with _timed(seconds, "corpora"):
        probe_splits = corpora.conversations(recipe, workdir)[1]
        asked = _asked(recipe, probe_splits, _phones(recipe, workdir))
    runs: dict[str, list[Path]] = {trained.objective.kind: [run]}
    return _scored(recipe, runs, asked, out, seconds, quiet=quiet, workdir=workdir)


def _scored(
    recipe: CompareRecipe,
    runs: dict[str, list[Path]],
    asked: tuple[probe.Asked, probe.Asked],
    out: Path,
    seconds: dict[str, float],
    *,
    quiet: bool,
    workdir: Path,
) -> Comparison:
    """Probe the runs and the baselines, and write down how they compare."""
    train, test = asked
    with _timed(seconds, "probes"):
        draws = metrics.draws(len(test.questions), recipe.probe.bootstrap, _DRAWS_SEED)
        found: Results = {}
        for system in tqdm(systems(recipe, runs), "probe", count_systems(recipe), unit="system", disable=quiet):
            for name, result in _probed(system, out / "probe", recipe, train, test, draws).items():
                found.setdefault((system.name, name), []).append(result)
    with _timed(seconds, "heads"):
        for start in tqdm(grid.starts(recipe, runs), "heads", grid.count_starts(recipe), unit="system", disable=quiet):
            for name, result in _headed(start, out, recipe, train, test, draws, quiet=quiet).items():
                found.setdefault((start.name, name), []).append(result)
    found = _side_by_side(found)
    comparison = Comparison(
        recipe=recipe,
        rows=_rows(recipe, found, test),
        differences=_differences(recipe, found),
        runs=runs,
        ceiling=_ceiling(recipe, test, workdir),
        labels=_labels(recipe, workdir),
        counts={"train": _counts(recipe, train), recipe.probe.evaluate_on: _counts(recipe, test)},
        belief=_belief(recipe, test, found),
        examples=_examples(recipe, test, runs),
        horizons={system: each.scores.horizons for system, each in _main(found) if each.scores.horizons is not None},
        silences=_silences(recipe, found),
        confusion=[
            {
                "task": task,
                "system": name[0],
                "representation": name[1],
                "counts": [s.scores.confusion[task] for s in each],
            }
            for name, each in found.items()
            for task in each[0].scores.confusion
        ],
        seconds=seconds,
        found=found,
    )
    _write(comparison, out)
    return comparison


# ------------------------------------------------------------------------------------------------------ preparation


def _claim(out: Path, recipe: CompareRecipe) -> None:
    """Make `out` the folder of a comparison; InputError if it is something else's."""
    path = out / "recipe.toml"
    if not path.exists() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out}: holds other files, expected a new folder or that of a comparison: choose another --out"
        )
    if path.exists():
        recipes.load(path, CompareRecipe)  # a run directory, for one, is no comparison
        return
    with atomically(path) as file:
        file.write(recipes.dump(recipe).encode())


def _pretrain_recipe(recipe: CompareRecipe, objective: str, steps: int, seed: int) -> PretrainRecipe:
    """The run of one objective and seed; what is probed later, or how much of it, does not make it another run."""
    data = recipe.data.model_copy(update={"probe": (), "labelled_share": 1.0})
    return PretrainRecipe(
        name=recipe.name,
        simulate={name: config for name, config in recipe.simulate.items() if name in data.pretrain},
        data=data,
        encoder=recipe.encoder,
        training=recipe.training.model_copy(update={"steps": steps}),
        seed=seed,
        objective=recipe.objectives[objective],
    )


def _phones(recipe: CompareRecipe, workdir: Path) -> Phones:
    """The phones of the probed corpora, if a task asks for them."""
    if "phone" not in recipe.probe.tasks:
        return {}
    manifests = [corpora.manifest(recipe, source, workdir) for source in recipe.data.probed]
    return {name: spoken for path in manifests for name, spoken in read_phones(path, read_manifest(path)).items()}


def _asked(recipe: CompareRecipe, splits: corpora.Splits, phones: Phones) -> tuple[probe.Asked, probe.Asked]:
    """Questions about the conversations to fit on, and about those to score."""
    config = recipe.probe
    rate = frame_rate_hz(recipe)
    sets = []
    for split in ("train", config.evaluate_on):
        if not splits[split]:
            raise InputError(f"data.probe: no conversation for {split}; add some, or raise data.{split}_share")
        sets.append(
            probe.Asked([probe.ask(each, rate, config, phones.get(each.id, ((), ()))) for each in splits[split]])
        )
    train, test = sets
    _check_heads(recipe, splits["train"])
    for event_task in train.tasks:
        rows, kinds = train.rows(event_task), READINGS[event_task].kinds
        dialogue = train.dialogue[rows.conversation]
        for kind, of_kind in zip(kinds, (~rows.truth, rows.truth), strict=True):
            if (n := len(np.unique(dialogue[of_kind]))) < 2:
                raise InputError(
                    f"data.probe: {event_task} has {kind} in {n} training dialogue{'s' * (n != 1)}, expected 2 or "
                    f"more, so that one can be held out: {_more(recipe)}, or drop the task"
                )
    if "shift_hold" in train.tasks:
        test = _with_stretch(test, rate)
    for task in FRAME_TASKS:
        if task in config.tasks:
            fitted(task, train, test, config.folds)  # which refuses too few
    return train, test


def _more(recipe: CompareRecipe) -> str:
    """What to do where there is too little to learn from."""
    return "add conversations" + (", raise data.labelled_share" if recipe.data.labelled_share < 1 else "")


def _check_heads(recipe: CompareRecipe, conversations: Sequence[Conversation]) -> None:
    """InputError where a head has no window to learn from, or none to be held out."""
    for name, head in recipe.heads.items():
        window_seconds = head.window_seconds or recipe.data.window_seconds
        parts = split_dialogues(conversations, head.held_out_share, recipe.data.split_seed)
        for part, where in zip(parts, ("to fit on", "held out"), strict=True):
            longest = max(conversation.duration_seconds for conversation in part)
            if longest < window_seconds:
                raise InputError(
                    f"heads.{name}: a window of {window_seconds:g} s, and no training conversation {where} is longer "
                    f"than {longest:.1f} s: {_more(recipe)}, or lower window_seconds"
                )


def _with_stretch(asked: probe.Asked, frame_rate_hz: float) -> probe.Asked:
    """The same with one stretch to draw: that of most events, in the conversation of most events."""
    questions = list(asked.questions)
    place = max(range(len(questions)), key=lambda i: len(questions[i].events["shift_hold"]))
    question = questions[place]
    decisions = np.array([event.decision for event in question.events["shift_hold"]], dtype=np.int64)
    length = min(timebase.frames(STRETCH_SECONDS, frame_rate_hz), len(question.activity))
    # A second before its first event, but never past the end.
    starts = np.clip(decisions - timebase.frames(1.0, frame_rate_hz), 0, len(question.activity) - length)
    held = [np.sum((decisions >= start) & (decisions < start + length)) for start in starts]
    start = int(starts[int(np.argmax(held))]) if held else 0
    questions[place] = replace(question, stretch=np.arange(start, start + length))
    return probe.Asked(questions)


# ---------------------------------------------------------------------------------------------------------- probing


@dataclass(frozen=True)
class Found:
    """What probing one representation of one system and seed gave."""

    scores: probe.Scores
    stretch: Floats | None
    regularisation: dict[str, float]
    cost: Cost


Results = dict[tuple[str, str], list[Found]]
"""By system and representation, one a seed."""


def _probed(
    system: System, folder: Path, recipe: CompareRecipe, train: probe.Asked, test: probe.Asked, draws: Floats
) -> dict[str, Found]:
    """Scores of each of a system's representations; read back if this very system has been probed before."""
    path = folder / f"{system.name}-seed{system.seed}.json"
    key = _key([system.identity, list(system.costs)], recipe, train, test)
    if (kept := _kept(path, key, system.costs)) is not None:
        return kept
    config = recipe.probe
    if system.reads_activity:
        config = config.model_copy(update={"tasks": tuple(task for task in config.tasks if task not in FRAME_TASKS)})
    if system.reader is None:
        answers = {"none": probe.answer_majority(train, test, config)}
    else:
        read, read_test = probe.read(system.reader, train), probe.read(system.reader, test)
        answers = {name: probe.answer(read[name], train, read_test[name], test, config) for name in system.costs}
    found = {
        name: Found(probe.score(said, test, draws), said.stretch, said.regularisation, system.costs[name])
        for name, said in answers.items()
    }
    _keep(path, key, found)
    return found


def _headed(
    start: grid.Start,
    out: Path,
    recipe: CompareRecipe,
    train: probe.Asked,
    test: probe.Asked,
    draws: Floats,
    *,
    quiet: bool,
) -> dict[str, Found]:
    """Scores of each head on a start; read back if this very head has been scored before."""
    cache = FeatureCache(out / "features" / f"{start.name}-seed{start.seed}", start.encoder)
    found: dict[str, Found] = {}
    for head in start.heads:
        path = out / "heads-scored" / f"{start.name}-seed{start.seed}-{head}.json"
        key = _key([grid.identity(start, recipe, head)], recipe, train, test)
        cost = grid.head_cost(start, head)
        if (kept := _kept(path, key, {head: cost})) is not None:
            found |= kept
            continue
        said = grid.answers(start, head, recipe, train, test, out, cache, quiet=quiet)
        scored = {head: Found(probe.score(said, test, draws), said.stretch, said.regularisation, cost)}
        _keep(path, key, scored)
        found |= scored
    cache.remove()
    return found


def _side_by_side(found: Results) -> Results:
    """The same with all representations of a system in a row, its heads after what probes have read."""
    order = list(dict.fromkeys(system for system, _ in found))
    return {name: found[name] for name in sorted(found, key=lambda name: order.index(name[0]))}


def _kept(path: Path, key: str, costs: dict[str, Cost]) -> dict[str, Found] | None:
    """What was found before, by representation, if it follows from the same."""
    if not path.exists():
        return None
    table = json.loads(path.read_bytes())
    if table["key"] != key:
        return None
    return {name: _found_from_json(table["representations"][name], cost) for name, cost in costs.items()}


def _keep(path: Path, key: str, found: dict[str, Found]) -> None:
    with atomically(path) as file:
        tables = {name: _found_as_json(each) for name, each in found.items()}
        file.write(json.dumps({"key": key, "representations": tables}, allow_nan=False).encode())


def _key(who: list[Any], recipe: CompareRecipe, train: probe.Asked, test: probe.Asked) -> str:
    """Digest of all that the scores follow from; `who` answers."""
    asked = [
        [c.id, c.sha256, c.duration_seconds, c.segments]
        for questions in (train.questions, test.questions)
        for c in (question.conversation for question in questions)
    ]
    facts = [_SCORING, *who, recipe.probe.model_dump(mode="json"), len(train.questions), asked]
    if "phone" in recipe.probe.tasks:
        facts += [question.phones.tolist() for question in (*train.questions, *test.questions)]
    if "speaker" in recipe.probe.tasks:
        facts += [question.conversation.speakers for question in test.questions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _found_as_json(found: Found) -> dict[str, Any]:
    return {
        "scores": found.scores.as_json(),
        "stretch": None if found.stretch is None else probe.numbers(found.stretch),
        "regularisation": found.regularisation,
    }


def _found_from_json(table: dict[str, Any], cost: Cost) -> Found:
    stretch = None if table["stretch"] is None else np.array(table["stretch"], dtype=np.float64)
    return Found(probe.Scores.from_json(table["scores"]), stretch, table["regularisation"], cost)


# ---------------------------------------------------------------------------------------------------------- results


def _rows(recipe: CompareRecipe, found: Results, test: probe.Asked) -> list[Row]:
    """Scores of all, task by task, averaged over seeds."""
    rows = []
    for task in recipe.probe.tasks:
        n, of, share = _asked_of(task, test)
        for (system, representation), seeds in found.items():
            for metric in seeds[0].scores.values.get(task, ()):
                values = np.stack([each.scores.values[task][metric] for each in seeds])
                rows.append(
                    {
                        "task": task,
                        "system": system,
                        "representation": representation,
                        "metric": metric,
                        **metrics.estimate(values, recipe.probe.confidence)._asdict(),
                        "n_events": n,
                        "n_conversations": len(np.unique(of)),
                        "n_seeds": len(seeds),
                        "class_share": share,
                        "cost": _mean_cost([each.cost for each in seeds]),
                    }
                )
    return rows


def _silences(recipe: CompareRecipe, found: Results) -> list[Row]:
    """Scores by how long the silence lasts, averaged over seeds."""
    return [
        {
            "system": name[0],
            "representation": name[1],
            "shortest": groups[0].shortest,
            "longest": groups[0].longest if np.isfinite(groups[0].longest) else None,
            "n_events": groups[0].n,
            **metrics.estimate(np.stack([group.values for group in groups]), recipe.probe.confidence)._asdict(),
        }
        for name, seeds in found.items()
        for groups in zip(*(each.scores.silences for each in seeds), strict=True)
    ]


def _asked_of(task: str, test: probe.Asked) -> tuple[int, NDArray[np.int64], float | None]:
    """How often a task asks, of which conversations, and the share of its positive class, if there is one."""
    if task in FRAME_TASKS:
        rows = scored(task, test)
        speech = float(np.mean(rows.label == "speech")) if task == "voice_activity" and len(rows.label) else None
        return len(rows.label), rows.conversation, speech
    for event_task in test.tasks:
        if event_task == task:
            asked = test.rows(event_task)
            return len(asked.truth), asked.conversation, float(asked.truth.mean()) if len(asked.truth) else None
    future = test.future
    return len(future), test.frame_conversation, float(future.mean()) if future.size else None


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    """Seeds differ in the seconds that pretraining took, and in nothing else."""
    mean = dict(costs[0])
    for key in ("pretrain_seconds", "pretrain_cpu_seconds"):
        known = [seconds for cost in costs if (seconds := cost[key]) is not None]
        mean[key] = float(np.mean(known)) if known else None
    return mean


def _differences(recipe: CompareRecipe, found: Results) -> list[Row]:
    """Paired differences: each pretrained representation or head against every baseline, each head against what a line
    reads from the same encoder, then objective against objective."""
    objectives = list(recipe.objectives)
    baselines = list(dict.fromkeys(system for system, _ in found if system not in objectives))
    pretrained = [name for name in found if name[0] in objectives]
    pairs = [(name, _counterpart(recipe, found, baseline, name[1])) for name in pretrained for baseline in baselines]
    pairs += [(name, (name[0], _first(found, name[0]))) for name in pretrained if name[1] in recipe.heads]
    for first, second in combinations(objectives, 2):
        shared = [representation for system, representation in pretrained if system == first]
        pairs += [((first, each), (second, each)) for each in shared if (second, each) in found]

    rows = []
    for task in recipe.probe.tasks:
        for one, other in pairs:
            for metric in found[one][0].scores.values.get(task, {}):
                if metric not in found[other][0].scores.values.get(task, {}):
                    continue
                ours, theirs = ([each.scores.values[task][metric] for each in found[name]] for name in (one, other))
                rows.append(
                    {
                        "task": task,
                        "metric": metric,
                        "system": one[0],
                        "representation": one[1],
                        "other": other[0],
                        "other_representation": other[1],
                        **metrics.paired_difference(ours, theirs, recipe.probe.confidence)._asdict(),
                    }
                )
    return rows


def _counterpart(recipe: CompareRecipe, found: Results, baseline: str, representation: str) -> tuple[str, str]:
    """What of a baseline to set beside a representation: its own of that name (of the same memory), for a head one of
    the same kind and target, else its first."""

    def alike(name: str) -> bool:
        heads = [recipe.heads.get(each) for each in (name, representation)]
        return all(heads) and len({(each.head, each.target) for each in heads if each is not None}) == 1

    names = [name for system, name in found if system == baseline]
    same = [name for name in names if name == representation] or [name for name in names if alike(name)]
    return baseline, same[0] if same else names[0]


def _first(found: Results, system: str) -> str:
    return next(name for each, name in found if each == system)


def _main(found: Results) -> Iterator[tuple[str, Found]]:
    """Each system's first representation, which for encoders is the first one that the recipe asks for; first seed."""
    seen = set()
    for (system, _), seeds in found.items():
        if system not in seen:
            seen.add(system)
            yield system, seeds[0]


def _belief(recipe: CompareRecipe, test: probe.Asked, found: Results) -> dict[str, Any] | None:
    question = next((question for question in test.questions if len(question.stretch)), None)
    if question is None:
        return None
    start, stop = int(question.stretch[0]), int(question.stretch[-1]) + 1
    rate = frame_rate_hz(recipe)
    return {
        "conversation": question.conversation.id,
        "start_seconds": timebase.seconds(start, rate),
        "frame_rate_hz": rate,
        "activity": question.activity[start:stop],
        "events": [
            replace(
                event,
                start=event.start - start,
                end=event.end - start,
                region=(event.region[0] - start, event.region[1] - start),
            )
            for event in question.events["shift_hold"]
            if start <= event.decision < stop
        ],
        "systems": {system: each.stretch for system, each in _main(found) if each.stretch is not None},
    }


@torch.inference_mode()
def _examples(
    recipe: CompareRecipe, test: probe.Asked, runs: dict[str, list[Path]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Diagnostics on one training window's length of a scored conversation."""
    question = next((question for question in test.questions if len(question.stretch)), test.questions[0])
    rate = frame_rate_hz(recipe)
    start = timebase.seconds(int(question.stretch[0]) if len(question.stretch) else 0, rate)
    left = question.conversation.duration_seconds - start
    hop = recipe.encoder.frontend.hop_samples * recipe.encoder.stride
    n_samples = timebase.frames(min(recipe.data.window_seconds, left), rate) * hop
    window = read_window(question.conversation, start, n_samples, recipe.encoder.frontend.sample_rate_hz)
    found = {}
    for name, paths in runs.items():
        diagnostics = checkpoint.load_objective(paths[0]).diagnostics(torch.from_numpy(window))
        found[name] = {key: value.numpy() for key, value in diagnostics.items()}
    return found


def _counts(recipe: CompareRecipe, asked: probe.Asked) -> dict[str, float]:
    counts = {
        "hours": sum(question.conversation.duration_seconds for question in asked.questions) / 3600,
        "conversations": len(asked.questions),
        "shift": 0,
        "hold": 0,
        "frames": len(asked.frame_conversation),
    }
    counts |= Counter(event.kind for each in asked.questions for events in each.events.values() for event in events)
    classes = {f"{task}s": count_classes(task, asked) for task in ("speaker", "phone") if task in recipe.probe.tasks}
    return counts | classes


# ------------------------------------------------------------------------------------------------- labels, ceiling


def _labels(recipe: CompareRecipe, workdir: Path) -> dict[str, str]:
    """What the labels of each probed corpus rest on, as its conversations say; the least sure if they differ."""
    labels = {}
    for source in recipe.data.probed:
        conversations = read_manifest(corpora.manifest(recipe, source, workdir))
        kinds = {conversation.provenance.get("labels", "annotated") for conversation in conversations}
        labels[source] = next((kind for kind in ("proxy", "detected", "cue") if kind in kinds), "annotated")
    return labels


def _ceiling(recipe: CompareRecipe, test: probe.Asked, workdir: Path) -> dict[str, Any] | None:
    """The simulator's own best balanced accuracy, and that of its posteriors on the events that were scored.

    None where several corpora are mixed or the corpus does not know.
    """
    sources = recipe.data.probed
    if len(sources) != 1 or "shift_hold" not in recipe.probe.tasks:
        return None
    folder = corpora.manifest(recipe, sources[0], workdir).parent
    if not (folder / "simulation.json").is_file() or not (folder / "truth.jsonl").is_file():
        return None
    description = json.loads((folder / "simulation.json").read_bytes())
    silences: dict[str, list[tuple[float, float]]] = {}
    for line in (folder / "truth.jsonl").read_text().splitlines():
        truth = json.loads(line)
        silences.setdefault(truth["conversation"], []).append((truth["start_seconds"], truth["posterior"]))
    rate = frame_rate_hz(recipe)
    posteriors = []
    for question in test.questions:
        starts, posterior = np.array(silences.get(question.conversation.id, [(np.inf, np.nan)])).T
        for event in question.events["shift_hold"]:
            distance = np.abs(starts - timebase.seconds(event.start, rate))
            if distance.min() > 1 / rate:
                return None  # an event that the simulator did not plan
            posteriors.append(posterior[int(distance.argmin())])
    if not posteriors:
        return None
    # Balanced accuracy weighs both classes alike, so the cues need to raise the odds, not to exceed one half.
    answers = np.array(posteriors) >= description["config"]["shift_probability"]
    confusion = metrics.confusion_counts(test.rows("shift_hold").truth, answers, np.zeros(len(answers), int), 1)[0]
    realised = metrics.estimate([metrics.balanced_accuracy(confusion)]).value
    if realised is None:
        return None
    return {"bayes_balanced_accuracy": description["bayes_balanced_accuracy"], "realised": realised}


# ---------------------------------------------------------------------------------------------------------- writing


def _write(comparison: Comparison, out: Path) -> None:
    rest = {
        "recipe": comparison.recipe.model_dump(mode="json"),
        "differences": comparison.differences,
        "ceiling": comparison.ceiling,
        "labels": comparison.labels,
        "silences": comparison.silences,
        "confusion": comparison.confusion,
        "counts": comparison.counts,
        "horizons": {system: probe.numbers(curve) for system, curve in comparison.horizons.items()},
        "regularisation": [
            {"system": system, "representation": representation, "chosen": [each.regularisation for each in seeds]}
            for (system, representation), seeds in comparison.found.items()
        ],
        "seconds": comparison.seconds,
    }
    with atomically(out / "recipe.toml") as file:  # what is probed may have changed since the runs began
        file.write(recipes.dump(comparison.recipe).encode())
    for name, value in (("report.json", comparison.rows), ("comparison.json", rest)):
        with atomically(out / name) as file:
            file.write(json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started
