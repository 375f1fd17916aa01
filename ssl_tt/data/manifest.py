"""Manifests: a conversation a line in JSON, audio relative to the manifest's folder.

    {"id": "call1", "audio": "audio/call1.wav", "sample_rate_hz": 16000, "channels": 2, "duration_seconds": 61.5,
     "speakers": ["ann", "bob"], "segments": {"ann": [[0.4, 2.1]], "bob": []}, "sha256": "...", "split": null,
     "provenance": {}}

Without `audio` and `sample_rate_hz` a line is annotation only; with `"segments": null` it is unlabelled.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import Field, ValidationError

from ssl_tt.data import audio
from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation, Split, segments_by_channel
from ssl_tt.errors import InputError
from ssl_tt.recipe import Settings

SPLITS: tuple[Split, ...] = get_args(Split)

Line = TypeVar("Line", bound=Settings)


class _Line(Settings):
    """A line as it stands in the file; `Conversation` says what the fields mean and checks how they fit together."""

    id: str
    audio: str | None = None
    sample_rate_hz: int | None = None
    channels: int
    duration_seconds: float
    speakers: tuple[str, ...]
    segments: dict[str, tuple[tuple[float, float], ...]] | None = None
    sha256: str | None = None
    split: Split | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


def read_manifest(path: Path) -> list[Conversation]:
    """Conversations of a manifest; InputError, with the line, for the first that is wrong. Opens no audio."""
    conversations = [parse() for parse in _lines(path)]
    if not conversations:
        raise InputError(f"{path}: no conversations, expected one a line")
    for name, count in Counter(conversation.id for conversation in conversations).items():
        if count > 1:
            raise InputError(f"{path}: {count} conversations with the id {name!r}, expected another for each")
    return conversations


def _lines(path: Path) -> Iterator[Callable[[], Conversation]]:
    """What reads each line, so that a caller may go on after one that is wrong."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a manifest: `ssl-tt prepare` makes one") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield partial(_parse, line, f"{path} line {number}", path.parent)


def read_line(kind: type[Line], text: bytes, where: str) -> Line:
    """A line of JSON as strict settings; InputError that says where and what for anything else."""
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {name + ': ' if name else ''}{first['msg']}") from error


def _parse(text: bytes, where: str, folder: Path) -> Conversation:
    line = read_line(_Line, text, where)
    try:
        return Conversation(
            id=line.id,
            audio=None if line.audio is None else folder / line.audio,
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


def write_manifest(path: Path, conversations: Sequence[Conversation]) -> None:
    """Write a manifest, whole or not at all; the same conversations in the same place make the same bytes."""
    with atomically(path) as file:
        for conversation in conversations:
            line = json.dumps(_as_json(conversation, path.parent), ensure_ascii=False, allow_nan=False)
            file.write(line.encode() + b"\n")


def _as_json(conversation: Conversation, folder: Path) -> dict[str, Any]:
    segments = None
    if conversation.segments is not None:
        segments = dict(zip(conversation.speakers, conversation.segments, strict=True))
    relative = None
    if conversation.audio is not None:
        # Both without links, or ".." would climb out of where a link points to.
        file = conversation.audio.parent.resolve() / conversation.audio.name
        relative = Path(os.path.relpath(file, folder.resolve())).as_posix()
    return {
        "id": conversation.id,
        "audio": relative,
        "sample_rate_hz": conversation.sample_rate_hz,
        "channels": conversation.channels,
        "duration_seconds": conversation.duration_seconds,
        "speakers": conversation.speakers,
        "segments": segments,
        "sha256": conversation.sha256,
        "split": conversation.split,
        "provenance": dict(conversation.provenance),
    }


@dataclass(frozen=True)
class Checked:
    """What `check_manifest` found, a sentence each."""

    problems: list[str] = field(default_factory=list)
    """What training cannot use."""
    warnings: list[str] = field(default_factory=list)
    """What it can use, but somebody should look at: silent or clipped channels."""
    good: list[Conversation] = field(default_factory=list)
    """Conversations without a problem."""


def check_manifest(path: Path, cleaned: Path | None = None) -> Checked:
    """Check every line of a manifest and every sample of its audio, and list all that is wrong.

    With `cleaned`, the good conversations are written there as a manifest. InputError only if the manifest itself
    cannot be read or, with `cleaned`, if nothing in it is good.
    """
    checked = Checked()
    seen: set[str] = set()
    for parse in _lines(path):
        try:
            conversation = parse()
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


def _verify_digest(conversation: Conversation, path: Path) -> None:
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
    named = [conversation for conversation in conversations if conversation.split is not None]
    if named and len(named) < len(conversations):
        raise InputError(
            f"{len(named)} of {len(conversations)} conversations name a split, expected all or none of a manifest"
        )
    splits = _named_splits(conversations) if named else _dealt_splits(conversations, validation_share, test_share, seed)
    return {split: sorted(splits[split], key=lambda conversation: conversation.id) for split in SPLITS}


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
    shares: dict[Split, float] = {
        "train": 1 - validation_share - test_share,
        "validation": validation_share,
        "test": test_share,
    }
    if shares["train"] <= 0:
        raise InputError(
            f"validation_share {validation_share} and test_share {test_share} leave nothing to train on: lower them"
        )
    groups = _groups(conversations)
    wanted = [split for split in SPLITS if shares[split] > 0]
    if len(groups) < len(wanted):
        raise InputError(
            f"the {len(conversations)} conversations form {len(groups)} group{'s' * (len(groups) != 1)} that share no "
            f"speaker, expected at least {len(wanted)} to fill {', '.join(wanted)}: add recordings of other people, or "
            "set the share of a split to 0"
        )
    splits: dict[Split, list[Conversation]] = {split: [] for split in SPLITS}
    for place, group in enumerate(sorted(groups, key=lambda group: (-len(group), _lot(group, seed)))):
        empty = [split for split in wanted if not splits[split]]
        # As many groups left as empty splits: each must get one.
        open_splits = empty if len(groups) - place <= len(empty) else wanted
        lacking = {split: shares[split] * len(conversations) - len(splits[split]) for split in open_splits}
        splits[max(open_splits, key=lambda split: lacking[split])].extend(group)
    return splits


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


def _lot(group: Sequence[Conversation], seed: int) -> bytes:
    """What decides between groups of one size: drawn from the seed and the ids, not from their order."""
    return hashlib.sha256(f"{seed} {min(conversation.id for conversation in group)}".encode()).digest()
