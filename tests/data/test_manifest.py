"""A manifest says again what was written, names every bad line, and splits without sharing people."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from ssl_tt.data.audio import sha256, write_wav
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.manifest import check_manifest, read_manifest, split_conversations, write_manifest
from ssl_tt.errors import InputError

RATE_HZ = 8000


def recording(folder: Path, name: str, **change: Any) -> Conversation:
    """A good conversation of 1 s with its file."""
    path = folder / f"{name}.wav"
    write_wav(path, 0.1 * np.random.default_rng(0).standard_normal((2, RATE_HZ)), RATE_HZ)
    made = Conversation(
        id=name,
        audio=path,
        sample_rate_hz=RATE_HZ,
        channels=2,
        duration_seconds=1.0,
        speakers=(f"{name}-ann", f"{name}-bob"),
        segments=((Segment(0.1, 0.2), Segment(0.3, 0.9)), ()),
        sha256=sha256(path),
        provenance={"made": ["by", "hand"]},
    )
    return replace(made, **change)


def people(*speakers: str, **change: Any) -> Conversation:
    """Annotation alone."""
    return replace(Conversation("-".join(speakers), None, None, len(speakers), 1.0, speakers), **change)


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    conversations = [
        recording(tmp_path, "first"),
        recording(tmp_path / "deeper", "second", segments=None, split="test"),
        people("ann", "bob"),
    ]
    write_manifest(tmp_path / "manifest.jsonl", conversations)
    assert read_manifest(tmp_path / "manifest.jsonl") == conversations


def test_audio_is_found_after_the_folder_has_moved(tmp_path: Path) -> None:
    write_manifest(tmp_path / "here" / "manifest.jsonl", [recording(tmp_path / "here" / "audio", "call")])
    (tmp_path / "here").rename(tmp_path / "there")
    checked = check_manifest(tmp_path / "there" / "manifest.jsonl")
    assert checked.problems == []
    assert len(checked.good) == 1


GOOD_LINE = {
    "id": "call",
    "audio": None,
    "sample_rate_hz": None,
    "channels": 2,
    "duration_seconds": 10.0,
    "speakers": ["ann", "bob"],
    "segments": {"ann": [[0.5, 2.5]]},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"duration_seconds": 10}, None),
        ({"duration_seconds": "10"}, "duration_seconds: Input should be a valid number"),
        ({"channels": 2.5}, "channels: Input should be a valid integer"),
        ({"chanels": 2}, "chanels: Extra inputs are not permitted"),
        ({"split": "dev"}, "split: Input should be 'train', 'validation' or 'test'"),
        ({"segments": {"eve": [[0.5, 2.5]]}}, "segments of 'eve', who has no channel; expected one of 'ann', 'bob'"),
        ({"segments": {"ann": [[0.5, 12.5]]}}, "ends after the 10.000 s of the recording"),
        ({"segments": {"ann": [[0.5, 2.5], [2.0, 3.0]]}}, "of 'ann' overlaps the one before"),
        ({"segments": {"ann": [[0.5]]}}, "segments.ann.0"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path: Path, change: dict[str, Any], message: str | None) -> None:
    path = tmp_path / "manifest.jsonl"
    lines = [GOOD_LINE | {"id": "first"}, GOOD_LINE | change]
    path.write_text("\n".join(map(json.dumps, lines)))
    if message is None:
        assert [conversation.id for conversation in read_manifest(path)] == ["first", "call"]
        return
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path} line 2: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no conversations, expected one a line"),
        (b"{\n", "line 1: Invalid JSON"),
        (b"\xff\xfe", "line 1: Invalid JSON"),
        (2 * (json.dumps(GOOD_LINE).encode() + b"\n"), "2 conversations with the id 'call'"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_manifest(path)
    with pytest.raises(InputError, match="No such file"):
        read_manifest(tmp_path / "another.jsonl")


def test_check_lists_every_bad_item_and_writes_the_good_ones(tmp_path: Path) -> None:
    good = recording(tmp_path, "good")
    silent, clipped = recording(tmp_path, "silent", sha256=None), recording(tmp_path, "clipped", sha256=None)
    write_wav(tmp_path / "silent.wav", np.zeros((2, RATE_HZ)), RATE_HZ)
    write_wav(tmp_path / "clipped.wav", 9 * soundfile.read(tmp_path / "good.wav")[0].T, RATE_HZ)
    bad = {
        name: recording(tmp_path, name, sha256=None)
        for name in ("missing", "empty", "truncated", "text", "mono", "rate", "nan", "crowd", "longer")
    }
    bad["changed"] = recording(tmp_path, "changed", sha256="0" * 64)
    (tmp_path / "missing.wav").unlink()
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "truncated.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:9000])
    (tmp_path / "text.wav").write_text("Dear diary")
    write_wav(tmp_path / "mono.wav", np.ones((1, RATE_HZ)) / 2, RATE_HZ)
    write_wav(tmp_path / "rate.wav", np.ones((2, 2 * RATE_HZ)) / 2, 2 * RATE_HZ)
    soundfile.write(tmp_path / "nan.wav", np.full((RATE_HZ, 2), np.nan), RATE_HZ, subtype="FLOAT")
    soundfile.write(tmp_path / "crowd.wav", np.zeros((100, 1000)), RATE_HZ)
    write_wav(tmp_path / "longer.wav", np.ones((2, RATE_HZ + 1)) / 2, RATE_HZ)
    manifest = tmp_path / "manifest.jsonl"
    write_manifest(manifest, [good, silent, *bad.values(), clipped])
    with manifest.open("a") as file:
        file.write(json.dumps(GOOD_LINE | {"id": "good"}) + "\n")
        file.write(json.dumps(GOOD_LINE | {"segments": {"eve": []}}) + "\n")
        file.write("{}\n")

    checked = check_manifest(manifest, cleaned=tmp_path / "cleaned" / "manifest.jsonl")
    expected = [
        "missing.wav: No such file",
        "empty.wav: empty file",
        "truncated.wav: truncated",
        "text.wav: not audio",
        "mono.wav: 1 channel, expected 2 (one a speaker); is this a mixed-down release?",
        "rate.wav: 16000 Hz, expected the 8000 Hz",
        "nan.wav: nan at sample 0 of channel 0",
        "crowd.wav: 1000 channels",
        "longer.wav: 8001 samples a channel, expected the 8000",
        "changed.wav: SHA-256",
        "another conversation with the id 'good'",
        "segments of 'eve'",
        "line 16: id: Field required",
    ]
    assert len(checked.problems) == len(expected)
    for part, problem in zip(expected, checked.problems, strict=True):
        assert part in problem
        assert "\n" not in problem
    assert [warning.split(": ")[1].split(" (")[0] for warning in checked.warnings] == [
        "channel 0 is silent",
        "channel 1 is silent",
        "channel 0 is clipped",
        "channel 1 is clipped",
    ]
    assert [conversation.id for conversation in checked.good] == ["good", "silent", "clipped"]
    again = check_manifest(tmp_path / "cleaned" / "manifest.jsonl")
    assert again.problems == []
    assert again.good == [replace(c, audio=tmp_path / "cleaned" / ".." / f"{c.id}.wav") for c in checked.good]


def test_check_does_not_write_an_empty_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="nothing good is left"):
        check_manifest(tmp_path / "manifest.jsonl", cleaned=tmp_path / "cleaned.jsonl")
    assert not (tmp_path / "cleaned.jsonl").exists()


def ids(splits: dict[Any, list[Conversation]]) -> dict[Any, list[str]]:
    return {split: [conversation.id for conversation in part] for split, part in splits.items()}


@settings(deadline=None)
@given(
    pairs=st.sets(st.tuples(st.integers(0, 30), st.integers(31, 60)), min_size=1, max_size=40),
    shares=st.sampled_from([(0.15, 0.25), (0.3, 0.3), (0.0, 0.5), (0.2, 0.0)]),
    seed=st.integers(0, 1000),
    order=st.randoms(use_true_random=False),
)
def test_no_split_shares_a_conversation_or_a_speaker(
    pairs: set[tuple[int, int]], shares: tuple[float, float], seed: int, order: Any
) -> None:
    conversations = [people(str(left), str(right)) for left, right in sorted(pairs)]
    links = np.zeros((61, 61))
    links[tuple(np.transpose(sorted(pairs)))] = 1
    n_groups = connected_components(links, directed=False)[0] - (61 - len({n for pair in pairs for n in pair}))
    if n_groups < 1 + sum(share > 0 for share in shares):
        with pytest.raises(InputError, match=f"form {n_groups} groups? that share no speaker, expected at least"):
            split_conversations(conversations, *shares, seed)
        return
    splits = split_conversations(conversations, *shares, seed)
    assert sorted(c.id for part in splits.values() for c in part) == sorted(c.id for c in conversations)
    speakers = [{speaker for c in part for speaker in c.speakers} for part in splits.values()]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(speakers, 2))
    assert [bool(part) for part in splits.values()] == [True, shares[0] > 0, shares[1] > 0]
    order.shuffle(conversations)
    assert ids(split_conversations(conversations, *shares, seed)) == ids(splits)


def test_shares_are_met_and_the_seed_decides_who_goes_where() -> None:
    conversations = [people(f"a{n}", f"b{n}") for n in range(100)]
    splits = split_conversations(conversations, 0.15, 0.25, seed=0)
    assert {split: len(part) for split, part in splits.items()} == {"train": 60, "validation": 15, "test": 25}
    assert ids(split_conversations(conversations, 0.15, 0.25, seed=1)) != ids(splits)


def test_who_shares_a_friend_stays_together() -> None:
    chain = [people("ann", "bob"), people("carl", "bob"), people("carl", "dora")]
    splits = split_conversations([*chain, people("x1", "y1"), people("x2", "y2")], 0.2, 0.2, seed=0)
    assert {c.id for c in splits["train"]} == {c.id for c in chain}


@pytest.mark.parametrize(
    ("conversations", "shares", "message"),
    [
        ([people("ann", f"b{n}") for n in range(9)], (0.15, 0.25), r"the 9 conversations form 1 group that share no"),
        (
            [people("ann", "b"), people("c", "d")],
            (0.2, 0.2),
            "form 2 groups .* expected at least 3 to fill train, valid",
        ),
        ([people("ann", "b"), people("c", "d")], (0.5, 0.5), "leave nothing to train on"),
        (
            [people("ann", "b", split="train"), people("ann", "c", split="test")],
            (0.2, 0.2),
            r"speaker 'ann' is in train \('ann-b'\) and in test \('ann-c'\)",
        ),
        ([people("ann", "b", split="train"), people("c", "d")], (0.2, 0.2), "1 of 2 conversations name a split"),
    ],
)
def test_splits_that_cannot_be_are_refused(
    conversations: list[Conversation], shares: tuple[float, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split_conversations(conversations, *shares, seed=0)


def test_named_splits_hold() -> None:
    conversations = [people("a", "b", split="test"), people("c", "d", split="train"), people("a", "e", split="test")]
    splits = split_conversations(conversations, 0.9, 0.0, seed=0)
    assert ids(splits) == {"train": ["c-d"], "validation": [], "test": ["a-b", "a-e"]}
