"""A run that was stopped, in whatever way, and started again ends like one that was not."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from warm import Started, assert_same_end

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
# A run that goes on for long and saves only when it is asked to stop.
ENDLESS = [
    *("--training.steps", "100000", "--training.save_every_steps", "100000", "--training.log_every_steps", "1"),
    *("--training.validate_every_steps", "100000"),
]


def start(recipe: Path, out: Path, options: Sequence[str] = (), largest_file_bytes: int | None = None) -> Started:
    arguments = ["pretrain", str(recipe), "--out", str(out), *options]
    return Started(arguments, out.with_suffix(".log"), largest_file_bytes)


def wait_for(path: Path, started: Started) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert started.process.is_alive(), started.said
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


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
    killed.process.kill()
    killed.code()
    resumed = start(tiny_recipe, tmp_path / "killed", options)
    assert resumed.code() == 0, resumed.said
    assert undisturbed.code() == 0, undisturbed.said
    assert_same_end(tmp_path / "killed", tmp_path / "undisturbed")


# --- Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_leaves_with_3(
    number: signal.Signals, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(tiny_recipe, run, ENDLESS)
    wait_for(run / "checkpoints" / "step-00000000", process)
    time.sleep(0.3)
    process.send(number)
    time.sleep(0.01)
    process.send(number)  # as a launcher does that hands on what its processes have had already
    assert process.code() == 3, process.said
    assert "stopped at step" in process.said.splitlines()[-1]
    assert "Traceback" not in process.said
    # With no periodic checkpoint on the way, what is there now is the signal's.
    last = checkpoint.newest(run)
    assert last is not None
    assert last.name != "step-00000000"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals, tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Of a step so long that it is not over when the second signal comes.
    options = ["--training.steps", "100000", "--training.save_every_steps", "100000"]
    process = start(tiny_recipe, run, [*options, "--training.batch_windows", "4000", "--training.accumulation", "1000"])
    wait_for(run / "checkpoints" / "step-00000000", process)
    process.send(signal.SIGTERM)
    time.sleep(1.3)
    assert process.process.is_alive()  # still in its step
    process.send(second)
    assert process.code(timeout_seconds=5) == -second  # 128 + its number for a shell
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000000"]
    assert checkpoint.newest(run) is not None


# --- Storage


def test_a_full_disk_leaves_with_1_and_no_half_written_checkpoint(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Bytes a file: the first checkpoint fits, in the next the optimizer has its state.
    process = start(tiny_recipe, run, largest_file_bytes=12_000)
    assert process.code() == 1
    assert "cannot be written" in process.said.splitlines()[-1]
    assert "Traceback" not in process.said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000000"]
    assert checkpoint.newest(run) is not None


def test_a_disk_that_is_full_for_the_metrics_leaves_with_1_and_loses_no_line(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = [*ENDLESS, "--training.steps", "60"]
    process = start(tiny_recipe, run, options)
    wait_for(run / "checkpoints" / "step-00000000", process)
    process.send(signal.SIGTERM)
    assert process.code() == 3
    before = (run / "metrics.jsonl").read_bytes()
    full = start(tiny_recipe, run, options, largest_file_bytes=len(before) + 3000)
    assert full.code() == 1
    assert "cannot be written" in full.said.splitlines()[-1]
    assert "Traceback" not in full.said
    # With room again, nothing is missing.
    resumed = start(tiny_recipe, run, options)
    assert resumed.code() == 0, resumed.said
    after = (run / "metrics.jsonl").read_bytes()
    assert after.startswith(before)
    steps = [line["step"] for line in map(json.loads, after.splitlines()) if line["split"] == "train"]
    assert steps == list(range(1, 61))


def test_a_run_folder_that_vanishes_leaves_with_1_and_is_not_made_anew(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tiny_recipe, run, ["--training.steps", "100000"])
    wait_for(run / "checkpoints" / "step-00000005", process)
    run.rename(tmp_path / "gone")
    assert process.code() == 1
    assert "cannot be written (No such file or directory)" in process.said.splitlines()[-1]
    assert "Traceback" not in process.said
    assert not run.exists()
    assert checkpoint.newest(tmp_path / "gone") is not None


def test_audio_that_vanishes_leaves_with_1_and_goes_on_when_it_is_back(
    tiny_corpus: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(tiny_corpus.parent, corpus, ignore=shutil.ignore_patterns("*.toml"))
    options = ["--data.pretrain", str(corpus / tiny_corpus.name)]
    undisturbed = start(tiny_recipe, tmp_path / "undisturbed", options)
    assert undisturbed.code() == 0
    run = tmp_path / "run"
    process = start(tiny_recipe, run, [*options, "--training.workers", "1", "--training.keep_checkpoints", "1"])
    wait_for(run / "checkpoints" / "step-00000005", process)
    corpus.rename(tmp_path / "gone")
    assert process.code() == 1
    assert "more than the share of 0.01" in process.said.splitlines()[-1]
    assert "Traceback" not in process.said
    refused = start(tiny_recipe, run, options)
    assert refused.code() == 2
    (tmp_path / "gone").rename(corpus)
    resumed = start(tiny_recipe, run, options)
    assert resumed.code() == 0, resumed.said
    assert_same_end(run, tmp_path / "undisturbed")


def test_a_reader_process_that_dies_leaves_with_1(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tiny_recipe, run, ["--training.steps", "100000", "--training.workers", "1"])
    wait_for(run / "checkpoints" / "step-00000005", process)
    children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)  # as the kernel does where memory runs out
    assert process.code() == 1
    assert "a process that reads audio has died" in process.said.splitlines()[-1]
    assert "Traceback" not in process.said
    assert checkpoint.newest(run) is not None


def test_a_folder_that_cannot_be_written_is_told(tiny_recipe: Path, tmp_path: Path) -> None:
    process = Started(["pretrain", str(tiny_recipe), "--out", "/proc/run"], tmp_path / "log")  # not even by root
    assert process.code() == 1
    assert process.said.startswith("/proc/run/recipe.toml: cannot be written (")
    assert process.said.count("\n") == 1
