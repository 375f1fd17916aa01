"""Shards keep every sample, are read by any tar, and come out the same however often their writing was interrupted."""

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ssl_tt.data.audio import read, read_window, sha256, write_wav
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.flac import write_flac
from ssl_tt.data.manifest import check_manifest, read_manifest, write_manifest
from ssl_tt.data.prepare import prepare_shards
from ssl_tt.data.shards import Shards, write_shards
from ssl_tt.data.storage import Member
from ssl_tt.errors import InputError, RunError

RATE_HZ = 8000
SHARD_BYTES = 3 * 4 * RATE_HZ  # three conversations of a second


def as_it_is(conversation: Conversation, folder: Path) -> tuple[Conversation, list[str]]:
    return conversation, [] if conversation.id != "c/1" else ["c/1 whistles"]


def killed(conversation: Conversation, folder: Path) -> tuple[Conversation, list[str]]:
    os._exit(9)


def unless_it_is_bad(conversation: Conversation, folder: Path) -> tuple[Conversation, list[str]]:
    if conversation.id == "c/2":
        raise InputError("c/2 is bad")
    return conversation, []


@pytest.fixture
def conversations(tmp_path: Path) -> list[Conversation]:
    """Eight recordings of about a second, in a folder of their own, with a manifest."""
    made = []
    for number in range(8):
        n_samples = RATE_HZ - number
        path = tmp_path / "plain" / f"{number}.wav"
        write_wav(path, 0.1 * np.random.default_rng(number).standard_normal((2, n_samples)), RATE_HZ)
        seconds, people = n_samples / RATE_HZ, (f"{number}a", f"{number}b")
        made.append(
            Conversation(
                f"c/{number}", path, RATE_HZ, 2, seconds, people, ((Segment(0.1, 0.5),), ()), provenance={"n": number}
            )
        )
    write_manifest(tmp_path / "plain" / "manifest.jsonl", made)
    return made


def written(conversations: list[Conversation], out: Path, **options: Any) -> Shards:
    given = {"make": as_it_is, "settings": "test", "shard_bytes": SHARD_BYTES, "processes": 1, **options}
    return write_shards(conversations, out, **given)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_shards_hold_the_same_samples_and_annotation(conversations: list[Conversation], tmp_path: Path) -> None:
    shards = written(conversations, tmp_path / "out")
    assert shards.warnings == ["c/1 whistles"]
    assert sorted(contents(tmp_path / "out")) == [
        "manifest.jsonl", "shard-00000.tar", "shard-00001.tar", "shard-00002.tar"
    ]  # fmt: skip
    found = read_manifest(shards.manifest)
    assert [replace(c, audio=None, sha256=None, sample_rate_hz=None) for c in found] == [
        replace(c, audio=None, sample_rate_hz=None) for c in conversations
    ]
    for before, after in zip(conversations, found, strict=True):
        assert isinstance(after.audio, Member)
        np.testing.assert_array_equal(read(after.audio), read(before.audio))
        np.testing.assert_array_equal(read_window(after, 0.3, 999, 16000), read_window(before, 0.3, 999, 16000))
    checked = check_manifest(shards.manifest)
    assert (checked.problems, checked.warnings, checked.good) == ([], [], found)


def test_any_tar_unpacks_shards_into_files_with_a_manifest_line_each(
    conversations: list[Conversation], tmp_path: Path
) -> None:
    written(conversations, tmp_path / "out")
    (tmp_path / "unpacked").mkdir()
    for shard in (tmp_path / "out").glob("*.tar"):
        subprocess.run(["tar", "-xf", shard, "-C", tmp_path / "unpacked"], check=True)
    names = sorted(path.name for path in (tmp_path / "unpacked").iterdir())
    assert names[:3] == ["0000000-c_0.flac", "0000000-c_0.json", "0000001-c_1.flac"]
    # Readers of such tars group members by what stands before the first dot.
    assert all(len(name.split(".")) == 2 for name in names)
    lines = [path.read_bytes() for path in sorted((tmp_path / "unpacked").glob("*.json"))]
    (tmp_path / "unpacked" / "manifest.jsonl").write_bytes(b"".join(lines))
    checked = check_manifest(tmp_path / "unpacked" / "manifest.jsonl")
    assert checked.problems == []
    assert [c.id for c in checked.good] == [c.id for c in conversations]


def test_the_index_says_where_each_member_lies(conversations: list[Conversation], tmp_path: Path) -> None:
    shards = written(conversations, tmp_path / "out")
    lines = [json.loads(line) for line in shards.manifest.read_text().splitlines()]
    for shard in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(shard) as tar:
            flacs = [m for m in tar.getmembers() if m.name.endswith(".flac")]
        expected = [line["audio_bytes"] for line in lines if line["audio"] == shard.name]
        assert [[m.offset_data, m.size] for m in flacs] == expected
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in flacs)


def test_the_number_of_processes_changes_no_byte(conversations: list[Conversation], tmp_path: Path) -> None:
    written(conversations, tmp_path / "one")
    written(conversations, tmp_path / "two", processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_process_that_was_killed_is_said(conversations: list[Conversation], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a process was killed"):
        written(conversations, tmp_path / "out", make=killed, processes=2)


def test_bad_conversations_are_left_out_and_listed(conversations: list[Conversation], tmp_path: Path) -> None:
    conversations[5] = replace(conversations[5], audio=None, sample_rate_hz=None)
    (tmp_path / "plain" / "7.wav").unlink()
    shards = written(conversations, tmp_path / "out", make=unless_it_is_bad)
    assert shards.n_conversations == len(read_manifest(shards.manifest)) == 5
    for problem, expected in zip(shards.problems, ("bad", "annotation only", "No such file"), strict=True):
        assert expected in problem
    with pytest.raises(InputError, match=r"none of the 1 conversations is good; the first: c/2 is bad"):
        written(conversations[2:3], tmp_path / "nothing", make=unless_it_is_bad)
    assert contents(tmp_path / "nothing") == {}


def test_what_was_killed_goes_on_and_ends_as_undisturbed(conversations: list[Conversation], tmp_path: Path) -> None:
    plain, out, undisturbed = tmp_path / "plain", tmp_path / "out", tmp_path / "undisturbed"
    command = [sys.executable, "-m", "ssl_tt.cli", "prepare", "manifest", str(plain), "--shards", "--processes", "2"]
    command += ["--shard-gigabytes", str(SHARD_BYTES / 1e9)]
    # The fourth recording is long, so that its shard is being written when the first is done.
    long = replace(conversations[3], duration_seconds=700.0)
    write_wav(plain / "3.wav", 0.1 * np.random.default_rng(3).standard_normal((2, 700 * RATE_HZ)), RATE_HZ)
    write_manifest(plain / "manifest.jsonl", [*conversations[:3], long, *conversations[4:]])
    process = subprocess.Popen([*command, "--out", str(out)], start_new_session=True)
    deadline = time.monotonic() + 60
    while not (out / ".preparing" / "00000.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "manifest.jsonl").exists()
    first = (out / "shard-00000.tar").stat()
    assert (out / ".preparing" / "half-00001" / "shard-00001.tar").exists()
    for each in (out, undisturbed):
        prepare_shards("manifest", plain, each, shard_bytes=SHARD_BYTES, processes=1)
    assert contents(out) == contents(undisturbed)
    again = (out / "shard-00000.tar").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_other_settings_are_refused_half_way_and_afterwards(conversations: list[Conversation], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".preparing").mkdir(parents=True)
    (out / ".preparing" / "plan").write_text("another")
    with pytest.raises(InputError, match="was begun with another corpus or other settings"):
        written(conversations, out)
    (out / ".preparing" / "plan").unlink()
    written(conversations, out)
    before = contents(out)
    with pytest.raises(InputError, match="is there already"):
        written(conversations, out)
    assert contents(out) == before


SUBTYPES = [
    ("PCM_16", "wav", 16), ("PCM_24", "wav", 24), ("PCM_U8", "wav", 8), ("PCM_S8", "aiff", 8), ("ULAW", "wav", 16),
    ("ALAW", "wav", 16), ("PCM_16", "flac", 16), ("FLOAT", "wav", 24),
]  # fmt: skip


@pytest.mark.parametrize(("subtype", "suffix", "bits"), SUBTYPES)
def test_flac_keeps_every_sample_of_what_has_24_bits(subtype: str, suffix: str, bits: int, tmp_path: Path) -> None:
    source, flac = tmp_path / f"a.{suffix}", tmp_path / "a.out.flac"
    sound = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    if subtype == "FLOAT":  # as exported from 16 bits
        sound = np.rint(sound * 32767) / 32768
    soundfile.write(source, sound, RATE_HZ, subtype=subtype)
    assert write_flac(flac, source) == []
    np.testing.assert_array_equal(read(flac), read(source))
    assert soundfile.info(flac).subtype == {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
    # Both ends of the scale are there.
    assert read(source).min() < -0.95


def test_what_flac_cannot_keep_is_said(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1000, 2)).astype(np.float32)
    sound[0] = 1.5
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ, subtype="FLOAT")
    rounded, clipped = write_flac(tmp_path / "a.flac", tmp_path / "a.wav")
    assert re.search(r"a.wav: as FLAC, [1-9].*% of its samples are rounded to 24 bits", rounded)
    assert "0.10% of its samples are beyond full scale and clipped" in clipped
    np.testing.assert_allclose(read(tmp_path / "a.flac")[:, 1:], sound[1:].T, atol=2**-24)
    soundfile.write(tmp_path / "crowd.wav", np.zeros((1000, 9)), RATE_HZ)
    with pytest.raises(InputError, match="9 channels at 8000 Hz, expected at most 8"):
        write_flac(tmp_path / "crowd.flac", tmp_path / "crowd.wav")


def test_a_folder_is_labelled_on_the_way_into_shards(conversations: list[Conversation], tmp_path: Path) -> None:
    (tmp_path / "plain" / "text.flac").write_text("Dear diary")
    prepared = prepare_shards("folder", tmp_path / "plain", tmp_path / "out", processes=1)
    assert prepared.n_conversations == 8
    assert ["text.flac: not audio" in problem for problem in prepared.problems] == [True]
    found = read_manifest(prepared.manifest)
    assert all(c.provenance == {"corpus": "folder", "labels": "detected", "detector": "energy"} for c in found)
    assert all(isinstance(c.audio, Member) and c.sha256 == sha256(c.audio) for c in found)


GOOD = {"id": "x", "audio": "shard-00000.tar", "sample_rate_hz": RATE_HZ, "channels": 2, "duration_seconds": 1.0,
        "speakers": ["a", "b"]}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"audio": "../shard-00000.tar", "audio_bytes": [512, 100]},
            "expected the name of a shard beside the manifest",
        ),
        ({"audio": "/etc/passwd", "audio_bytes": [0, 100]}, "expected the name of a shard beside the manifest"),
        ({"audio": "..", "audio_bytes": [0, 100]}, "expected a plain path below this folder"),
        ({"audio": None, "audio_bytes": [0, 100]}, "expected the name of a shard"),
        ({"audio_bytes": [-512, 100]}, "audio_bytes.0: Input should be greater than or equal to 0"),
        ({"audio_bytes": [512, 0]}, "audio_bytes.1: Input should be greater than 0"),
        ({"audio_bytes": [512]}, "audio_bytes.1: Field required"),
        ({"audio_bytes": [512, 1 << 60]}, "expected 1152921504606847488 at least by its index: truncated"),
        ({"audio_bytes": [512, 400]}, "not audio that can be read|cannot go to sample 0"),
        ({"audio_bytes": [513, 400]}, "not audio that can be read"),
        ({"audio": "link.tar", "audio_bytes": [512, 100]}, "a link or no file, expected a shard"),
        ({"audio": "folder", "audio_bytes": [512, 100]}, "a link or no file, expected a shard"),
        ({"audio": "missing.tar", "audio_bytes": [512, 100]}, "missing.tar .*No such file"),
    ],
)
def test_a_lying_index_is_refused(
    conversations: list[Conversation], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    written(conversations[:1], out)
    (out / "link.tar").symlink_to(out / "shard-00000.tar")
    (out / "folder").mkdir()
    (out / "manifest.jsonl").write_text(json.dumps(GOOD | change) + "\n")
    (problem,) = check_manifest(out / "manifest.jsonl").problems
    assert re.search(message, problem), problem


def test_a_manifest_elsewhere_cannot_name_shards(conversations: list[Conversation], tmp_path: Path) -> None:
    shards = written(conversations, tmp_path / "out")
    check_manifest(shards.manifest, cleaned=tmp_path / "out" / "clean.jsonl")
    assert check_manifest(tmp_path / "out" / "clean.jsonl").problems == []
    with pytest.raises(InputError, match="write it into the folder of the shards"):
        check_manifest(shards.manifest, cleaned=tmp_path / "clean.jsonl")
