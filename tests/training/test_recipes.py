"""Every recipe for pretraining is trained for a few steps, as it stands but for its data and its length."""

import json
import re
from pathlib import Path

import pytest

from ssl_tt import recipe
from ssl_tt.objectives import OBJECTIVES
from ssl_tt.training.config import PretrainRecipe, StudyRecipe
from ssl_tt.training.pretrain import pretrain
from ssl_tt.training.study import study
from tests.training.test_compare import write_corpus

RECIPES = sorted(path for path in Path("recipes").glob("*.toml") if "objective" in recipe.read_table(path))
CORPORA = sorted(Path("recipes/corpora").glob("*.toml"))
STUDIES = sorted(path for path in Path("recipes").rglob("*.toml") if "questions" in recipe.read_table(path))
SHORT = {
    "data.validation-share": "0.3",
    "data.test-share": "0",
    "data.window-seconds": "3",
    "training.steps": "3",
    "training.batch-windows": "2",
    "training.warmup-steps": "1",
    "training.validation-windows": "2",
    "training.log-every-steps": "1",
}


def test_there_is_a_recipe_for_every_objective() -> None:
    assert {recipe.load(path, PretrainRecipe).objective.kind for path in RECIPES} == set(OBJECTIVES)


@pytest.mark.parametrize("path", [*RECIPES, *CORPORA], ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    wanted = SHORT | ({"data.window-seconds": "5"} if path in CORPORA else {})  # as long as their field
    options = [word for name, value in wanted.items() for word in (f"--{name}", value)]
    settings = recipe.load(path, PretrainRecipe, [*options, "--data.pretrain", str(tiny_corpus)])
    run = pretrain(settings.model_copy(update={"simulate": {}}), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert len(losses) == 3
    assert all(later != losses[0] for later in losses[1:])


@pytest.mark.parametrize("path", CORPORA, ids=lambda path: path.stem)
def test_a_recipe_of_a_corpus_says_how_long_it_takes(path: Path) -> None:
    """Steps, audio of a step and hours of its header are those of its fields, at the rate that it names."""
    header, settings = path.read_text().partition("\nname =")[0], recipe.load(path, PretrainRecipe)
    step_seconds = settings.training.batch_windows * 2 * settings.data.window_seconds
    said = re.search(r"time +(\d+) (h|min) on .*: ([\d,]+) steps of ([\d,]+) s of audio.* at 750 s a second", header)
    assert said, header
    assert int(said[3].replace(",", "")) == settings.training.steps
    assert int(said[4].replace(",", "")) == step_seconds
    hours = settings.training.steps * step_seconds / 750 / 3600
    assert int(said[1]) == round(hours if said[2] == "h" else 60 * hours)
    (source,) = settings.data.pretrain
    folder = source.removeprefix("$").removesuffix("/manifest.jsonl").lower()
    assert f"{folder.upper()}=corpora/{folder} ssl-tt pretrain {path}" in header
    assert re.search(rf"ssl-tt prepare {path.stem} \S+ --out corpora/{folder}( --held-out-speakers [\d.]+)?\n", header)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_variant_of_a_study_is_a_recipe_and_every_question_can_be_asked(path: Path) -> None:
    settings = recipe.load(path, StudyRecipe)
    for name in settings.variants:
        assert settings.variant(name).name == settings.name
    for name, question in settings.questions.items():
        assert set(settings.along(name)) == (set(question.variants) if question.along else set())


def test_the_curve_of_the_cues_is_drawn_from_little(tmp_path: Path) -> None:
    little = {
        "simulate.dialogues.hours": "0.06",
        "simulate.dialogues.conversation-seconds": "20",
        "simulate.dialogues.speakers": "24",
        "data.window-seconds": "2",
        "training.steps": "2",
        "training.batch-windows": "2",
        "training.warmup-steps": "1",
        "training.validation-windows": "2",
        "probe.bootstrap": "100",
    }
    options = [word for name, value in little.items() for word in (f"--{name}", value)]
    settings = recipe.load("recipes/cues.toml", StudyRecipe, options)
    assert sorted(settings.along("cues").values()) == [0.0, 0.25, 0.5, 0.75, 1.0]
    ends = {name: settings.variants[name] for name in ("none", "whole")}
    asked = {"cues": settings.questions["cues"].model_copy(update={"variants": tuple(ends)})}
    settings = settings.model_copy(update={"variants": ends, "questions": asked})
    found = study(settings, tmp_path / "out", quiet=True, workdir=tmp_path)
    assert {row["at"] for row in found.answers["cues"]} == {0.0, 1.0}
    assert all(row["ceiling"] is not None for row in found.answers["cues"])
    assert {row["system"] for row in found.answers["cues"]} == {
        "majority", "activity_history", "logmel", "random", "vqvae", "cpc",
    }  # fmt: skip


def test_the_shares_of_the_labels_are_learned_from_on_little(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    head = {"window-seconds": "6", "steps": "2", "batch-windows": "2", "validate-every-steps": "2", "warmup-steps": "1"}
    heads = recipe.load("recipes/efficiency.toml", StudyRecipe).heads
    little = {
        "data.pretrain": f"{tmp_path}/manifest.jsonl",
        "data.probe": f"{tmp_path}/manifest.jsonl",
        "data.window-seconds": "6",
        "training.steps": "2",
        "training.batch-windows": "2",
        "training.warmup-steps": "1",
        "training.validation-windows": "2",
        "probe.bootstrap": "100",
        **{f"heads.{name}.{key}": value for name in heads for key, value in head.items()},
        "heads.rnn-1-finetuned.head-steps": "1",
    }
    options = [word for name, value in little.items() for word in (f"--{name}", value)]
    settings = recipe.load("recipes/efficiency.toml", StudyRecipe, options)
    shares = {"one-percent": 0.45, "ten-percent": 0.6, "all": 1.0}  # of a minute, not of hours
    variants = {name: {"data": {"labelled_share": share}} for name, share in shares.items()}
    found = study(settings.model_copy(update={"simulate": {}, "variants": variants}), tmp_path / "out", quiet=True)
    rows = [row for row in found.answers["labels"] if row["metric"] == "balanced_accuracy"]
    assert {(row["system"], row["representation"]) for row in rows} == {
        ("majority", "none"), ("activity_history", "activity_history"), ("logmel", "logmel"), ("random", "encoder"),
        ("random", "rnn-1"), ("cpc", "encoder"), ("cpc", "rnn-1"), ("cpc", "rnn-1-finetuned"),
        ("scratch", "rnn-1-scratch"),
    }  # fmt: skip
    assert len({row["at"] for row in rows}) == 3
