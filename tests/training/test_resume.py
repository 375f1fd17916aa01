"""A run that was stopped, in whatever way, and started again ends like one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssl_tt.training import checkpoint

OBJECTIVES = {
    "cpc": ["--objective.kind", "cpc"],
    "cpc of codes": [
        *("--objective.kind", "cpc", "--objective.quantizer.codes", "8", "--objective.quantizer.code_channels", "4"),
    ],
    "vqvae2": [
        *("--objective.kind", "vqvae2", "--objective.codes", "8", "--objective.code_channels", "4"),
        *("--objective.codebook_start", "kmeans", "--objective.time_jitter", "0.2"),
    ],
    "vqvae": ["--objective.kind", "vqvae", "--objective.codes", "8", "--objective.code_channels", "4"],
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def start(recipe: Path, out: Path, options: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ssl_tt.cli", "pretrain", str(recipe), "--out", str(out), *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.find(run, "last") / "model.safetensors")


def curve(run: Path) -> list[tuple[int, str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["split"], line["loss"]) for line in lines]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_killed_run_ends_with_the_bits_of_an_undisturbed_one(
    objective: str, tiny_recipe: Path, tmp_path: Path
) -> None:
    # The undisturbed run has no reader processes, the killed one two.
    undisturbed = start(tiny_recipe, tmp_path / "undisturbed", OBJECTIVES[objective])
    options = [*OBJECTIVES[objective], "--training.workers", "2"]
    killed = start(tiny_recipe, tmp_path / "killed", options)
    wait_for(tmp_path / "killed" / "checkpoints" / "step-00000000", killed)
    time.sleep(random.uniform(0.0, 0.5))  # any moment will do, so another one each time
    killed.kill()
    finish(killed)
    resumed = start(tiny_recipe, tmp_path / "killed", options)
    assert finish(resumed)[0] == 0
    assert finish(undisturbed)[0] == 0
    expected, found = weights(tmp_path / "undisturbed"), weights(tmp_path / "killed")
    assert expected.keys() == found.keys()
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not different
    assert curve(tmp_path / "killed") == curve(tmp_path / "undisturbed")


def test_sigterm_writes_a_checkpoint_and_leaves_with_3(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # With no periodic checkpoint on the way, what is there afterwards is the signal's.
    options = ["--training.steps", "100000", "--training.save_every_steps", "100000"]
    options += ["--training.validate_every_steps", "100000"]
    process = start(tiny_recipe, run, options)
    wait_for(run / "checkpoints" / "step-00000000", process)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert code == 3
    assert "stopped at step" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    last = checkpoint.newest(run)
    assert last is not None
    assert last.name != "step-00000000"


def test_a_full_disk_leaves_with_1_and_no_half_written_checkpoint(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    limit = 12_000  # bytes a file: the first checkpoint fits, in the next the optimizer has its state
    code = (
        "import resource, sys; from ssl_tt.cli import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); sys.exit(main())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "pretrain", str(tiny_recipe), "--out", str(run)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 1
    assert "cannot be written" in finished.stderr.splitlines()[-1]
    assert "Traceback" not in finished.stderr
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000000"]
    assert checkpoint.newest(run) is not None
