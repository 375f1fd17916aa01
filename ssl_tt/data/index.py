"""An index of a manifest: what splitting, order and windows ask of every line, in arrays that are mapped from the disk.

At 100,000 hours a manifest has 600,000 lines and gigabytes of segments. The index is made once, in one pass with the
memory of its arrays (about 90 bytes a conversation), and belongs to the manifest's size and time: one that has changed
is indexed again. A line itself is read by its place in the file when its conversation is asked for, and refused if it
is not the one that was indexed.

    FOLDER/indices/NAME-VERSION/COLUMN.npy    and, of a manifest at a URL, the manifest
"""

import os
import shutil
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b, sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast, overload

import numpy as np
from numpy.typing import NDArray

from ssl_tt.data.atomic import atomically, flush_folder
from ssl_tt.data.cache import Cache, locked
from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.data.manifest import (
    SPLITS,
    Line,
    deal,
    lines,
    parse_line,
    split_conversations,
    split_is_named,
    split_shares,
)
from ssl_tt.data.storage import Remote
from ssl_tt.errors import InputError, RunError

_FORMAT = "1"
_REMEMBERED = 512  # conversations that were read last, in each process

_COLUMNS = {
    "offset": "Q",  # of the line, bytes
    "size": "I",  # of the line, bytes
    "crc": "I",  # of the line
    "duration_seconds": "d",
    "sample_rate_hz": "I",  # 0 without audio
    "channels": "B",
    "labelled": "B",
    "split": "b",  # place in SPLITS, -1 for none
    "speakers": "Q",  # one a channel: a digest of the name
    "facts": "Q",  # two a conversation: a digest of what the windows depend on
    "ids": "B",  # all of them, one after the other
    "id_end": "Q",  # where in `ids` each ends
}
# Made of these: "group", the conversations that share speakers with it, however indirectly; "place", that of its id
# among all ids in order.


class Columns(NamedTuple):
    """What windows need of all conversations, [n] each."""

    duration_seconds: NDArray[np.float64]
    sample_rate_hz: NDArray[np.int64]
    """0 without audio."""
    channels: NDArray[np.uint8]
    labelled: NDArray[np.bool_]


class Index:
    """The index of one manifest, to be had from `index`."""

    def __init__(self, manifest: Path, folder: Path | Remote, arrays: Path) -> None:
        self._manifest, self._folder, self._arrays = manifest, folder, arrays

    def __reduce__(self) -> Any:
        return Index, (self._manifest, self._folder, self._arrays)

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self._columns[column]

    @cached_property
    def _columns(self) -> Mapping[str, NDArray[Any]]:
        return {
            name: np.load(self._arrays / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in (*_COLUMNS, "group", "place")
        }

    def __len__(self) -> int:
        return len(self["offset"])

    def id(self, row: int) -> str:
        start = int(self["id_end"][row - 1]) if row else 0
        return bytes(self["ids"][start : int(self["id_end"][row])]).decode()

    def conversation(self, row: int) -> Conversation:
        """The conversation of a line; InputError if the line is another one by now."""
        offset, size = int(self["offset"][row]), int(self["size"][row])
        try:
            with self._manifest.open("rb", 0) as file:
                file.seek(offset)
                text = file.read(size) or b""
        except OSError as error:
            raise RunError(f"{self._manifest}: {error.strerror}; it was there: is its storage mounted?") from error
        if zlib.crc32(text) != self["crc"][row]:
            raise RunError(
                f"{self._manifest}: another line at byte {offset} than when this run began: put the manifest back, or "
                f"start anew (if it says so again, remove {self._arrays})"
            )
        return parse_line(text, f"{self._manifest} at byte {offset}", self._folder)

    def split(self, validation_share: float, test_share: float, seed: int) -> dict[Split, NDArray[np.int64]]:
        """Rows of each split, in the order of their ids: those of `split_conversations`, and its errors."""
        named = self["split"] >= 0
        if split_is_named(int(named.sum()), len(self)):
            self._check_named()
            code = self["split"]
        else:
            code = self._dealt(validation_share, test_share, seed)
        rows = {split: np.flatnonzero(code == number) for number, split in enumerate(SPLITS)}
        return {split: of[np.argsort(self["place"][of])] for split, of in rows.items()}

    def _dealt(self, validation_share: float, test_share: float, seed: int) -> NDArray[np.int8]:
        """Split of each conversation, dealt once: at 600,000 groups that takes seconds."""
        path = self._arrays / f"dealt-{validation_share}-{test_share}-{seed}.npy"
        if not path.exists():
            shares = split_shares(validation_share, test_share)
            sizes = np.bincount(self["group"])
            first = np.full(len(sizes), len(self), dtype=np.int64)
            np.minimum.at(first, self["group"], self["place"])
            names = self._ids()
            smallest = [names[row] for row in np.argsort(self["place"])[first].tolist()]
            dealt = deal(sizes.tolist(), smallest, shares, seed)
            with atomically(path) as file:
                np.save(file, np.array([SPLITS.index(split) for split in dealt], dtype=np.int8)[self["group"]])
        code: NDArray[np.int8] = np.load(path, allow_pickle=False)
        return code

    def _ids(self) -> list[str]:
        text, bounds = self["ids"].tobytes(), [0, *self["id_end"].tolist()]
        return [text[start:end].decode() for start, end in pairwise(bounds)]

    def _check_named(self) -> None:
        """Raise InputError if a speaker is in two splits."""
        least = np.full(int(self["group"].max()) + 1, len(SPLITS), dtype=np.int64)
        most = np.zeros_like(least)
        np.minimum.at(least, self["group"], self["split"])
        np.maximum.at(most, self["group"], self["split"])
        for group in np.flatnonzero(least < most):
            rows = np.flatnonzero(self["group"] == group)
            split_conversations([self.conversation(row) for row in rows.tolist()], 0, 0, 0)


class Conversations(Sequence[Conversation]):
    """Conversations of indexed manifests, each read when it is asked for."""

    def __init__(self, parts: Sequence[tuple[Index, NDArray[np.int64]]] = ()) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(rows) for _, rows in self._parts], dtype=np.int64)

    def __add__(self, other: "Conversations") -> "Conversations":
        return Conversations([*self._parts, *other._parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._parts else 0

    @overload
    def __getitem__(self, number: int) -> Conversation: ...
    @overload
    def __getitem__(self, number: slice) -> list[Conversation]: ...
    def __getitem__(self, number: int | slice) -> Conversation | list[Conversation]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        part = int(np.searchsorted(self._ends, number, side="right"))
        index, rows = self._parts[part]
        return _conversation(index, int(rows[number - self._ends[part]]))

    def _column(self, name: str) -> NDArray[Any]:
        return np.concatenate([index[name][rows] for index, rows in self._parts] or [np.zeros(0)])

    @cached_property
    def columns(self) -> Columns:
        return Columns(
            self._column("duration_seconds").astype(np.float64),
            self._column("sample_rate_hz").astype(np.int64),
            self._column("channels").astype(np.uint8),
            self._column("labelled").astype(bool),
        )

    @property
    def facts(self) -> bytes:
        return b"".join(index["facts"].reshape(-1, 2)[rows].astype("<u8").tobytes() for index, rows in self._parts)

    def heard_in(self, others: "Conversations") -> tuple[Conversation, Conversation, str] | None:
        """The first of these with a speaker of the others, the other conversation, and the speaker; None if all differ.

        Digests of names tell in one pass; who they seem to be is then looked up.
        """
        theirs, owners = others._speakers()
        ours, of = self._speakers()
        for place in np.flatnonzero(np.isin(ours, theirs)):
            one = self[int(of[place])]
            for owner in owners[theirs == ours[place]]:
                other = others[int(owner)]
                for speaker in one.speakers:
                    if speaker in other.speakers:
                        return one, other, speaker
        return None

    def _speakers(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Digest of each speaker, and the number of the conversation."""
        digests = []
        for index, rows in self._parts:
            channels = index["channels"].astype(np.int64)
            first = (np.cumsum(channels) - channels)[rows]
            n = channels[rows]
            within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
            digests.append(index["speakers"][np.repeat(first, n) + within])
        owners = np.repeat(np.arange(len(self)), self.columns.channels)
        return np.concatenate(digests or [np.zeros(0, dtype=np.uint64)]), owners


@lru_cache(maxsize=_REMEMBERED)
def _conversation(index: Index, row: int) -> Conversation:
    return index.conversation(row)


def columns(conversations: Sequence[Conversation]) -> Columns:
    """What windows need of all conversations, without reading those that are indexed."""
    if isinstance(conversations, Conversations):
        return conversations.columns
    return Columns(
        np.array([c.duration_seconds for c in conversations], dtype=np.float64),
        np.array([c.sample_rate_hz or 0 for c in conversations], dtype=np.int64),
        np.array([c.channels for c in conversations], dtype=np.uint8),
        np.array([c.segments is not None for c in conversations], dtype=bool),
    )


def audio_digest(conversations: Sequence[Conversation]) -> str:
    """SHA-256 of all that drawn windows depend on: which conversations, in which order, how long, with which audio."""
    known = isinstance(conversations, Conversations)
    facts = conversations.facts if known else b"".join(map(_facts, conversations))  # type: ignore[attr-defined]
    return sha256(facts).hexdigest()


def _facts(conversation: Conversation) -> bytes:
    c = conversation
    facts = repr((c.id, c.sha256, c.sample_rate_hz, c.channels, c.duration_seconds))
    return blake2b(facts.encode(), digest_size=16).digest()


# --- Making an index -------------------------------------------------------------------------------------------------


def index(manifest: Path | Remote, cache: Cache) -> Index:
    """The index of a manifest, made in the cache's folder if it is not there; a manifest at a URL is copied there too.

    Processes that ask for it at once wait for the first. InputError, with the line, for the first that is wrong.
    """
    try:
        status = manifest.stat()
    except OSError as error:
        raise InputError(f"{manifest}: {error.strerror}; expected a manifest: `ssl-tt prepare` makes one") from error
    named = str(manifest.resolve() if isinstance(manifest, Path) else manifest)
    name = sha256(named.encode()).hexdigest()[:24]
    version = sha256(f"{_FORMAT} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:24]
    arrays = cache.folder / "indices" / f"{name}-{version}"
    try:
        with locked(cache.folder / "indices" / f"{name}.lock"):
            if not arrays.exists():
                _make(manifest, arrays)
                for older in arrays.parent.glob(f"{name}-*"):
                    if older != arrays:
                        shutil.rmtree(older, ignore_errors=True)  # whoever has mapped it keeps what is mapped
    except OSError as error:
        raise RunError(
            f"{arrays.parent}: the index of {manifest} cannot be written ({error.strerror or error}): free some space, "
            "or name another data.cache_folder"
        ) from error
    local = manifest if isinstance(manifest, Path) else arrays / "manifest.jsonl"
    return Index(local, manifest.parent, arrays)


def _make(manifest: Path | Remote, arrays: Path) -> None:
    partial = arrays.with_name(f"{arrays.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        copy = manifest
        if isinstance(manifest, Remote):
            copy = partial / "manifest.jsonl"
            manifest.download(copy)
        found = _read(lines(copy, manifest), manifest)
        for name, values in found.items():
            with (partial / f"{name}.npy").open("wb") as file:
                np.save(file, values, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        partial.rename(arrays)
        flush_folder(arrays.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read(of: Iterable[Line], manifest: Path | Remote) -> dict[str, NDArray[Any]]:
    columns = {name: array(kind) for name, kind in _COLUMNS.items()}
    seen: set[bytes] = set()
    for line in of:
        conversation = line.parse()
        name = conversation.id.encode()
        digest = blake2b(name, digest_size=16).digest()
        if digest in seen:
            raise InputError(f"{manifest}: 2 conversations with the id {conversation.id!r}, expected another for each")
        seen.add(digest)
        row: dict[str, Any] = {
            "offset": line.offset,
            "size": len(line.text),
            "crc": zlib.crc32(line.text),
            "duration_seconds": conversation.duration_seconds,
            "sample_rate_hz": conversation.sample_rate_hz or 0,
            "channels": conversation.channels,
            "labelled": conversation.segments is not None,
            "split": -1 if conversation.split is None else SPLITS.index(conversation.split),
            "id_end": len(columns["ids"]) + len(name),
        }
        for column, value in row.items():
            columns[column].append(value)
        columns["ids"].frombytes(name)
        columns["facts"].frombytes(_facts(conversation))
        for speaker in conversation.speakers:
            columns["speakers"].frombytes(blake2b(speaker.encode(), digest_size=8).digest())
    if not seen:
        raise InputError(f"{manifest}: no conversations, expected one a line")
    found = {name: np.frombuffer(values, dtype=values.typecode) for name, values in columns.items()}
    found["group"] = _groups(found["speakers"], found["channels"])
    found["place"] = _places(found["ids"], found["id_end"])
    return found


def _groups(speakers: NDArray[np.uint64], channels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number of the group of each conversation: those connected by shared speakers."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(channels)
    people, person = np.unique(speakers, return_inverse=True)
    owner = np.repeat(np.arange(n), channels)
    links = coo_array((np.ones(len(owner), dtype=np.int8), (owner, n + person)), shape=2 * (n + len(people),))
    group = connected_components(links, directed=False)[1][:n]
    return cast(NDArray[np.int32], np.unique(group, return_inverse=True)[1].astype(np.int32))


def _places(ids: NDArray[np.uint8], ends: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Place of each id among all ids in order."""
    text, bounds = ids.tobytes(), [0, *ends.tolist()]
    names = [text[start:end].decode() for start, end in pairwise(bounds)]
    place = np.empty(len(names), dtype=np.int32)
    place[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return place
