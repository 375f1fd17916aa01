"""The command line: help at once, one line for a mistake, the exit codes of the design."""

import csv
import io
import json
import re
import resource
import shutil
import subprocess
import sys
import typing
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_tt import cli, recipe
from ssl_tt.data.corpora import CORPORA
from ssl_tt.data.manifest import read_manifest
from ssl_tt.errors import InputError, RunError, StoppedEarly
from ssl_tt.training.config import CompareRecipe, PretrainRecipe
from ssl_tt.turns.presets import PRESETS

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


def test_prepare_names_every_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    hints = typing.get_type_hints(cli.Prepare, include_extras=True)
    literal, *_ = typing.get_args(hints["corpus"])
    assert sorted(typing.get_args(literal)) == sorted(CORPORA)
    assert cli.main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in CORPORA)


# --- Mistakes


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["pretrian"], "did you mean pretrain?"),
        (["check"], "Manifest to check:"),
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


def test_check_writes_the_good_conversations_for_lhotse(tiny_corpus: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    assert cli.main(["check", str(tiny_corpus), "--lhotse", str(tmp_path)]) == 0
    assert len(lhotse.load_manifest(tmp_path / "recordings.jsonl.gz")) == 8
    assert cli.main(["prepare", "lhotse", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 8


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


def call_of(segments: dict[str, list[list[float]]], duration_seconds: float, folder: Path) -> Path:
    """Manifest of one call without audio."""
    line = {
        "id": "call",
        "audio": None,
        "sample_rate_hz": None,
        "channels": 2,
        "duration_seconds": duration_seconds,
        "speakers": ["A", "B"],
        "segments": segments,
        "sha256": None,
        "split": None,
        "provenance": {},
    }
    manifest = folder / "manifest.jsonl"
    manifest.write_text(json.dumps(line) + "\n")
    return manifest


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt"])
def test_events_are_written_in_every_format(suffix: str, tmp_path: Path) -> None:
    # A ####....      .... B     a shift; A speaks again after B: another.
    manifest = call_of({"A": [[1.0, 4.0], [8.5, 11.0]], "B": [[5.0, 8.0]]}, 12.0, tmp_path)
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


EVENTS_OF_A_CALL = {  # kind, start, region, decision, who had the turn, speaker: how each is written
    "vap2022": {
        "predict_backchannel 3.1 3.1 3.6 A B": "predict_backchannel B",
        "short 3.6 3.6 3.8 A B": "short B",
        "backchannel 3.6 3.6 3.8 A B": "backchannel B",
        "non_shift 3.9 3.9 6.0 A A": "non_shift A",
        "hold 5.0 5.04 5.14 A A": "hold A > A",
        "predict_shift 7.0 7.0 7.5 A B": "predict_shift A > B",
        "shift 7.5 7.54 7.64 A B": "shift A > B",
        "long 8.0 8.0 8.2 A B": "long B",
        "shift_overlap 11.6 11.64 11.74 B A": "shift_overlap B > A",
    },
    "vap2023": {"hold 10.0 10.04 10.24 B B": "hold B > B"},
    "vap_event": {},
    "inoue2024": {"shift 7.5 7.52 7.54 A B": "shift A > B"},
    "skantze2017": {"shift 7.5 7.95 8.0 A B": "shift A > B"},
    "roddy2018": {
        "shift 7.5 7.95 8.0 A B": "shift A > B",
        "overlap 11.6 11.65 11.7 B A": "overlap B > A",
        "long 8.0 8.45 8.5 A B": "long B",
    },
}


@pytest.mark.parametrize("preset", EVENTS_OF_A_CALL)
def test_events_of_every_preset_are_written_and_counted(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segments = {
        "A": [[0.0, 5.0], [5.3, 7.5], [11.6, 13.4]],
        "B": [[3.6, 3.9], [8.0, 10.0], [10.4, 12.0]],
    }
    if preset == "roddy2018":  # segments under 25 ms are no speech, even if two fill a frame in the middle of a pause
        segments["B"][1:1] = [[7.6, 7.624], [7.625, 7.649]]
    manifest = call_of(segments, 14.0, tmp_path)
    rows = {}
    for suffix in ("jsonl", "csv", "txt"):
        out = tmp_path / f"events.{suffix}"
        assert cli.main(["events", str(manifest), "--out", str(out), "--preset", preset]) == 0
        said = capsys.readouterr().out.splitlines()
        lines = out.read_text().splitlines()
        rows[suffix] = [json.loads(line) for line in lines] if suffix == "jsonl" else lines
        kinds = [row["kind"] for row in rows["jsonl"]]
        assert said[0] == f"{out}: {len(kinds)} events"
        assert {kind: int(n) for n, kind in map(str.split, said[1:])} == {
            kind: kinds.count(kind) for kind in PRESETS[preset].kinds
        }
    assert [dict(row) for row in csv.DictReader(rows["csv"])] == [
        {name: str(value) for name, value in row.items()} for row in rows["jsonl"]
    ]
    names = ("kind", "start_seconds", "region_start_seconds", "decision_seconds", "previous", "next")
    labels = {
        " ".join(str(row[name]) for name in names): line.split("\t")[2]
        for row, line in zip(rows["jsonl"], rows["txt"], strict=True)
    }
    assert EVENTS_OF_A_CALL[preset].items() <= labels.items()


def test_a_preset_of_frames_refuses_another_rate_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = call_of({"A": [[1.0, 4.0]], "B": [[5.0, 8.0]]}, 12.0, tmp_path)
    options = ["--out", str(tmp_path / "events.csv"), "--preset", "roddy2018", "--frame-rate-hz", "50"]
    code, line = failed(capsys, "events", str(manifest), *options)
    assert code == 2
    assert "'call'" in line
    assert "--frame-rate-hz 20" in line
    assert not (tmp_path / "events.csv").exists()


def test_help_of_events_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["events", "--help"]) == 0
    said = capsys.readouterr().out
    assert [name for name in PRESETS if name not in said] == []


def test_an_unknown_preset_is_refused_in_one_line_with_the_nearest(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "events.csv"), "--preset", "rody2018"]
    assert failed(capsys, "events", str(tiny_corpus), *options) == (
        2,
        "unknown preset 'rody2018'; did you mean 'roddy2018'?",
    )


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


def test_field_warns_of_a_field_longer_than_the_conversations_to_be_simulated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--data.window_seconds", "130", "--encoder.stacks.0.dilations"]
    assert cli.main(["field", "recipes/demo.toml", *options, "1", "3000"]) == 0
    assert "longest conversation of data.pretrain lasts 120.00 s: shorten its dilations" in capsys.readouterr().err
    assert cli.main(["field", "recipes/demo.toml", *options, "1", "2900"]) == 0
    assert "longest conversation" not in capsys.readouterr().err


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


@pytest.fixture(scope="module")
def run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["pretrain", str(tiny_recipe), "--out", str(folder), "--training.steps", "2"]) == 0
    return folder


def write_call(path: Path, sample_rate_hz: int, n_samples: int) -> bytes:
    """Two channels of noise; its samples as bytes."""
    samples = np.random.default_rng(0).integers(-3000, 3000, (n_samples, 2)).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        writer.writeframes(samples)
    return samples


def test_pretrain_and_encode_go_together(run: Path, tmp_path: Path) -> None:
    audio = tmp_path / "call.wav"
    write_call(audio, 8000, 8000)  # resampled as it is read
    assert cli.main(["encode", str(run), str(audio), "--out", str(tmp_path / "call.npy")]) == 0
    features = np.load(tmp_path / "call.npy")
    assert features.shape == (2, 50, 8)
    assert features.dtype == np.float32


def test_stream_gives_the_frames_of_encode(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio, encoded, streamed = tmp_path / "call.wav", tmp_path / "encoded.npy", tmp_path / "streamed.npy"
    write_call(audio, 8000, 8100)
    assert cli.main(["encode", str(run), str(audio), "--out", str(encoded)]) == 0
    assert cli.main(["stream", str(run), str(audio), "--out", str(streamed)]) == 0
    np.testing.assert_allclose(np.load(streamed), np.load(encoded), rtol=0, atol=1e-5)
    capsys.readouterr()
    assert cli.main(["stream", str(run), str(audio)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(50))
    assert [line["end_seconds"] for line in lines[:2]] == [0.02, 0.04]
    found = np.array([line["encoder"] for line in lines], dtype=np.float32)
    assert np.array_equal(found.swapaxes(0, 1), np.load(streamed))


def test_stream_reads_standard_input_as_it_comes(run: Path, tmp_path: Path) -> None:
    samples = write_call(tmp_path / "call.wav", 16000, 1700)
    command = [sys.executable, "-m", "ssl_tt.cli", "stream", str(run), "-", "--representation", "context"]
    command += ["--sample-rate-hz", "16000", "--channels", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(5):  # a frame is out as soon as its last sample is in
            process.stdin.write(samples[number * 320 * 4 : (number + 1) * 320 * 4])
            process.stdin.flush()
            line = json.loads(process.stdout.readline())
            assert line["frame"] == number
            assert np.array(line["context"]).shape == (2, 8)
        process.stdin.write(samples[5 * 320 * 4 :])  # no whole frame
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "fed", "expected"),
    [
        (["-"], b"", "state both, such as --sample-rate-hz 16000 --channels 2"),
        (["-", "--sample-rate-hz", "8000", "--channels", "2"], b"", "audio at 8000 Hz, expected 16000 Hz"),
        (["-", "--sample-rate-hz", "16000", "--channels", "2"], b"123", "ended 3 bytes into a sample of 4"),
        (["-", "--sample-rate-hz", "16000", "--channels", "2", "--out", "a.npy"], b"1234", "before a frame of 320"),
        (["call.wav", "--channels", "2"], b"", "a file says its rate and channels itself"),
        (["call.wav", "--out", "call.txt"], b"", "call.txt: features are written as .npy"),
        (["call.wav", "--representation", "codes"], b"", "'codes': this run has encoder, context"),
        (["missing.wav"], b"", "missing.wav: No such file"),
    ],
)
def test_stream_refuses_in_one_line(
    options: list[str],
    fed: bytes,
    expected: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_call(tmp_path / "call.wav", 16000, 4000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(fed)))
    code, line = failed(capsys, "stream", str(run), *options)
    assert code == 2
    assert expected in line
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]


PARTS = ["--objective.parts.a.kind", "cpc", "--objective.parts.b.kind", "vqvae", "--objective.parts.a.steps", "2"]


@pytest.fixture(scope="module")
def vqvae_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "vqvae"
    options = ["--training.steps", "2", "--objective.kind", "vqvae", "--objective.codes", "16"]
    assert cli.main(["pretrain", str(tiny_recipe), "--out", str(folder), *options]) == 0
    return folder


def test_reconstruct_writes_what_can_be_heard_and_seen(
    vqvae_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, out = tmp_path / "call.wav", tmp_path / "heard"
    write_call(audio, 8000, 8000)
    asked = ["reconstruct", str(vqvae_run), str(audio), "--out", str(out), "--start-seconds", "0.25"]
    assert cli.main([*asked, "--seconds", "0.51"]) == 0
    assert re.fullmatch(rf"{out}: log spectral distance \d+\.\d and \d+\.\d dB", capsys.readouterr().out.strip())
    sounds = {}
    for name in ("original", "reconstruction"):
        with wave.open(str(out / f"{name}.wav")) as reader:
            assert (reader.getframerate(), reader.getnchannels(), reader.getnframes()) == (16000, 2, 25 * 320)
            sounds[name] = reader.readframes(25 * 320)
    assert sounds["original"] != sounds["reconstruction"]
    assert (out / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main([*asked, "--seconds", "0.51", "--seed", "1"]) == 0
    assert (out / "original.wav").read_bytes()[44:] == sounds["original"]
    assert (out / "reconstruction.wav").read_bytes()[44:] != sounds["reconstruction"]


def test_reconstruct_takes_a_recording_to_its_end_and_refuses_what_it_cannot_rebuild(
    run: Path, vqvae_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio, out = tmp_path / "call.wav", tmp_path / "heard"
    write_call(audio, 16000, 16000)
    assert cli.main(["reconstruct", str(vqvae_run), str(audio), "--out", str(out), "--start-seconds", "0.5"]) == 0
    with wave.open(str(out / "reconstruction.wav")) as reader:
        assert reader.getnframes() == 8000
    for given, options, expected in (
        (run, [], "a run of CPC has no decoder, or several; expected one of an autoencoder"),
        (vqvae_run, ["--start-seconds", "1"], "0.000 s from 1 s on and 5 s asked for, expected at least a frame of 20"),
        (vqvae_run, ["--seconds", "0.01"], "0.01 s asked for, expected at least a frame of 20 ms"),
    ):
        arguments = ["reconstruct", str(given), str(audio), "--out", str(tmp_path / "nothing"), *options]
        code, line = failed(capsys, *arguments)
        assert code == 2
        assert expected in line
        assert not (tmp_path / "nothing").exists()


def test_a_run_whose_decoder_is_a_wavenet_is_heard_and_reported(
    tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--training.steps", "2", "--objective.kind", "vqvae", "--objective.codes", "16"]
    options += ["--objective.decoder.kind", "wavenet", "--objective.decoder.dilations", "1", "2"]
    options += ["--objective.decoder.cycles", "1", "--objective.decoder.train_frames", "4"]
    run = tmp_path / "wavenet"
    assert cli.main(["pretrain", str(tiny_recipe), "--out", str(run), *options]) == 0
    write_call(tmp_path / "call.wav", 16000, 640)
    arguments = ["reconstruct", str(run), str(tmp_path / "call.wav"), "--out", str(tmp_path / "heard")]
    assert cli.main(arguments) == 0
    with wave.open(str(tmp_path / "heard" / "reconstruction.wav")) as reader:
        assert reader.getnframes() == 640
        assert len(set(reader.readframes(640))) > 50
    prior = ["prior", str(run), "--channels", "4", "--dilations", "1", "--steps", "2", "--sample-seconds", "0.04"]
    assert cli.main(prior) == 0
    with wave.open(str(run / "prior" / "sample.wav")) as reader:
        assert reader.getnframes() == 640


def test_prior_prints_its_bits_and_draws_codes_that_sound(vqvae_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in vqvae_run.rglob("*") if path.is_file()}
    asked = ["prior", str(vqvae_run), "--channels", "8", "--dilations", "1", "2", "--steps", "5"]
    assert cli.main([*asked, "--sample-seconds", "0.2"]) == 0
    bits, sample = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"codes: [\d.]+ bits a second under the prior, [\d.]+ by the codes' frequencies alone, "
        r"200.0 if all were alike; perplexity \d+ of 16 while speaking, \d+ in all",
        bits,
    )
    folder = vqvae_run / "prior"
    assert sample == str(folder / "sample.wav")
    codes = np.load(folder / "codes.npy")
    assert codes.shape == (10,)
    assert codes.max() < 16
    with wave.open(sample) as reader:
        assert reader.getnframes() == 10 * 320
    assert all(path.read_bytes() == content for path, content in before.items()), "the run was touched"
    made = (folder / "codes.safetensors").stat().st_mtime_ns
    assert cli.main(asked) == 0
    assert capsys.readouterr().out.splitlines() == [bits]
    assert (folder / "codes.safetensors").stat().st_mtime_ns == made, "trained again"
    assert cli.main([*asked, "--seed", "1"]) == 0
    assert (folder / "codes.safetensors").stat().st_mtime_ns > made


def test_prior_refuses_a_run_without_codes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failed(capsys, "prior", str(run))
    assert code == 2
    assert 'a run of CPC is not rebuilt from codes, expected one of objective.kind "vqvae" or "vqvae2"' in line
    assert not (run / "prior").exists()


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        (["vae"], {}),
        (["vqvae", "--objective.groups", "2", "--objective.distance", "cosine"], {"codes": (13, 2)}),
        (["vqvae2", "--objective.codes", "8"], {"codes_top": (3,), "codes_bottom": (12,)}),
        (["joint", *PARTS], {}),
    ],
    ids=["vae", "groups", "vqvae2", "joint"],
)
def test_every_autoencoder_is_heard_and_those_of_codes_have_a_prior_of_every_level(
    options: list[str],
    shapes: dict[str, tuple[int, ...]],
    tiny_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, out = tmp_path / "run", tmp_path / "heard"
    options = ["--training.steps", "2", "--objective.kind", *options]
    assert cli.main(["pretrain", str(tiny_recipe), "--out", str(run), *options]) == 0
    write_call(tmp_path / "call.wav", 16000, 6400)
    assert cli.main(["reconstruct", str(run), str(tmp_path / "call.wav"), "--out", str(out)]) == 0
    with wave.open(str(out / "reconstruction.wav")) as reader:
        assert reader.getnframes() == 6400
        assert len(set(reader.readframes(6400))) > 50
    capsys.readouterr()
    if not shapes:
        code, line = failed(capsys, "prior", str(run))
        assert code == 2
        assert "is not rebuilt from codes" in line
        return
    asked = ["prior", str(run), "--channels", "4", "--dilations", "1", "--steps", "2", "--sample-seconds", "0.26"]
    assert cli.main(asked) == 0
    *levels, sample = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in levels] == [*shapes, *(["together"] if len(shapes) > 1 else [])]
    facts = json.loads((run / "prior" / "prior.json").read_text())
    for bits in ("prior", "unigram", "uniform"):
        total = sum(facts["levels"][name]["bits"][bits] for name in shapes)
        assert facts["together"][bits] == pytest.approx(total)
        assert f" {total:.1f} " in levels[-1]
    for name, shape in shapes.items():
        for use in ("perplexity", "perplexity_speaking"):
            assert len(facts["levels"][name][use]) == (shape[1] if len(shape) > 1 else 1)
    for name, shape in shapes.items():
        assert np.load(run / "prior" / f"{name}.npy").shape == shape
    with wave.open(sample) as reader:
        assert reader.getnframes() == max(shape[0] for shape in shapes.values()) * 320
    heard = Path(sample).read_bytes()
    assert cli.main(asked) == 0
    assert capsys.readouterr().out.splitlines() == [*levels, sample], "not found again"
    assert Path(sample).read_bytes() == heard, "drawn otherwise"


def test_export_prints_how_near_it_comes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "exported"
    assert cli.main(["export", str(run), "--out", str(out), "--chunk-ms", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [str(out / "stream.onnx"), str(out / "encoder.onnx")]
    assert all("largest difference to PyTorch" in line for line in lines)
    assert failed(capsys, "export", str(run), "--out", str(tmp_path / "again"), "--chunk-ms", "25")[0] == 2
    assert not (tmp_path / "again").exists()
