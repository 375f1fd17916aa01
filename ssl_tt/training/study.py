"""A comparison and variants of it: each variant pretrained and probed like the recipe itself, then set side by side.

OUT/VARIANT/        the comparison of each variant; see `compare`
OUT/study.json      answers and paired differences of each question
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_tt.data.atomic import atomically
from ssl_tt.errors import InputError
from ssl_tt.training import corpora
from ssl_tt.training.compare import Comparison, Row, compare
from ssl_tt.training.config import CompareRecipe, StudyRecipe
from ssl_tt.training.grid import SCRATCH
from ssl_tt.turns import metrics


@dataclass(frozen=True)
class Study:
    """What a study found."""

    recipe: StudyRecipe
    comparisons: dict[str, Comparison]
    """By variant."""
    answers: dict[str, list[Row]]
    """By question: the rows of `Comparison` of what variants differ in (the objectives and, where it is probed, the
    untrained encoder), with the `variant` and its difference to the question's first variant under the same seeds and
    draws: `difference, difference_low, difference_high`, None for the first itself and where not defined."""


def study(recipe: StudyRecipe, out: Path, *, quiet: bool = False, workdir: Path = corpora.WORKDIR) -> Study:
    """Compare every variant, one after the other, and answer the questions.

    Goes on where it was stopped. InputError for a variant that is no recipe, or that scores other conversations than
    those it is set against, before anything is trained; else as `compare`.
    """
    recipes = {name: recipe.variant(name) for name in recipe.variants}
    for question in recipe.questions.values():
        first, *others = question.variants
        for other in others:
            _check_pair(first, recipes[first], other, recipes[other])
    made: dict[str, Path] = {}  # a run that several variants have is made once, in the first one's folder
    comparisons = {
        name: compare(each, out / name, quiet=quiet, workdir=workdir, made=made) for name, each in recipes.items()
    }
    answers = {
        name: [
            row
            for variant in question.variants
            for row in _answers(variant, comparisons[variant], question.variants[0], comparisons[question.variants[0]])
        ]
        for name, question in recipe.questions.items()
    }
    found = Study(recipe, comparisons, answers)
    with atomically(out / "study.json") as file:
        content = {"recipe": recipe.model_dump(mode="json"), "answers": answers}
        file.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")
    return found


def _check_pair(first: str, theirs: CompareRecipe, other: str, ours: CompareRecipe) -> None:
    """InputError unless both score the same conversations on the same draws."""

    def scored(recipe: CompareRecipe) -> dict[str, Any]:
        data, probe = recipe.data, recipe.probe
        return {
            "data.probe": data.probed,
            **{f"simulate.{name}": recipe.simulate.get(name) for name in data.probed},
            **{f"data.{key}": getattr(data, key) for key in ("validation_share", "test_share", "split_seed")},
            **{
                f"probe.{key}": getattr(probe, key)
                for key in ("tasks", "preset", "evaluate_on", "bootstrap", "confidence")
            },
        }

    facts, reference = scored(ours), scored(theirs)
    if changed := [key for key, value in facts.items() if reference.get(key) != value]:
        raise InputError(
            f"variants.{other}: {changed[0]} is not that of {first}, and a question sets them side by side on the same "
            "conversations: leave it out, or ask in another question"
        )


def _answers(variant: str, ours: Comparison, first: str, theirs: Comparison) -> list[Row]:
    rows = []
    for row in ours.rows:
        if row["system"] not in (*ours.recipe.objectives, "random", SCRATCH):
            continue
        name, task, metric = (row["system"], row["representation"]), row["task"], row["metric"]
        difference: Sequence[float | None] = (None, None, None)
        both = name in theirs.found and metric in theirs.found[name][0].scores.values.get(task, {})
        if variant != first and both and (shared := _shared_seeds(ours, theirs)):
            mine, other = (
                [each.found[name][i].scores.values[task][metric] for i in places]
                for each, places in zip((ours, theirs), zip(*shared, strict=True), strict=True)
            )
            difference = metrics.paired_difference(mine, other, ours.recipe.probe.confidence)
        keys = ("difference", "difference_low", "difference_high")
        rows.append({"variant": variant} | row | dict(zip(keys, difference, strict=True)))
    return rows


def _shared_seeds(ours: Comparison, theirs: Comparison) -> list[tuple[int, int]]:
    """Places of each seed that both have."""
    places: dict[Any, int] = {seed: i for i, seed in enumerate(theirs.recipe.seeds)}
    return [(i, places[seed]) for i, seed in enumerate(ours.recipe.seeds) if seed in places]
