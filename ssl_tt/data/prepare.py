"""From a corpus on disk to a manifest: read, join, label, write down."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_tt.data import audio
from ssl_tt.data.activity_detection import Detector, detect
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.manifest import write_manifest
from ssl_tt.data.shards import SHARD_BYTES, write_shards
from ssl_tt.data.storage import File
from ssl_tt.errors import InputError
from ssl_tt.timebase import seconds


class Prepared(NamedTuple):
    """What `prepare` did: the manifest of all good items, and a sentence for every bad or suspicious one."""

    manifest: Path
    n_conversations: int
    problems: list[str]
    warnings: list[str]


def prepare(corpus: str, root: Path, out: Path, detector: Detector | None = "energy") -> Prepared:
    """Write `out`/manifest.jsonl for the corpus under `root`; audio stays where it is.

    Where an adapter names one file a speaker, they are joined into `out`/audio/ID.wav. Conversations without segments
    get those of the detector, if one is given, and say so in their provenance. Every sample is decoded once; bad items
    are left out and listed. InputError if nothing is good.
    """
    good: list[Conversation] = []
    problems: list[str] = []
    warnings: list[str] = []
    for conversation in _distinct(corpus, root, problems):
        try:
            conversation, suspicious = ready(conversation, out, root, detector)
            warnings += suspicious
            good.append(conversation)
        except InputError as error:
            problems.append(str(error))
    _refuse_nothing(good, corpus, root, problems)
    manifest = out / "manifest.jsonl"
    write_manifest(manifest, good)
    return Prepared(manifest, len(good), problems, warnings)


def prepare_shards(
    corpus: str,
    root: Path,
    out: Path,
    detector: Detector | None = "energy",
    shard_bytes: int = SHARD_BYTES,
    processes: int | None = None,
) -> Prepared:
    """The same, with all audio as FLAC in shards beside `out`/manifest.jsonl, by several processes; see `shards`.

    What was killed goes on when it is called again. What is not 16-bit or 24-bit audio is rounded, with a warning.
    """
    problems: list[str] = []
    conversations = list(_distinct(corpus, root, problems))
    _refuse_nothing(conversations, corpus, root, problems)
    make = partial(ready, root=root, detector=detector)
    settings = f"{corpus} {root.resolve()} {detector}"
    written = write_shards(conversations, out, make, settings=settings, shard_bytes=shard_bytes, processes=processes)
    return Prepared(written.manifest, written.n_conversations, [*problems, *written.problems], written.warnings)


def _distinct(corpus: str, root: Path, problems: list[str]) -> Iterator[Conversation]:
    """Conversations of a corpus with distinct ids; what else is met joins the problems."""
    items = read_corpus(corpus, root)
    seen: set[str] = set()
    while True:
        try:
            conversation = next(items)
            if conversation.id in seen:
                raise InputError(f"{root}: another conversation with the id {conversation.id!r}, expected one")
            seen.add(conversation.id)
        except StopIteration:
            return
        except InputError as error:
            problems.append(str(error))
        else:
            yield conversation


def _refuse_nothing(good: Sequence[Conversation], corpus: str, root: Path, problems: Sequence[str]) -> None:
    if not good:
        raise InputError(f"{root}: none of the {len(problems)} items of {corpus} is good; the first: {problems[0]}")


def ready(
    conversation: Conversation, out: Path, root: Path, detector: Detector | None
) -> tuple[Conversation, list[str]]:
    """A conversation of a corpus with one file and with segments, and warnings; errors as in `audio.read`.

    Where there is one file a speaker, they are joined into `out`/audio/ID.wav.
    """
    warnings = []
    if conversation.audio is None and "channel_files" in conversation.provenance:
        conversation = _with_joined_channels(conversation, root, out)
    if conversation.audio is not None:
        warnings = audio.warnings(conversation.audio)
    if conversation.audio is not None and conversation.segments is None and detector is not None:
        conversation = _with_detected_segments(conversation, conversation.audio, detector)
    return conversation, warnings


def _with_joined_channels(conversation: Conversation, root: Path, out: Path) -> Conversation:
    """One file a speaker made one file with a channel a speaker; the shorter ones end in silence."""
    files = [root / file for file in conversation.provenance["channel_files"]]
    headers = [audio.probe_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if header.channels != 1:
            raise InputError(f"{file}: {header.channels} channels, expected 1 (this speaker's)")
        if header.sample_rate_hz != headers[0].sample_rate_hz:
            raise InputError(
                f"{file}: {header.sample_rate_hz} Hz, expected {headers[0].sample_rate_hz} Hz as {files[0].name}: "
                "convert one of them"
            )
    rate = headers[0].sample_rate_hz
    longest = max(header.n_samples for header in headers)
    both = np.zeros((len(files), longest), dtype=np.float32)
    for channel, (file, header) in enumerate(zip(files, headers, strict=True)):
        both[channel, : header.n_samples] = audio.read(file)[0]
    path = out / "audio" / f"{conversation.id}.wav"
    joined = replace(conversation, audio=path, sample_rate_hz=rate, duration_seconds=seconds(longest, rate))
    audio.write_wav(path, both, rate)
    return replace(joined, sha256=audio.sha256(path))


def _with_detected_segments(conversation: Conversation, path: File, detector: Detector) -> Conversation:
    channels = audio.read(path)
    rate = audio.probe_header(path).sample_rate_hz
    segments = tuple(tuple(detect(channel, rate, detector)) for channel in channels)
    provenance = {**conversation.provenance, "labels": "detected", "detector": detector}
    return replace(conversation, segments=segments, provenance=provenance)
