"""From a corpus on disk to a manifest: read, join, label, write down."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ssl_tt.data import audio
from ssl_tt.data.activity_detection import Detector, detect
from ssl_tt.data.channel_files import joint_blocks, joint_header
from ssl_tt.data.conversation import Conversation, clipped
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.doubts import doubts
from ssl_tt.data.held_out import hold_out_speakers
from ssl_tt.data.manifest import write_manifest
from ssl_tt.data.shards import SHARD_BYTES, write_shards
from ssl_tt.data.storage import File
from ssl_tt.errors import InputError
from ssl_tt.timebase import samples, seconds

_LARGEST_WAV_BYTES = 2**32 - 1024  # its sizes are of 32 bits


class Prepared(NamedTuple):
    """What `prepare` did: the manifest of all good items, and a sentence for every bad or suspicious one."""

    manifest: Path
    n_conversations: int
    problems: list[str]
    warnings: list[str]
    n_left_out: int = 0
    """Good conversations between speakers of different splits."""


def prepare(
    corpus: str,
    root: Path,
    out: Path,
    detector: Detector | None = "energy",
    held_out_speakers: float | None = None,
) -> Prepared:
    """Write `out`/manifest.jsonl for the corpus under `root`; audio stays where it is.

    Where an adapter names one file a speaker, they are joined into `out`/audio/ID.wav, and where only a part of the
    recording is annotated, that part is written there. Conversations without segments get those of the detector, if one
    is given, and say so in their provenance. Bad items are left out and listed; annotation that does not sound like its
    recording is a warning. With a share of `held_out_speakers` the manifest names the splits (`hold_out_speakers`).
    InputError if nothing is good.
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
    kept = good if held_out_speakers is None else hold_out_speakers(good, held_out_speakers)
    manifest = out / "manifest.jsonl"
    write_manifest(manifest, kept)
    return Prepared(manifest, len(kept), problems, warnings, len(good) - len(kept))


def prepare_shards(
    corpus: str,
    root: Path,
    out: Path,
    detector: Detector | None = "energy",
    shard_bytes: int = SHARD_BYTES,
    processes: int | None = None,
    held_out_speakers: float | None = None,
) -> Prepared:
    """The same, with all audio as FLAC in shards beside `out`/manifest.jsonl, by several processes; see `shards`.

    What was killed goes on when it is called again. What is not 16-bit or 24-bit audio is rounded, with a warning.
    """
    problems: list[str] = []
    conversations = list(_distinct(corpus, root, problems))
    _refuse_nothing(conversations, corpus, root, problems)
    kept = conversations if held_out_speakers is None else hold_out_speakers(conversations, held_out_speakers)
    make = partial(ready, root=root, detector=detector)
    settings = f"{corpus} {root.resolve()} {detector} {held_out_speakers}"
    written = write_shards(kept, out, make, settings=settings, shard_bytes=shard_bytes, processes=processes)
    problems += written.problems
    left_out = len(conversations) - len(kept)
    return Prepared(written.manifest, written.n_conversations, problems, written.warnings, left_out)


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
    """A conversation of a corpus with one file and with segments, and warnings; errors as in `audio.read`."""
    warnings = []
    if conversation.audio is None and "channel_files" in conversation.provenance:
        conversation = _with_own_file(conversation, root, out)
    if conversation.audio is not None:
        warnings = [*audio.warnings(conversation.audio), *doubts(conversation)]
    if conversation.audio is not None and conversation.segments is None and detector is not None:
        conversation = _with_detected_segments(conversation, conversation.audio, detector)
    return conversation, warnings


def _with_own_file(conversation: Conversation, root: Path, out: Path) -> Conversation:
    """One file a speaker made one file with a channel a speaker, or the annotated part of a file made a file."""
    files = [root / file for file in conversation.provenance["channel_files"]]
    header = joint_header(files)
    if header.channels != conversation.channels:
        raise InputError(f"{files[0]}: {header.channels} channels, expected {conversation.channels}, one a speaker")
    rate = header.sample_rate_hz
    start, n = 0, header.n_samples
    if "start_seconds" in conversation.provenance:
        start = samples(conversation.provenance["start_seconds"], rate)
        n = min(samples(conversation.duration_seconds, rate), n - start)
    if header.channels * n * 2 > _LARGEST_WAV_BYTES:
        raise InputError(
            f"{files[0]}: {seconds(n, rate) / 3600:.1f} h of {header.channels} channels do not fit in a WAV"
        )
    path = out / "audio" / f"{conversation.id}.wav"
    if not path.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{root}: conversation {conversation.id!r}, expected an id that names a file inside {out}")
    duration = seconds(n, rate)
    segments = conversation.segments and tuple(clipped(channel, duration) for channel in conversation.segments)
    joined = replace(conversation, audio=path, sample_rate_hz=rate, duration_seconds=duration, segments=segments)
    audio.write_wav_blocks(path, joint_blocks(files, start, n), header.channels, rate)
    return replace(joined, sha256=audio.sha256(path))


def _with_detected_segments(conversation: Conversation, path: File, detector: Detector) -> Conversation:
    channels = audio.read(path)
    rate = audio.probe_header(path).sample_rate_hz
    segments = tuple(tuple(detect(channel, rate, detector)) for channel in channels)
    provenance = {**conversation.provenance, "labels": "detected", "detector": detector}
    return replace(conversation, segments=segments, provenance=provenance)
