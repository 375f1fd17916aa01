"""No damaged file brings about anything but a result or an error with a sentence, in bounded memory and time.

pytest -m long -s tests/test_fuzz.py      # 10,000 files, and a table of them
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzzed.py")


@pytest.mark.parametrize(("count", "seed"), [(1504, 0), pytest.param(10_000, 1, marks=pytest.mark.long)])
def test_a_damaged_file_is_read_or_refused_in_a_sentence(count: int, seed: int, tmp_path: Path) -> None:
    started = time.monotonic()
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(seed), str(count)],
        capture_output=True,
        text=True,
        errors="replace",  # libsndfile's MP3 decoder says what it thinks of a file
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    current = tmp_path / "current"
    where = current.read_text() if current.exists() else "the start"
    assert finished.returncode == 0, f"died at {where}, seed {seed}: {finished.stderr[-3000:]}"
    table = json.loads(finished.stdout)
    print(f"\n{count} files, seed {seed}: {time.monotonic() - started:.0f} s")
    print(f"{'format':12}{'files':>7}{'read':>7}{'refused':>9}{'faults':>8}{'slowest s':>11}{'memory MB':>11}")
    for name, found in table.items():
        numbers = found["files"], found["read"], found["refused"], len(found["faults"])
        print(f"{name:12}{numbers[0]:7}{numbers[1]:7}{numbers[2]:9}{numbers[3]:8}", end="")
        print(f"{found['slowest_seconds']:11.2f}{found['memory_mb']:11}")
    faults = [fault for found in table.values() for fault in found["faults"]]
    assert not faults, f"seed {seed}: {len(faults)} faults, such as\n" + "\n".join(faults[:5])
    assert sum(found["files"] for found in table.values()) >= count
    for name, found in table.items():
        assert found["read"], f"no {name} file was read: are the whole ones whole?"
        assert found["refused"], f"no {name} file was refused: are they damaged?"
