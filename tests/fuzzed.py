"""Every kind of file that is read, damaged in many ways: whatever comes of it is a result or an error with a sentence.

    python tests/fuzzed.py FOLDER SEED COUNT        # prints a table as JSON; FOLDER is filled with what is damaged

Run by test_fuzz.py in a process of its own, whose memory is limited. A new format is a line in FORMATS.
"""

import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from data.corpora.on_disk import ON_DISK
from mutations import mutated

from ssl_tt import recipe
from ssl_tt.data import audio
from ssl_tt.data.annotation.textgrid import read_textgrid
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.manifest import read_manifest, split_conversations, write_manifest
from ssl_tt.data.phones import Phone, read_phones, write_phones
from ssl_tt.data.prepare import prepare_shards
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives import build
from ssl_tt.training import checkpoint, loop
from ssl_tt.training.config import CompareRecipe, FinetuneRecipe, PretrainRecipe, StudyRecipe, TrainingConfig
from ssl_tt.training.journal import cut_back
from ssl_tt.turns.activity import activity

RECIPES = Path(__file__).parent.parent / "recipes"
MEMORY_BYTES = 1 << 30  # that a file may take, beyond what the process has when it starts
FILE_SECONDS = 10


class Format(NamedTuple):
    """A kind of file: how to make whole ones in a folder, and what is done to one by who uses it."""

    write: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]


# --- Formats ---------------------------------------------------------------------------------------------------------


def _write_audio(folder: Path) -> list[Path]:
    kinds = [
        *(("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("wav", "ULAW"), ("flac", "PCM_16")),
        *(("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"), ("au", "PCM_16")),
        *(("nist", "PCM_16"), ("w64", "PCM_16"), ("rf64", "PCM_16")),
    ]
    noise = 0.1 * np.random.default_rng(0).standard_normal((2000, 2))
    paths = []
    for container, subtype in kinds:
        paths.append(folder / f"{subtype}.{container}")
        soundfile.write(paths[-1], noise, 8000, subtype=subtype, format=container.upper())
    return paths


def _read_audio(path: Path) -> None:
    audio.warnings(path)
    audio.read(path, sample_rate_hz=16_000)


def _write_textgrid(folder: Path) -> list[Path]:
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2.5\ntiers? <exists>\nsize = 2\n'
    tiers = 'item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "ann"\n        xmin = 0\n'
    tiers += "        xmax = 2.5\n        intervals: size = 2\n"
    for number, (start, end, text) in enumerate([(0, 1.25, "hello"), (1.25, 2.5, 'she said ""no""')], start=1):
        tiers += f"        intervals [{number}]:\n            xmin = {start}\n            xmax = {end}\n"
        tiers += f'            text = "{text}"\n'
    tiers += '    item [2]:\n        class = "TextTier"\n        name = "bell"\n        xmin = 0\n        xmax = 2.5\n'
    tiers += '        points: size = 1\n        points [1]:\n            number = 1.5\n            mark = "ring"\n'
    (folder / "a.TextGrid").write_text(head + tiers)
    (folder / "b.TextGrid").write_text(head + tiers, encoding="utf-16")
    return [folder / "a.TextGrid", folder / "b.TextGrid"]


def _write_rttm(folder: Path) -> list[Path]:
    lines = [f"SPEAKER meeting 1 {1.5 * n} {1.25 + n / 100} <NA> <NA> {'ab'[n % 2]} <NA> <NA>" for n in range(8)]
    path = folder / "meeting.rttm"
    path.write_text("\n".join([";; made for a test", "SPKR-INFO meeting 1 <NA> <NA> <NA> unknown a <NA>", *lines, ""]))
    return [path]


def _conversations(folder: Path) -> list[Conversation]:
    return [
        Conversation(
            id=f"call-{number}",
            audio=folder / "call.wav" if number % 2 else None,
            sample_rate_hz=16_000 if number % 2 else None,
            channels=2,
            duration_seconds=61.5,
            speakers=(f"ann-{number}", f"bob-{number}"),
            segments=((Segment(0.4, 2.1), Segment(5, 61.25)), (Segment(2.0, 5.5),)),
            sha256="0" * 64,
            provenance={"corpus": "test", "numbers": [1, 2.5]},
        )
        for number in range(6)
    ]


def _write_manifest(folder: Path) -> list[Path]:
    write_manifest(folder / "manifest.jsonl", _conversations(folder))
    return [folder / "manifest.jsonl"]


def _read_manifest(path: Path) -> None:
    conversations = read_manifest(path)
    for conversation in conversations:
        activity(conversation, 50)
    split_conversations(conversations, 0.2, 0.2, 0)


def _write_phones(folder: Path) -> list[Path]:
    spoken = {c.id: [[Phone(0.4, 0.5, "h"), Phone(0.5, 0.75, "ə")]] * 2 for c in _conversations(folder)}
    write_phones(folder / "phones.jsonl", _conversations(folder), spoken)
    return [folder / "phones.jsonl"]


def _read_phones(path: Path) -> None:
    read_phones(path.with_name("manifest.jsonl"), _conversations(path.parent))


_MODELS = {"cpc": PretrainRecipe, "joint": PretrainRecipe, "demo": CompareRecipe, "cues": StudyRecipe}
_MODELS |= {"vqvae-wavenet": PretrainRecipe, "finetune": FinetuneRecipe, "vqcpc": PretrainRecipe}


def _write_recipes(folder: Path) -> list[Path]:
    paths = [folder / f"{name}.toml" for name in _MODELS]
    for path in paths:
        path.write_bytes((RECIPES / path.name).read_bytes())
    return paths


def _read_recipe(path: Path) -> None:
    recipe.load(path, _MODELS[path.stem])


_ENCODER = ["--encoder.channels", "4", "--encoder.output_channels", "4", "--encoder.frontend.mel_bands", "8"]
_ENCODER += ["--encoder.stacks.0.dilations", "1", "2"]


def write_run(folder: Path) -> list[Path]:
    """A run directory with one checkpoint of a small VQ-VAE, whose optimizer has a state."""
    options = ["--name", "small", "--data.pretrain", "none.jsonl", "--objective.kind", "vqvae", *_ENCODER]
    settings = recipe.load(None, PretrainRecipe, [*options, "--objective.codes", "4", "--objective.code_channels", "4"])
    (folder / "recipe.toml").write_text(recipe.dump(settings))
    objective = build(settings.objective, Encoder(settings.encoder))
    optimizer = loop.adamw(objective, TrainingConfig())
    for parameter in objective.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = {"best": {"step": 10, "loss": 1.5}, "data": "0" * 64, "seconds": 1.5, "cpu_seconds": 2.5}
    state |= {"since_log": {"steps": 2.0, "loss": 3.5}}
    moments = checkpoint.optimizer_tensors(optimizer)
    saved = checkpoint.save(folder, 10, objective.state_dict(), moments, state)
    return [folder / "recipe.toml", *sorted(saved.iterdir())]


def _read_run(path: Path) -> None:
    """Load what is in the run; its digests are made to fit, by whoever did the damage, unless it is done to them."""
    run = path.parent if path.name == "recipe.toml" else path.parent.parent.parent
    saved = run / "checkpoints" / "step-00000010"
    if path.name != "digests.json":
        names = ("model.safetensors", "optimizer.safetensors", "state.json")
        digests = {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in names}
        (saved / "digests.json").write_text(json.dumps(digests))
    with contextlib.redirect_stderr(io.StringIO()):
        objective = checkpoint.load_objective(run)
        checkpoint.read_state(saved)
        checkpoint.restore_optimizer(loop.adamw(objective, TrainingConfig()), saved)


def _write_journal(folder: Path) -> list[Path]:
    lines = [{"step": step, "split": "train", "loss": 1 / (step + 1)} for step in range(20)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [folder / "metrics.jsonl"]


def _read_journal(path: Path) -> None:
    cut_back(path, lambda line: line["step"] <= 10, write=True)


def _write_shards(folder: Path) -> list[Path]:
    (folder / "calls").mkdir()
    for number in range(3):
        noise = 0.1 * np.random.default_rng(number).standard_normal((2000, 2))
        soundfile.write(folder / "calls" / f"{number}.wav", noise, 8000)
    prepared = prepare_shards("folder", folder / "calls", folder / "shards", None, processes=1)
    return [prepared.manifest, prepared.manifest.with_name("shard-00000.tar")]


def _read_shards(path: Path) -> None:
    for conversation in read_manifest(path.with_name("manifest.jsonl")):
        audio.warnings(audio.audio_path(conversation))


def _corpus(name: str) -> Format:
    """A corpus in its real form, of which an annotation is damaged."""
    return Format(
        lambda folder: [ON_DISK[name](folder / "corpus").damaged],
        lambda path: list(read_corpus(name, next(each for each in path.parents if each.name == "corpus"))),
    )


FORMATS = {
    "audio": Format(_write_audio, _read_audio),
    "TextGrid": Format(_write_textgrid, read_textgrid),
    "RTTM": Format(_write_rttm, lambda path: list(read_corpus("rttm", path.parent))),
    "manifest": Format(_write_manifest, _read_manifest),
    "phones": Format(_write_phones, _read_phones),
    "recipe": Format(_write_recipes, _read_recipe),
    "checkpoint": Format(write_run, _read_run),
    "metrics": Format(_write_journal, _read_journal),
    "shards": Format(_write_shards, _read_shards),
    **{
        name: _corpus(name)
        for name in ("switchboard", "fisher", "callhome", "maptask", "candor", "ami", "harpervalley")
    },
}


# --- The run ---------------------------------------------------------------------------------------------------------


class TooLong(BaseException):
    """No Exception: nothing that is fuzzed shall catch it."""


def _too_long(number: int, frame: object) -> None:
    raise TooLong


def fuzz(name: str, folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Damage files of a format `count` times; how many were read, refused, or brought something else about."""
    form = FORMATS[name]
    folder.mkdir()
    paths = form.write(folder)
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in paths:
        form.read(path)  # what is whole can be read
    found: dict[str, Any] = {"files": count, "read": 0, "refused": 0, "slowest_seconds": 0.0, "faults": []}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        path, donor = (paths[place] for place in rng.integers(0, len(paths), 2))
        path.write_bytes(mutated(whole[path], whole[donor], rng))
        (folder.parent / "current").write_text(f"{name} {number}")
        started = time.perf_counter()
        signal.alarm(FILE_SECONDS)
        try:
            form.read(path)
            found["read"] += 1
        except (InputError, RunError) as error:
            found["refused"] += 1
            if "\n" in str(error) or len(str(error)) > 10_000:
                found["faults"].append(f"{name} {number}: no line of its own: {str(error)[:300]!r}")
        except (Exception, TooLong):
            found["faults"].append(f"{name} {number} ({path.name}): {traceback.format_exc(limit=-4)[-1500:]}")
        finally:
            signal.alarm(0)
        found["slowest_seconds"] = max(found["slowest_seconds"], round(time.perf_counter() - started, 2))
        for each in set(folder.rglob("*")) - whole.keys():
            if each.is_file():
                found["faults"].append(f"{name} {number}: has written {each}")
                each.unlink()
        for each in (path, *(p for p in whole if p.name == "digests.json")):
            each.write_bytes(whole[each])
    found["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) // 1024
    return found


def main(folder: Path, seed: int, count: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_long)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES, size + MEMORY_BYTES))
    each = -(-count // len(FORMATS))
    print(json.dumps({name: fuzz(name, folder / name, seed, each) for name in FORMATS}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
