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

LABELLED_SHARE = "data.labelled_share"
"""The field whose questions are drawn along hours."""
BASELINES = ("majority", "activity_history", "logmel")
"""Systems without an encoder, which no seed changes."""


@dataclass(frozen=True)
class Study:
    """What a study found."""

    recipe: StudyRecipe
    comparisons: dict[str, Comparison]
    """By variant."""
    answers: dict[str, list[Row]]
    """By question: the rows of `Comparison` of what variants differ in (the objectives and, where it is probed, the
    untrained encoder), with the `variant` and its difference to the question's first variant under the same seeds and
    draws: `difference, difference_low, difference_high`, None for the first itself and where not defined. Of a question
    that goes along a field: the rows of every system, with where they stand on it, `at` (hours of annotated training
    dialogue for `data.labelled_share`, else the field's value), and the score of the cues themselves on the events that
    were scored, `ceiling`, None where not known; no difference where variants score other conversations."""


def study(recipe: StudyRecipe, out: Path, *, quiet: bool = False, workdir: Path = corpora.WORKDIR) -> Study:
    """Compare every variant, one after the other, and answer the questions.

    Goes on where it was stopped. InputError for a variant that is no recipe, or that scores other conversations than
    those it is set against (but along a field), and for a field that a question cannot go along, before anything is
    trained; else as `compare`.
    """
    recipes = {name: recipe.variant(name) for name in recipe.variants}
    for name, question in recipe.questions.items():
        if not recipe.along(name):
            first, *others = question.variants
            for other in others:
                _check_pair(first, recipes[first], other, recipes[other])
    made: dict[str, Path] = {}  # a run that several variants have is made once, in the first one's folder
    comparisons = {
        name: compare(each, out / name, quiet=quiet, workdir=workdir, made=made) for name, each in recipes.items()
    }
    answers = {name: _answered(recipe, name, comparisons) for name in recipe.questions}
    found = Study(recipe, comparisons, answers)
    with atomically(out / "study.json") as file:
        content = {"recipe": recipe.model_dump(mode="json"), "answers": answers}
        file.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")
    return found


def _check_pair(first: str, theirs: CompareRecipe, other: str, ours: CompareRecipe) -> None:
    """InputError unless both score the same conversations on the same draws."""
    if changed := _scored_apart(theirs, ours):
        raise InputError(
            f"variants.{other}: {changed[0]} is not that of {first}, and a question sets them side by side on the same "
            "conversations: leave it out, ask in another question, or ask along a field"
        )


def _scored_apart(theirs: CompareRecipe, ours: CompareRecipe) -> list[str]:
    """Fields by which two recipes score other conversations, or under other draws."""

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
    return [key for key, value in facts.items() if reference.get(key) != value]


def _answered(recipe: StudyRecipe, question: str, comparisons: dict[str, Comparison]) -> list[Row]:
    """The rows of `Study.answers` of a question."""
    asked, along = recipe.questions[question], recipe.along(question)
    first = asked.variants[0]
    rows = []
    for variant in asked.variants:
        ours = comparisons[variant]
        at = ours.counts["train"]["hours"] if asked.along == LABELLED_SHARE else along.get(variant)
        place = {"at": at, "ceiling": ours.ceiling and ours.ceiling["realised"]} if along else {}
        rows += [row | place for row in _answers(variant, ours, first, comparisons[first], everyone=bool(along))]
    return rows


def _answers(variant: str, ours: Comparison, first: str, theirs: Comparison, *, everyone: bool) -> list[Row]:
    rows = []
    paired = variant != first and not _scored_apart(theirs.recipe, ours.recipe)
    for row in ours.rows:
        if not everyone and row["system"] not in (*ours.recipe.objectives, "random", SCRATCH):
            continue
        name, task, metric = (row["system"], row["representation"]), row["task"], row["metric"]
        difference: Sequence[float | None] = (None, None, None)
        both = name in theirs.found and metric in theirs.found[name][0].scores.values.get(task, {})
        if paired and both and (shared := _shared_seeds(ours, theirs, row["system"])):
            mine, other = (
                [each.found[name][i].scores.values[task][metric] for i in places]
                for each, places in zip((ours, theirs), zip(*shared, strict=True), strict=True)
            )
            difference = metrics.paired_difference(mine, other, ours.recipe.probe.confidence)
        keys = ("difference", "difference_low", "difference_high")
        rows.append({"variant": variant} | row | dict(zip(keys, difference, strict=True)))
    return rows


def _shared_seeds(ours: Comparison, theirs: Comparison, system: str) -> list[tuple[int, int]]:
    """Places of each seed that both have; the only place of a system that no seed changes."""
    if system in BASELINES:
        return [(0, 0)]
    places: dict[Any, int] = {seed: i for i, seed in enumerate(theirs.recipe.seeds)}
    return [(i, places[seed]) for i, seed in enumerate(ours.recipe.seeds) if seed in places]
