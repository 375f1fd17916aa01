"""The command line: help at once, one line for a mistake, the exit codes of the design."""

import csv
import json
import resource
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_tt import cli, recipe
from ssl_tt.data.manifest import read_manifest
from ssl_tt.errors import InputError, RunError, StoppedEarly
from ssl_tt.training.config import CompareRecipe, PretrainRecipe

WITH_A_RECIPE = {"pretrain": PretrainRecipe, "compare": CompareRecipe, "demo": CompareRecipe}


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Exit code and the one line on stderr."""
    code = cli.main(argv)
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.count("\n") == 1, errors
    return code, errors.strip()


# --- Help


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_answers_at_once_without_torch(verb: str) -> None:
    code = "import sys; from ssl_tt.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", code, *([verb] if verb else []), "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished.returncode == 0, "torch was imported"
    assert "Example: ssl-tt" in finished.stdout
    # Time of the processor, twice what is promised: a busy machine shares its caches too.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize(("verb", "model"), WITH_A_RECIPE.items())
def test_help_tells_every_field_of_the_recipe(
    verb: str, model: type[recipe.Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    for each in recipe.fields(model):
        option = f"{each.table}.{each.name}" if each.table else each.name
        assert f"--{option.replace('_', '-')} " in text


def test_help_tells_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"• {verb} " in text for verb in cli.VERBS)


# --- Mistakes


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["pretrian"], "did you mean pretrain?"),
        (["check"], "Manifest to check."),
        (["check", "missing.jsonl"], "missing.jsonl"),
        (["check", "missing.jsonl", "--cleen", "x"], "--cleen"),
        (["pretrain", "missing.toml"], "recipe missing.toml: no such file"),
        (["simulate", "--out", "x", "--hourz", "1"], "option --hourz: unknown field; did you mean --hours?"),
        (["prepare", "primock58", ".", "--out", "x"], "primock57"),
        (["field"], "no recipe given; name one, or a folder for the post's figures by --post"),
        (["field", "a.toml", "--post", "x"], "--post draws encoders of its own and does not read a.toml"),
        (["field", "--post", "x", "--encoder.stride", "1"], "does not read --encoder.stride: leave it out"),
        (["encode", "missing", "a.wav", "--out", "a.txt"], "a.txt: features are written as .npy"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_with_2(
    argv: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = failed(capsys, *argv)
    assert code == 2
    assert expected in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a\nb"), 2),
        (RunError("disk"), 1),
        (StoppedEarly("stopped"), 3),
        (OSError(28, "No space left on device", "a.wav"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(cli.Check, "run", fail)
    assert failed(capsys, "check", "manifest.jsonl")[0] == code
    monkeypatch.setenv("SSL_TT_DEBUG", "1")
    with pytest.raises(type(error)):
        cli.main(["check", "manifest.jsonl"])


# --- Verbs


def test_check_lists_all_bad_items_and_writes_the_good_ones(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "corpus"
    shutil.copytree(tiny_corpus.parent, folder)
    assert cli.main(["check", str(folder / "manifest.jsonl")]) == 0
    (folder / "conversation-1.wav").unlink()
    (folder / "conversation-4.wav").write_bytes(b"no audio")
    capsys.readouterr()
    clean = folder / "clean.jsonl"
    assert cli.main(["check", str(folder / "manifest.jsonl"), "--clean", str(clean)]) == 2
    errors = capsys.readouterr().err
    assert "conversation-1" in errors
    assert "conversation-4" in errors
    assert len(read_manifest(clean)) == 6


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_events_are_written_in_every_format(suffix: str, tmp_path: Path) -> None:
    # A ####....      .... B     a shift; A speaks again after B: another.
    segments = {"A": [[1.0, 4.0], [8.5, 11.0]], "B": [[5.0, 8.0]]}
    line = {
        "id": "call",
        "audio": None,
        "sample_rate_hz": None,
        "channels": 2,
        "duration_seconds": 12.0,
        "speakers": ["A", "B"],
        "segments": segments,
        "sha256": None,
        "split": None,
        "provenance": {},
    }
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps(line) + "\n")
    out = tmp_path / f"events{suffix}"
    assert cli.main(["events", str(manifest), "--out", str(out)]) == 0
    expected = [("shift", 4.0, 5.0, "A", "B"), ("shift", 8.0, 8.5, "B", "A")]
    if suffix == ".txt":
        found = [text.split("\t") for text in out.read_text().splitlines()]
        assert found == [[f"{s:.3f}", f"{e:.3f}", f"{kind} {a} > {b}"] for kind, s, e, a, b in expected]
        return
    with out.open() as file:
        rows = list(csv.DictReader(file)) if suffix == ".csv" else [json.loads(text) for text in file]
    names = ("start_seconds", "end_seconds")
    found = [(row["kind"], *(float(row[name]) for name in names), row["previous"], row["next"]) for row in rows]
    assert found == expected


def test_labels_of_several_conversations_are_refused(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = failed(capsys, "events", str(tiny_corpus), "--out", str(tmp_path / "events.txt"))
    assert code == 2
    assert "--conversation" in line


def test_simulate_makes_a_corpus_that_check_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--hours", "0.02", "--conversation-seconds", "12", "--speakers", "12", "--seed", "3"]
    assert cli.main(["simulate", "--out", str(tmp_path / "corpus"), *options]) == 0
    manifest = capsys.readouterr().out.strip()
    assert manifest == str(tmp_path / "corpus" / "manifest.jsonl")
    assert cli.main(["check", manifest]) == 0


def test_field_prints_the_receptive_field_and_draws_it(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "field.png"
    assert cli.main(["field", str(tiny_recipe), "--out", str(picture), "--encoder.stacks.0.dilations", "1", "2"]) == 0
    assert "ms" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "span", "reached"),
    [
        ("post/k3-d1", 11, 11),
        ("post/k3-d2", 5, 3),
        ("post/k3-d3", 31, 11),
        ("post/two-stacks-end", 31, 18),
        ("post/two-stacks-every-layer", 31, 29),
        ("post/four-stacks-end", 61, 35),
        ("post/four-stacks-every-layer", 61, 56),
        ("fields/1s", 130, 130),
        ("fields/2s", 252, 252),
        ("fields/3s", 330, 330),
    ],
)
def test_field_prints_what_the_recipes_say(
    name: str, span: int, reached: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("recipes") / f"{name}.toml"
    assert cli.main(["field", str(path)]) == 0
    printed = capsys.readouterr()
    (together,) = (line.split()[1:] for line in printed.out.splitlines() if line.split()[0] == "all")
    assert together[:3] == [str(span), str(reached), str(span - reached)]
    assert ("holes" in printed.err) == (span > reached)
    header = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert (f"{span} frames of 10 ms, no holes" if name.startswith("fields") else f"{reached} of {span}") in header


def test_pretrain_and_encode_go_together(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli.main(["pretrain", str(tiny_recipe), "--out", str(run), "--training.steps", "2"]) == 0
    audio = tmp_path / "call.wav"
    with wave.open(str(audio), "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)  # resampled as it is read
        writer.writeframes(np.zeros((8000, 2), dtype="<i2").tobytes())
    assert cli.main(["encode", str(run), str(audio), "--out", str(tmp_path / "call.npy")]) == 0
    features = np.load(tmp_path / "call.npy")
    assert features.shape == (2, 50, 8)
    assert features.dtype == np.float32
