"""One run on two processes, as torchrun starts them: what they share, what they agree on, what they refuse."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ssl_tt import recipe
from ssl_tt.training import checkpoint
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain
from tests.training.test_compare import write_corpus
from tests.training.two_processes import ALL_RANKS, CLAIMS, CURVE


@pytest.fixture(scope="module")
def out(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of two processes are, once all claims have held on both."""
    script, out = Path(__file__).with_name("two_processes.py"), tmp_path_factory.mktemp("two_processes")
    write_corpus(out / "dialogues")
    code, said, errors = ended(torchrun(script, tiny_recipe, out))
    assert code == 0, errors[-3000:]
    for claim in CLAIMS:
        for rank in (0, 1):
            assert f"held on rank {rank}: {claim.__name__}" in said
    return out


def torchrun(*command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    said, errors = process.communicate(timeout=240)
    return process.returncode, said, errors


def wait_for_checkpoint_after(step: int, run: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(int(path.name[5:]) > step for path in (run / "checkpoints").glob("step-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


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


def test_one_process_goes_on_from_where_two_have_stopped(out: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    run = shutil.copytree(out / "curve", tmp_path / "run")
    shutil.rmtree(checkpoint.find(run, "last"))
    assert checkpoint.find(run, "last").name == "step-00000010"
    pretrain(recipe.load(tiny_recipe, PretrainRecipe, CURVE), run, quiet=True)
    ours, theirs = ([line["loss"] for line in lines(each, "train")] for each in (run, out / "curve"))
    assert ours[:10] == theirs[:10]
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_cost_is_that_of_both(out: Path) -> None:
    cost = json.loads((out / "curve" / "cost.json").read_text())
    assert cost["pretrain_cpu_seconds"] >= 100  # which the second process alone has told of
    assert json.loads((out / "curve" / "environment.json").read_text())["processes"] == 2


def test_the_command_stopped_by_one_process_and_killed_ends_with_the_bits_of_an_undisturbed_run(
    out: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = ("-m", "ssl_tt.cli", "pretrain", tiny_recipe, "--out", run)

    stopped = torchrun(*command)
    wait_for_checkpoint_after(-1, run, stopped)
    psutil.Process(stopped.pid).children()[1].send_signal(signal.SIGTERM)
    code, _, errors = ended(stopped)
    assert code == 1  # torchrun's own, whatever its processes leave with
    codes = re.findall(r"exitcode *: (-?\d+) ", errors)
    assert "3" in codes, errors
    assert set(codes) <= {"3", "-15"}, errors  # torchrun ends by SIGTERM what has not left with the first of them
    assert len(re.findall(r"stopped at step \d+ of 40; the same command goes on", errors)) == 2
    last = checkpoint.newest(run)
    assert last is not None
    step = int(last.name[5:])
    assert 0 < step < 40

    killed = torchrun(*command)
    wait_for_checkpoint_after(step, run, killed)
    for process in (*psutil.Process(killed.pid).children(), killed):
        process.kill()
    ended(killed)
    assert not (run / "cost.json").exists()

    code, said, errors = ended(torchrun(*command))
    assert code == 0, errors
    assert said == f"{run}\n"  # by the main process alone
    expected, found = (checkpoint.find(each, "last") for each in (out / "undisturbed", run))
    assert checkpoint.read_state(found)["step"] == 40
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = load_file(found / name), load_file(expected / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[tensor], theirs[tensor]) for tensor in theirs)
    curves = ([(line["step"], line["loss"]) for line in lines(each, "train")] for each in (out / "undisturbed", run))
    assert next(curves) == next(curves)
