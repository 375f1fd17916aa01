"""One run on two processes, as torchrun starts them: what they share, what they agree on, what they refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_tt import recipe
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain
from tests.training.test_compare import write_corpus
from tests.training.two_processes import ALL_RANKS, CLAIMS, CURVE


@pytest.fixture(scope="module")
def out(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of two processes are, once all claims have held on both."""
    script, out = Path(__file__).with_name("two_processes.py"), tmp_path_factory.mktemp("two_processes")
    write_corpus(out / "dialogues")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    ran = subprocess.run(
        [*command, str(tiny_recipe), str(out)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for claim in CLAIMS:
        for rank in (0, 1):
            assert f"held on rank {rank}: {claim.__name__}" in ran.stdout
    return out


def lines(run: Path, split: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["split"] == split]


def test_every_claim_holds_on_both(out: Path) -> None:
    assert out.exists()


@pytest.mark.parametrize(("name", "options"), [("curve", CURVE), ("all-ranks", ALL_RANKS)])
def test_validation_is_that_of_one_process_to_the_bit(
    name: str, options: list[str], out: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    one = pretrain(recipe.load(tiny_recipe, PretrainRecipe, options), tmp_path / "one", quiet=True)
    assert lines(out / name, "validation")[0] == lines(one, "validation")[0]
    if name == "curve":  # of which nothing is drawn, so that rounding is all there is between them
        for split in ("train", "validation"):
            ours, theirs = ([line["loss"] for line in lines(run, split)] for run in (out / name, one))
            assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_cost_is_that_of_both(out: Path) -> None:
    cost = json.loads((out / "curve" / "cost.json").read_text())
    assert cost["pretrain_cpu_seconds"] >= 100  # which the second process alone has told of
    assert json.loads((out / "curve" / "environment.json").read_text())["processes"] == 2
