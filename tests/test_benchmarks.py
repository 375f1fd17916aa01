"""The benchmarks still run: small, so that their numbers mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_benchmark_of_turns_measures_events_probes_and_heads(tmp_path: Path) -> None:
    out = tmp_path / "turns.json"
    small = ["--repeats", "1", "--hours", "0.05", "--rows", "2000", "--columns", "16", "--seconds", "120"]
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "turns.py"), "--out", str(out), *small], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text())
    assert {row["preset"] for row in found["rows"]} >= {"vap2022", "inoue2024", "skantze2017"}
    assert {row["task"] for row in found["probes"]} == {"shift_hold", "future_activity", "voice_activity", "phone"}
    assert {(row["work"], row["head"], row["mode"], row.get("features")) for row in found["heads"]} == {
        *(("training", head, mode, None) for head in ("FC", "LSTM") for mode in ("frozen", "finetune")),
        *(("evaluation", head, "frozen", features) for head in ("FC", "LSTM") for features in ("cached", "made first")),
    }
    assert all(0 < least <= median <= most for median, least, most in (r["seconds_per_second"] for r in found["heads"]))
    assert all(row["cpu_seconds"] > 0 for row in found["probes"])
    for name in ("preset", "probe", "work"):
        assert f"| {name} |" in ran.stdout


def test_the_benchmark_of_scaling_measures_processes_checkpoints_and_steps(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    small = ["--repeats", "1", "--steps", "2", "--channels", "8", "--windows", "2", "--seconds", "2"]
    small += ["--settings", "2x1", "--minutes", "2", "--device", "cpu", "--objectives", "CPC", "--no-compile"]
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "scaling.py"), "--out", str(out), *small], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text())
    (row,) = found["processes"]
    assert (row["channels"], row["processes"], row["threads"]) == (8, 2, 1)
    assert row["audio_seconds_per_second"][0] > 0
    shares = [found["checkpoints"]["shares"][every][0] for every in ("500", "100", "10")]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    (step,) = found["steps"]
    assert (step["objective"], step["channels"], step["windows"], step["compiled"]) == ("CPC", 8, 2, False)
    assert step["audio_seconds_per_second"][0] > 0
    assert 0 < step["share_of_peak"][0] < 1
    assert 0.2 < sum(kernel["share"] for kernel in step["kernels"]) <= 1
    for name in ("processes", "parameters", "objective"):
        assert f" {name} |" in ran.stdout


def test_the_benchmark_of_data_measures_reading_starting_and_waiting(tmp_path: Path) -> None:
    out = tmp_path / "data.json"
    small = ["--repeats", "1", "--minutes", "0.5", "--hours", "1", "--steps", "1", "--batch", "1"]
    small += ["--workers", "1"]
    ran = subprocess.run(
        [sys.executable, str(BENCHMARKS / "data.py"), "--out", str(out), *small], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text())
    cases = {(name, n) for name in ("WAV", "FLAC", "shards", "shards, URL") for n in (1,)}
    assert {(row["format"], row["workers"]) for row in found["read"]} == cases
    assert {(row["format"], row["workers"]) for row in found["wait"]} == cases
    assert all(row["hours_per_second"][0] > 0 for row in found["read"])
    assert all(0 <= row["waiting_share"][0] < 1 for row in found["wait"])
    assert [(row["hours"], row["conversations"]) for row in found["start"]] == [(1, 6)]
    assert all(row["start_seconds"][0] > 0 and row["first_seconds"] > 0 for row in found["start"])
    assert "| hours |" in ran.stdout
