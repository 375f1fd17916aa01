"""SIGKILL at any moment: every checkpoint that is there can be loaded, and the run ends as if nothing had been.

pytest -m long -s tests/training/test_kills.py      # 200 kills, and a table of them
"""

import random
import signal
import time
from pathlib import Path

import pytest
from warm import Started, assert_same_end

from ssl_tt.training import checkpoint

OPTIONS = [
    *("--training.steps", "40", "--training.save_every_steps", "2", "--training.validate_every_steps", "8"),
    *("--training.log_every_steps", "2", "--training.validation_windows", "2", "--training.batch_windows", "2"),
    *("--objective.quantizer.codes", "8", "--objective.quantizer.code_channels", "4"),
]


@pytest.mark.parametrize("kills", [25, pytest.param(200, marks=pytest.mark.long)])
def test_no_kill_loses_a_checkpoint_or_changes_a_bit(kills: int, tiny_recipe: Path, tmp_path: Path) -> None:
    def started(run: Path) -> Started:
        return Started(["pretrain", str(tiny_recipe), "--out", str(run), *OPTIONS], tmp_path / "log")

    undisturbed = tmp_path / "undisturbed"
    assert started(tmp_path / "warm-up").code() == 0  # which waits for the server of the forks
    begun = time.monotonic()
    assert started(undisturbed).code() == 0
    lasts_seconds = time.monotonic() - begun

    moments = random.Random(0)
    runs, without, writing, loaded = [0], 0, 0, 0  # kills of each run; before a checkpoint, while writing one
    begun = time.monotonic()
    while True:
        run = tmp_path / f"run-{len(runs)}"
        process = started(run)
        if sum(runs) < kills:
            process.process.join(moments.uniform(0.1, 0.5) * lasts_seconds)
            process.process.kill()
        if process.code() == -signal.SIGKILL:
            runs[-1] += 1
            found = list((run / "checkpoints").glob("step-*"))
            for each in found:
                checkpoint.load_objective(each)
            loaded += len(found)
            without += not found
            writing += any((run / "checkpoints").glob(".step-*"))
            continue
        assert process.code() == 0, process.said
        assert_same_end(run, undisturbed)
        if sum(runs) == kills:
            break
        runs.append(0)
    print(
        f"\n{kills} kills in {time.monotonic() - begun:.0f} s, of {len(runs)} runs of {lasts_seconds:.1f} s (most "
        f"of one run: {max(runs)}): {without} before the first checkpoint, {writing} while one was being written; "
        f"{loaded} checkpoints loaded, 0 could not be; every run ended with the bits of the undisturbed one"
    )
    assert max(runs) > 1  # some resume was itself killed and resumed
