"""An index gives what reading the whole manifest gives, and notices when the manifest is another."""

import itertools
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.data import index as indices
from ssl_tt.data import storage
from ssl_tt.data.cache import Cache
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.index import Conversations, audio_digest, columns, index
from ssl_tt.data.manifest import read_manifest, split_conversations, write_manifest
from ssl_tt.data.storage import Remote
from ssl_tt.errors import InputError, RunError


def people(*speakers: str, **change: Any) -> Conversation:
    made = Conversation(
        "-".join(speakers),
        Path(f"/audio/{speakers[0]}.wav"),
        8000 + len(speakers[0]),
        len(speakers),
        60.0 + len(speakers[-1]),
        speakers,
        ((Segment(0.5, 1.0),),) * len(speakers) if len(speakers[0]) % 2 else None,
        sha256="0" * 64,
    )
    return replace(made, **change)


def written(folder: Path, conversations: list[Conversation]) -> Path:
    write_manifest(folder / "manifest.jsonl", conversations)
    return folder / "manifest.jsonl"


def outcome(split: Callable[[], Any]) -> Any:
    """What a call gives, or says when it refuses."""
    try:
        return split()
    except InputError as error:
        return str(error)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def everything(manifest: Path | Remote, cache: Cache) -> Conversations:
    found = index(manifest, cache)
    return Conversations([(found, np.arange(len(found)))])


def test_conversations_of_an_index_are_those_of_the_manifest(tmp_path: Path, cache: Cache) -> None:
    manifest = written(tmp_path, [people("ann", "bob"), people("Zoë", "李"), people("eve", split="test")])
    manifest.write_bytes(b"\n" + manifest.read_bytes().replace(b"\n", b"\r\n\n"))
    expected = read_manifest(manifest)
    found = everything(manifest, cache)
    assert list(found) == expected
    assert (found[-1], found[:2], len(found)) == (expected[-1], expected[:2], 3)
    with pytest.raises(IndexError):
        found[3]
    assert list(found + found) == expected + expected
    for of_index, of_list in zip(columns(found), columns(expected), strict=True):
        np.testing.assert_array_equal(of_index, of_list)
    assert audio_digest(found) == audio_digest(expected)
    assert len({audio_digest(found), audio_digest(expected[::-1]), audio_digest(found[:2])}) == 3
    assert list(pickle.loads(pickle.dumps(found))) == expected  # what worker processes get


@settings(deadline=None, max_examples=40)
@given(
    pairs=st.sets(st.tuples(st.integers(0, 30), st.integers(31, 60)), min_size=3, max_size=40),
    shares=st.sampled_from([(0.15, 0.25), (0.3, 0.3), (0.0, 0.5)]),
    seed=st.integers(0, 1000),
)
def test_splits_of_an_index_are_those_of_the_conversations(
    tmp_path_factory: pytest.TempPathFactory, pairs: set[tuple[int, int]], shares: tuple[float, float], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("splits")
    manifest = written(folder, [people(str(left), str(right)) for left, right in sorted(pairs, key=hash)])
    found = index(manifest, Cache(folder / "cache"))

    def of_index() -> dict[Any, list[Conversation]]:
        splits = found.split(*shares, seed)
        return {split: list(Conversations([(found, rows)])) for split, rows in splits.items()}

    assert outcome(of_index) == outcome(lambda: split_conversations(read_manifest(manifest), *shares, seed))


@pytest.mark.parametrize(
    "conversations",
    [
        [people("ann", "b", split="train"), people("ann", "c", split="test"), people("d", split="train")],
        [people("ann", "b", split="train"), people("c", "d")],
        [people("ann", "b", split="train"), people("c", "d", split="test"), people("a", "b", split="train")],
    ],
)
def test_named_splits_hold_or_are_refused_alike(
    tmp_path: Path, cache: Cache, conversations: list[Conversation]
) -> None:
    found = index(written(tmp_path, conversations), cache)

    def of_index() -> dict[Any, list[str]]:
        return {split: [found.id(row) for row in rows] for split, rows in found.split(0.2, 0.2, 0).items()}

    def of_list() -> dict[Any, list[str]]:
        splits = split_conversations(conversations, 0.2, 0.2, 0)
        return {split: [each.id for each in of] for split, of in splits.items()}

    assert outcome(of_index) == outcome(of_list)


def test_who_is_heard_elsewhere_is_found(tmp_path: Path, cache: Cache) -> None:
    one = everything(written(tmp_path / "1", [people("a", "b"), people("c", "d"), people("e", "f", "g")]), cache)
    other = everything(written(tmp_path / "2", [people("x", "y"), people("z", "w", "g")]), cache)
    assert one.heard_in(everything(written(tmp_path / "3", [people("x", "y")]), cache)) is None
    assert Conversations().heard_in(one) is None
    assert one.heard_in(other) == (one[2], other[1], "g")


def test_a_manifest_at_a_url_is_copied_once_and_names_what_lies_beside_it(tmp_path: Path, cache: Cache) -> None:
    lines = [{"id": name, "audio": f"{name}.wav", "sample_rate_hz": 8000, "channels": 1, "duration_seconds": 1.0,
              "speakers": [name]} for name in "ab"]  # fmt: skip
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = everything(Remote(f"file://{manifest}", cache), cache)
    manifest.unlink()
    assert [str(each.audio) for each in found] == [f"file://{tmp_path}/{name}.wav" for name in "ab"]
    assert not (cache.folder / "blocks").exists()
    manifest.write_text(json.dumps(lines[0] | {"audio": "../a.wav"}))
    storage._status.cache_clear()
    with pytest.raises(InputError, match=f"file://{manifest} line 1: .*expected a plain path below this folder"):
        index(Remote(f"file://{manifest}", cache), cache)


def test_an_index_is_kept_until_the_manifest_changes(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = written(tmp_path, [people("ann", "bob")])
    index(manifest, cache)
    made = []
    make = indices._make
    monkeypatch.setattr(indices, "_make", lambda *given: (made.append(given), make(*given)))
    assert everything(manifest, cache)[0].id == "ann-bob"
    assert not made
    os.utime(manifest, ns=(1, 1))
    index(manifest, cache)
    written(tmp_path, [people("ann", "bob"), people("eve")])
    assert [c.id for c in everything(manifest, cache)] == ["ann-bob", "eve"]
    assert len(made) == 2
    assert len(list((cache.folder / "indices").iterdir())) == 2  # the last, and the lock


def test_a_line_that_changed_meanwhile_is_noticed(tmp_path: Path, cache: Cache) -> None:
    manifest = written(tmp_path, [people("ann", "bob"), people("eve")])
    found = everything(manifest, cache)
    manifest.write_bytes(manifest.read_bytes().replace(b"eve", b"eva"))
    assert found[0].id == "ann-bob"
    with pytest.raises(RunError, match="another line at byte"):
        found[1]
    manifest.unlink()
    with pytest.raises(RunError, match=r"No such file or directory; it was there"):
        found[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no conversations, expected one a line"),
        (b"{\n", "line 1: Invalid JSON"),
        (b'{"id": "a", "channels": 1, "duration_seconds": 1e300, "speakers": ["a"]}\n', "at most 604800"),
        (
            b'{"id": "a", "channels": 1, "duration_seconds": 1, "speakers": ["a"], "audio": "a.wav", '
            b'"sample_rate_hz": 99999999999999999999}\n',
            "expected 1000 to 384000",
        ),
    ],
)
def test_what_is_no_manifest_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Cache, content: bytes, message: str
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(content)
    with pytest.raises(InputError, match=message):
        index(manifest, cache)
    assert [path.suffix for path in (cache.folder / "indices").iterdir()] == [".lock"]
    with pytest.raises(InputError, match=r"No such file .*ssl-tt prepare"):
        index(tmp_path / "none.jsonl", cache)


def test_an_endless_line_is_refused_before_it_fills_the_memory(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = written(tmp_path, [people("ann", "bob")])
    monkeypatch.setattr("ssl_tt.data.manifest.MAX_LINE_BYTES", 100)
    with pytest.raises(InputError, match="line 1: longer than"):
        index(manifest, cache)


def test_two_conversations_of_one_id_are_refused(tmp_path: Path, cache: Cache) -> None:
    with pytest.raises(InputError, match="2 conversations with the id 'ann-bob'"):
        index(written(tmp_path, [people("ann", "bob"), people("ann", "bob")]), cache)


def test_ids_are_in_the_order_of_their_characters(tmp_path: Path, cache: Cache) -> None:
    names = ["b", "ab", "é", "\U0001f600", "￿", "a", "Z"]
    found = index(written(tmp_path, [people(name) for name in names]), cache)
    for share in (0.0, 0.3):
        rows = found.split(share, share, 0)
        for of in rows.values():
            assert [found.id(row) for row in of] == sorted(found.id(row) for row in of)
    assert sorted(found.id(row) for row in itertools.chain(*rows.values())) == sorted(names)
