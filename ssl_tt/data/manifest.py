"""Manifests: a conversation a line in JSON, audio relative to the manifest's folder.

    {"id": "call1", "audio": "audio/call1.wav", "sample_rate_hz": 16000, "channels": 2, "duration_seconds": 61.5,
     "speakers": ["ann", "bob"], "segments": {"ann": [[0.4, 2.1]], "bob": []}, "sha256": "...", "split": null,
     "provenance": {}}

Without `audio` and `sample_rate_hz` a line is annotation only; with `"segments": null` it is unlabelled. With
`"audio_bytes": [offset, size]` the audio is that stretch of `audio`, which is then a shard beside the manifest.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from pydantic import Field, ValidationError

from ssl_tt.data import audio
from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation, Split, segments_by_channel
from ssl_tt.data.storage import File, Member, Remote, below
from ssl_tt.errors import InputError
from ssl_tt.recipe import Settings

SPLITS: tuple[Split, ...] = get_args(Split)

MAX_LINE_BYTES = 1 << 26
"""More than any conversation needs: what goes on longer is no manifest, and is refused before it fills the memory."""

Kind = TypeVar("Kind", bound=Settings)


class _Line(Settings):
    """A line as it stands in the file; `Conversation` says what the fields mean and checks how they fit together."""

    id: str
    audio: str | None = None
    audio_bytes: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(gt=0)]] | None = None
    sample_rate_hz: int | None = None
    channels: int
    duration_seconds: float
    speakers: tuple[str, ...]
    segments: dict[str, tuple[tuple[float, float], ...]] | None = None
    sha256: str | None = None
    split: Split | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class Line(NamedTuple):
    """A line of a manifest, and where in the file it lies."""

    text: bytes
    number: int
    """The first is 1."""
    offset: int
    """Bytes before it."""
    manifest: Path | Remote

    def parse(self) -> Conversation:
        """The conversation that it describes; InputError, with the line's number, if it is wrong. Opens no audio."""
        return parse_line(self.text, f"{self.manifest} line {self.number}", self.manifest.parent)


def read_manifest(path: Path | Remote) -> list[Conversation]:
    """Conversations of a manifest; InputError, with the line, for the first that is wrong. Opens no audio."""
    conversations = [line.parse() for line in lines(path)]
    if not conversations:
        raise InputError(f"{path}: no conversations, expected one a line")
    for name, count in Counter(conversation.id for conversation in conversations).items():
        if count > 1:
            raise InputError(f"{path}: {count} conversations with the id {name!r}, expected another for each")
    return conversations


def lines(path: Path | Remote, original: Path | Remote | None = None) -> Iterator[Line]:
    """Lines that are not empty, of which a caller may leave out those that are wrong; `path` may be a copy of another.

    InputError, with the line's number, for one that never ends, and for a file that cannot be read.
    """
    manifest = original or path
    try:
        with io.BufferedReader(path.open("rb", 0), 1 << 20) as file:
            number = offset = 0
            while text := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(text) > MAX_LINE_BYTES:
                    raise InputError(
                        f"{manifest} line {number}: longer than {MAX_LINE_BYTES >> 20} MB, expected a conversation: is "
                        "this a manifest?"
                    )
                if text.strip():
                    yield Line(text, number, offset, manifest)
                offset += len(text)
    except OSError as error:
        raise InputError(f"{manifest}: {error.strerror}; expected a manifest: `ssl-tt prepare` makes one") from error


def read_line(kind: type[Kind], text: bytes, where: str) -> Kind:
    """A line of JSON as strict settings; InputError that says where and what for anything else."""
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {name + ': ' if name else ''}{first['msg']}") from error


def parse_line(text: bytes, where: str, folder: Path | Remote) -> Conversation:
    """The conversation of a line of a manifest in a folder; InputError that says where and what if it is wrong."""
    line = read_line(_Line, text, where)
    try:
        return Conversation(
            id=line.id,
            audio=_audio(line, folder),
            sample_rate_hz=line.sample_rate_hz,
            channels=line.channels,
            duration_seconds=line.duration_seconds,
            speakers=line.speakers,
            segments=None if line.segments is None else segments_by_channel(line.id, line.speakers, line.segments),
            sha256=line.sha256,
            split=line.split,
            provenance=line.provenance,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _audio(line: _Line, folder: Path | Remote) -> File | None:
    if line.audio_bytes is not None:
        if line.audio is None or "/" in line.audio:
            raise InputError(f"audio {line.audio!r} with audio_bytes, expected the name of a shard beside the manifest")
        return Member(below(folder, line.audio), *line.audio_bytes)
    if line.audio is None:
        return None
    # A manifest on this machine is the user's own and names any file; one that was fetched names what lies beside it.
    return folder / line.audio if isinstance(folder, Path) else below(folder, line.audio)


def write_manifest(path: Path, conversations: Sequence[Conversation]) -> None:
    """Write a manifest, whole or not at all; the same conversations in the same place make the same bytes."""
    with atomically(path) as file:
        for conversation in conversations:
            line = json.dumps(as_json(conversation, path.parent), ensure_ascii=False, allow_nan=False)
            file.write(line.encode() + b"\n")


def as_json(conversation: Conversation, folder: Path) -> dict[str, Any]:
    """A conversation as it stands in a manifest in a folder; InputError for audio that such a manifest cannot name."""
    segments = None
    if conversation.segments is not None:
        segments = dict(zip(conversation.speakers, conversation.segments, strict=True))
    return {
        "id": conversation.id,
        **_located(conversation.audio, folder),
        "sample_rate_hz": conversation.sample_rate_hz,
        "channels": conversation.channels,
        "duration_seconds": conversation.duration_seconds,
        "speakers": conversation.speakers,
        "segments": segments,
        "sha256": conversation.sha256,
        "split": conversation.split,
        "provenance": dict(conversation.provenance),
    }


def _located(file: File | None, folder: Path) -> dict[str, Any]:
    """Where audio lies, seen from a folder."""
    if file is None:
        return {"audio": None}
    if isinstance(file, Path):
        # Both without links, or ".." would climb out of where a link points to.
        there = file.parent.resolve() / file.name
        return {"audio": Path(os.path.relpath(there, folder.resolve())).as_posix()}
    if isinstance(file, Member) and isinstance(file.shard, Path) and file.shard.parent.resolve() == folder.resolve():
        return {"audio": file.shard.name, "audio_bytes": [file.offset, file.size]}
    raise InputError(
        f"{folder}: a manifest here cannot name {file}, expected audio of this machine, or shards beside the manifest: "
        "write it into the folder of the shards"
    )


@dataclass(frozen=True)
class Checked:
    """What `check_manifest` found, a sentence each."""

    problems: list[str] = field(default_factory=list)
    """What training cannot use."""
    warnings: list[str] = field(default_factory=list)
    """What it can use, but somebody should look at: silent or clipped channels."""
    good: list[Conversation] = field(default_factory=list)
    """Conversations without a problem."""


def check_manifest(path: Path | Remote, cleaned: Path | None = None) -> Checked:
    """Check every line of a manifest and every sample of its audio, and list all that is wrong.

    With `cleaned`, the good conversations are written there as a manifest. InputError only if the manifest itself
    cannot be read or, with `cleaned`, if nothing in it is good.
    """
    checked = Checked()
    seen: set[str] = set()
    for line in lines(path):
        try:
            conversation = line.parse()
            if conversation.id in seen:
                raise InputError(f"{path}: another conversation with the id {conversation.id!r}, expected one")
            seen.add(conversation.id)
            if conversation.audio is not None:
                audio.verify_header(conversation)
                checked.warnings.extend(audio.warnings(conversation.audio))
                _verify_digest(conversation, conversation.audio)
            checked.good.append(conversation)
        except InputError as error:
            checked.problems.append(str(error))
    if not checked.good and not checked.problems:
        raise InputError(f"{path}: no conversations, expected one a line")
    if cleaned is not None:
        if not checked.good:
            raise InputError(f"{path}: nothing good is left to write to {cleaned}; {checked.problems[0]}")
        write_manifest(cleaned, checked.good)
    return checked


def _verify_digest(conversation: Conversation, path: File) -> None:
    if conversation.sha256 is not None and (digest := audio.sha256(path)) != conversation.sha256:
        raise InputError(
            f"{path}: SHA-256 {digest[:12]}..., expected {conversation.sha256[:12]}... of the manifest: the file has "
            "changed, prepare the corpus again"
        )


def split_conversations(
    conversations: Sequence[Conversation], validation_share: float, test_share: float, seed: int
) -> dict[Split, list[Conversation]]:
    """Conversations for train, validation and test, such that no speaker is in two of them; each sorted by id.

    Where every conversation names its split, that holds. Otherwise conversations that share a speaker, however
    indirectly, stay together, and such groups are dealt out, the large ones first, to whichever split lacks most; seed
    and ids alone decide, not the order of the list. InputError if named splits share a speaker, if only some
    conversations name one, or if a split with a share above 0 would be empty.
    """
    named = split_is_named(sum(c.split is not None for c in conversations), len(conversations))
    splits = _named_splits(conversations) if named else _dealt_splits(conversations, validation_share, test_share, seed)
    return {split: sorted(splits[split], key=lambda conversation: conversation.id) for split in SPLITS}


def split_is_named(named: int, n: int) -> bool:
    """Whether all conversations name their split; InputError if only some do."""
    if 0 < named < n:
        raise InputError(f"{named} of {n} conversations name a split, expected all or none of a manifest")
    return named > 0


def _named_splits(conversations: Sequence[Conversation]) -> dict[Split, list[Conversation]]:
    splits: dict[Split, list[Conversation]] = {split: [] for split in SPLITS}
    home: dict[str, Conversation] = {}
    for conversation in conversations:
        assert conversation.split is not None
        splits[conversation.split].append(conversation)
        for speaker in conversation.speakers:
            other = home.setdefault(speaker, conversation)
            if other.split != conversation.split:
                raise InputError(
                    f"speaker {speaker!r} is in {other.split} ({other.id!r}) and in {conversation.split} "
                    f"({conversation.id!r}), expected one split: move one of them or let the package split"
                )
    return splits


def _dealt_splits(
    conversations: Sequence[Conversation], validation_share: float, test_share: float, seed: int
) -> dict[Split, list[Conversation]]:
    shares = split_shares(validation_share, test_share)
    groups = _groups(conversations)
    splits: dict[Split, list[Conversation]] = {split: [] for split in SPLITS}
    smallest = [min(conversation.id for conversation in group) for group in groups]
    for group, split in zip(groups, deal([len(group) for group in groups], smallest, shares, seed), strict=True):
        splits[split].extend(group)
    return splits


def deal(sizes: Sequence[int], ids: Sequence[str], shares: Mapping[Split, float], seed: int) -> list[Split]:
    """The split of each group of conversations that share speakers, from its size and its smallest id."""
    n = sum(sizes)
    wanted = [split for split in SPLITS if shares[split] > 0]
    if len(sizes) < len(wanted):
        raise InputError(
            f"the {n} conversations form {len(sizes)} group{'s' * (len(sizes) != 1)} that share no speaker, expected "
            f"at least {len(wanted)} to fill {', '.join(wanted)}: add recordings of other people, or set the "
            "share of a split to 0"
        )
    # Between groups of one size a lot decides, drawn from the seed and the ids, not from their order.
    lots = [hashlib.sha256(f"{seed} {name}".encode()).digest() for name in ids]
    counts: dict[Split, int] = dict.fromkeys(SPLITS, 0)

    def lacking(split: Split) -> float:
        return shares[split] * n - counts[split]

    empty = list(wanted)
    dealt: list[Split] = [SPLITS[0]] * len(sizes)
    for place, group in enumerate(sorted(range(len(sizes)), key=lambda group: (-sizes[group], lots[group]))):
        # As many groups left as empty splits: each must get one.
        split = max(empty if len(sizes) - place <= len(empty) else wanted, key=lacking)
        dealt[group] = split
        counts[split] += sizes[group]
        if split in empty:
            empty.remove(split)
    return dealt


def split_shares(validation_share: float, test_share: float) -> dict[Split, float]:
    """Share of each split; InputError if nothing is left to train on."""
    shares: dict[Split, float] = {
        "train": 1 - validation_share - test_share,
        "validation": validation_share,
        "test": test_share,
    }
    if shares["train"] <= 0:
        raise InputError(
            f"validation_share {validation_share} and test_share {test_share} leave nothing to train on: lower them"
        )
    return shares


def _groups(conversations: Sequence[Conversation]) -> list[list[Conversation]]:
    """Conversations connected by shared speakers, by union-find over the speakers."""
    parent: dict[str, str] = {}

    def find(speaker: str) -> str:
        while parent[speaker] != speaker:
            parent[speaker] = parent[parent[speaker]]
            speaker = parent[speaker]
        return speaker

    for conversation in conversations:
        for speaker in conversation.speakers:
            parent.setdefault(speaker, speaker)
            parent[find(speaker)] = find(conversation.speakers[0])
    groups: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        groups.setdefault(find(conversation.speakers[0]), []).append(conversation)
    return list(groups.values())
