"""Every recipe for pretraining is trained for a few steps, as it stands but for its data and its length."""

import json
from pathlib import Path

import pytest

from ssl_tt import recipe
from ssl_tt.objectives import OBJECTIVES
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain

RECIPES = sorted(path for path in Path("recipes").glob("*.toml") if "objective" in recipe.read_table(path))
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


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    options = [word for name, value in SHORT.items() for word in (f"--{name}", value)]
    settings = recipe.load(path, PretrainRecipe, [*options, "--data.pretrain", str(tiny_corpus)])
    run = pretrain(settings.model_copy(update={"simulate": {}}), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert len(losses) == 3
    assert all(later != losses[0] for later in losses[1:])
