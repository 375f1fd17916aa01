"""Manifests of lhotse: what it writes is read, what is written it reads, and nothing of it runs or fetches."""

import builtins
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_tt.data.conversation import Conversation
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.lhotse_manifests import write_lhotse
from ssl_tt.data.manifest import check_manifest, read_manifest
from ssl_tt.data.prepare import prepare
from ssl_tt.errors import InputError
from tests.data.corpora.on_disk import ON_DISK, SPOKEN, record, sound

lhotse = pytest.importorskip("lhotse")


def recording(name: str, *files: Path) -> Any:
    """As lhotse describes one or several files."""
    parts = [lhotse.Recording.from_file(file) for file in files]
    for channel, part in enumerate(parts if len(parts) > 1 else []):
        part.sources[0].channels = [channel]
    sources = [source for part in parts for source in part.sources]
    return lhotse.Recording(name, sources, parts[0].sampling_rate, parts[0].num_samples, parts[0].duration)


def supervisions(name: str, speakers: tuple[str, str]) -> list[Any]:
    return [
        lhotse.SupervisionSegment(f"{name}-{channel}-{n}", name, start, end - start, channel, speaker=speaker)
        for channel, (speaker, bounds) in enumerate(zip(speakers, SPOKEN, strict=True))
        for n, (start, end) in enumerate(bounds)
    ]


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A call in one file and one in a file a speaker, the second channel's first."""
    audio, root = tmp_path / "audio", tmp_path / "manifests"
    record(audio / "call1.wav", sound(*SPOKEN))
    for name, channel in zip("ab", sound(*SPOKEN), strict=True):
        record(audio / f"call2{name}.flac", channel[None])
    second = recording("call2", audio / "call2a.flac", audio / "call2b.flac")
    second.sources.reverse()
    recordings = [recording("call1", audio / "call1.wav"), second]
    said = [*supervisions("call1", ("ann", "bob")), *supervisions("call2", ("cid", "dot"))]
    root.mkdir()
    lhotse.RecordingSet.from_recordings(recordings).to_file(root / "toy_recordings_train.jsonl.gz")
    lhotse.SupervisionSet.from_segments(said).to_file(root / "toy_supervisions_train.jsonl.gz")
    return root


def check_calls(root: Path, out: Path) -> None:
    prepared = prepare("lhotse", root, out)
    assert (prepared.problems, prepared.warnings) == ([], [])
    first, second = check_manifest(prepared.manifest).good
    assert (first.id, first.speakers) == ("call1", ("ann", "bob"))
    assert (second.id, second.speakers) == ("call2", ("cid", "dot"))
    for conversation in (first, second):
        assert conversation.segments is not None
        for segments, bounds in zip(conversation.segments, SPOKEN, strict=True):
            np.testing.assert_allclose(segments, bounds)


def test_recordings_and_supervisions_are_read(manifests: Path, tmp_path: Path) -> None:
    check_calls(manifests, tmp_path / "out")


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_cuts_are_read(manifests: Path, tmp_path: Path, ending: str) -> None:
    cuts = lhotse.CutSet.from_manifests(
        lhotse.load_manifest(manifests / "toy_recordings_train.jsonl.gz"),
        lhotse.load_manifest(manifests / "toy_supervisions_train.jsonl.gz"),
    )
    (tmp_path / "cuts").mkdir()
    cuts.to_file(tmp_path / "cuts" / f"cuts.{ending}")
    check_calls(tmp_path / "cuts", tmp_path / "out")


def test_without_supervisions_it_is_unlabelled(manifests: Path, tmp_path: Path) -> None:
    (manifests / "toy_supervisions_train.jsonl.gz").unlink()
    prepared = prepare("lhotse", manifests, tmp_path / "out")
    for conversation in read_manifest(prepared.manifest):
        assert conversation.provenance["labels"] == "detected"
        assert conversation.speakers == (f"{conversation.id}-1", f"{conversation.id}-2")


def test_what_is_written_lhotse_reads_and_it_comes_back(tmp_path: Path) -> None:
    ON_DISK["harpervalley"](tmp_path / "corpus")
    conversations = read_manifest(prepare("harpervalley", tmp_path / "corpus", tmp_path / "out").manifest)
    write_lhotse(tmp_path / "lhotse", conversations)
    cuts = lhotse.CutSet.from_manifests(
        lhotse.load_manifest(tmp_path / "lhotse" / "recordings.jsonl.gz"),
        lhotse.load_manifest(tmp_path / "lhotse" / "supervisions.jsonl.gz"),
    )
    for cut, conversation in zip(cuts, conversations, strict=True):
        assert cut.load_audio().shape == (2, cut.num_samples)
        assert cut.num_samples == round(conversation.duration_seconds * 8000)
    for before, after in zip(conversations, read_corpus("lhotse", tmp_path / "lhotse"), strict=True):
        assert (after.id, after.speakers, after.sha256) == (before.id, before.speakers, before.sha256)
        assert after.audio is not None
        assert before.audio is not None
        assert after.audio.samefile(before.audio)
        assert after.segments is not None
        assert before.segments is not None
        for found, expected in zip(after.segments, before.segments, strict=True):
            np.testing.assert_allclose(found, expected)
    first = (tmp_path / "lhotse" / "recordings.jsonl.gz").read_bytes()
    write_lhotse(tmp_path / "lhotse", conversations)
    assert (tmp_path / "lhotse" / "recordings.jsonl.gz").read_bytes() == first


def change(path: Path, number: int, **fields: Any) -> None:
    """Change fields of one line of a manifest."""
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **fields})
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("supervisions", {"duration": -0.5}, "line 1: from 0.5 to 0.0 s, expected a start of 0 or more"),
        ("supervisions", {"start": -0.5}, "line 1: from -0.5 to 0.75 s, expected a start of 0 or more"),
        ("supervisions", {"start": "soon"}, "line 1: could not convert string to float: 'soon'"),
        ("supervisions", {"channel": 2}, "line 1: 'ann' on channel 2, expected one of 0, 1"),
        ("supervisions", {"channel": [0, 1]}, "line 1: 'ann' on channel [0, 1], expected one of 0, 1"),
        ("supervisions", {"speaker": "eve"}, "speakers 'ann', 'eve' on channel 1, expected one"),
        ("supervisions", {"colour": "red"}, "line 1: "),
        ("recordings", {"num_samples": 10}, "line 1: 2 channels of 10 samples, expected 2 of 64000"),
        ("recordings", {"sources": []}, "line 1: recording 'call1' of 0 files, expected a name and files"),
        ("recordings", {"id": 7}, "line 1: recording 7 of 1 files, expected a name and files"),
        ("recordings", {"colour": "red"}, "line 1: "),
        (
            "recordings",
            {"sources": [{"type": "command", "channels": [0, 1], "source": "touch HACKED; cat x.wav"}]},
            "line 1: audio from a command, expected a file",
        ),
        (
            "recordings",
            {"sources": [{"type": "url", "channels": [0, 1], "source": "http://localhost:9/x.wav"}]},
            "line 1: audio from a url, expected a file",
        ),
        ("recordings", {"sources": [{"type": "file", "channels": [0, 1], "source": "gone.wav"}]}, "gone.wav: No such"),
        (
            "recordings",
            {"transforms": [{"name": "Volume", "kwargs": {"factor": 2.0}}]},
            "line 1: a recording with transforms, expected the recording as it is",
        ),
    ],
)
def test_a_damaged_line_is_named_and_the_next_recording_read(
    manifests: Path, kind: str, fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(manifests)
    change(manifests / f"toy_{kind}_train.jsonl.gz", 0, **fields)
    items = read_corpus("lhotse", manifests)
    with pytest.raises(InputError) as caught:
        next(items)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    second = next(items)
    assert isinstance(second, Conversation)
    assert second.id == "call2"
    assert not (manifests / "HACKED").exists()


def test_files_that_are_cut_short_or_no_manifests_are_refused(manifests: Path) -> None:
    path = manifests / "toy_supervisions_train.jsonl.gz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"line \d+: .*expected a manifest of lhotse: was it cut short\?"):
        read_corpus("lhotse", manifests)
    with gzip.open(path, "wt") as file:
        file.write('{"id": 1}\n')
    with pytest.raises(InputError, match="line 1: no recording_id, expected a supervision of lhotse"):
        read_corpus("lhotse", manifests)
    with gzip.open(path, "wt") as file:
        file.write("[" * 100_000)
    with pytest.raises(InputError, match=r"line 1: .*expected an object in JSON"):
        read_corpus("lhotse", manifests)


def test_a_cut_of_a_part_is_refused(manifests: Path, tmp_path: Path) -> None:
    recordings = lhotse.load_manifest(manifests / "toy_recordings_train.jsonl.gz")
    cuts = lhotse.CutSet.from_manifests(recordings).cut_into_windows(4.0)
    (tmp_path / "cuts").mkdir()
    cuts.to_file(tmp_path / "cuts" / "cuts.jsonl.gz")
    with pytest.raises(InputError, match=r"line 1: cut .* is not a whole recording, expected such"):
        next(read_corpus("lhotse", tmp_path / "cuts"))


def test_a_recording_cannot_be_joined_outside_the_folder(manifests: Path, tmp_path: Path) -> None:
    change(manifests / "toy_recordings_train.jsonl.gz", 1, id="../../escaped")
    (manifests / "toy_supervisions_train.jsonl.gz").unlink()
    prepared = prepare("lhotse", manifests, tmp_path / "out")
    assert prepared.n_conversations == 1
    assert "'../../escaped', expected an id that names a file inside" in prepared.problems[0]
    assert not list(tmp_path.rglob("escaped*"))


def test_without_lhotse_the_extra_is_named(manifests: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] == "lhotse":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"lhotse is not installed: pip install 'ssl-tt\[lhotse\]'"):
        read_corpus("lhotse", manifests)
    with pytest.raises(InputError, match=r"pip install 'ssl-tt\[lhotse\]'"):
        write_lhotse(manifests, [])


def test_annotation_alone_cannot_be_written(tmp_path: Path) -> None:
    conversation = Conversation("call", None, None, 2, 8.0, ("ann", "bob"))
    with pytest.raises(InputError, match="annotation only, expected audio"):
        write_lhotse(tmp_path, [conversation])
