"""Files that grow by lines are cut back to a checkpoint, and survive a crash."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssl_tt.errors import InputError
from ssl_tt.training.journal import cut_back

LINES = [json.dumps({"step": step, "loss": 1 / (step + 1)}) + "\n" for step in range(5)]


def early(entry: dict[str, Any]) -> bool:
    return entry["step"] <= 2


@pytest.mark.parametrize("end", ["", '{"step": 5, "lo', "\0\0\0\0"])
def test_what_comes_after_the_checkpoint_and_a_line_cut_by_a_crash_go(end: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(LINES) + end)
    assert [entry["step"] for entry in cut_back(path, early, write=True)] == [0, 1, 2]
    assert path.read_text() == "".join(LINES[:3])
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_process_that_writes_changes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(LINES))
    assert len(cut_back(path, early, write=False)) == 3
    assert path.read_text() == "".join(LINES)


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    assert cut_back(tmp_path / "metrics.jsonl", early, write=True) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["{", "[1]", '"step"', '{"stop": 1}', '{"step": null}', "[" * 10_000, "7" * 5000])
def test_a_damaged_line_is_told(line: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join([LINES[0], line + "\n", LINES[1]]))
    with pytest.raises(InputError, match=r"metrics\.jsonl line 2: not as it was written"):
        cut_back(path, early, write=True)
    assert path.read_text().count("\n") == 3
