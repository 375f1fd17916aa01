"""Shards: plain tar files of FLAC, with a manifest that is their index.

    OUT/shard-00000.tar    0000000-call1.flac  0000000-call1.json  0000001-call2.flac ...
    OUT/manifest.jsonl     a line a conversation, whose `audio_bytes` are where in `audio`, a shard, its FLAC lies

Any tar reads them, and whoever groups members by key: KEY.json is the line of a manifest for the folder into which a
shard is unpacked. The manifest gives every member by byte range, so that a window is read without the rest.

    OUT/.preparing/        while it goes on: which corpus and settings, and what each finished shard holds

A shard's bytes are a function of its conversations alone, so one that was interrupted is written again, and the others
are kept.
"""

import io
import json
import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from hashlib import sha256
from multiprocessing import get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ssl_tt.data import audio
from ssl_tt.data.atomic import atomically, flush_folder
from ssl_tt.data.cache import locked
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.flac import write_flac
from ssl_tt.data.manifest import as_json, parse_line, write_manifest
from ssl_tt.data.storage import Member
from ssl_tt.errors import InputError, RunError

SHARD_BYTES = 1_000_000_000
"""Size of a shard before compression."""

_ANNOTATION_RATE_HZ = 16_000  # for the size of a conversation whose audio is only to be made
_MOST_MEMBER_BYTES = 1 << 33  # of a plain tar

Make = Callable[[Conversation, Path], tuple[Conversation, list[str]]]
"""Make a conversation ready to be stored, given a folder for what must be written for that: the result, with its audio,
and warnings. InputError where it is not good."""


class Shards(NamedTuple):
    """What `write_shards` wrote, and a sentence for everything that is bad or suspicious."""

    manifest: Path
    n_conversations: int
    problems: list[str]
    warnings: list[str]


def write_shards(
    conversations: Sequence[Conversation],
    out: Path,
    make: Make,
    *,
    settings: str,
    shard_bytes: int = SHARD_BYTES,
    processes: int | None = None,
) -> Shards:
    """Write the conversations, each as `make` leaves it, as shards of about `shard_bytes` before compression.

    conversations: with distinct ids; what stands in them, the settings and `shard_bytes` decide what is in which shard.
    settings: a name for what `make` does. processes: one a core if not given. What was killed goes on when it is called
    again with the same. InputError if `out` holds a manifest or what was begun otherwise, or if nothing is good.
    """
    manifest, progress = out / "manifest.jsonl", out / ".preparing"
    if manifest.exists():
        raise InputError(f"{manifest}: is there already; remove it with its shards, or choose another --out")
    planned = _planned(conversations, shard_bytes)
    plan = _digest(conversations, settings, shard_bytes)
    with locked(progress / "lock", wait=False) as mine:
        if not mine:
            raise InputError(f"{out}: another process is preparing it; wait for that, or choose another --out")
        _claim(progress, plan, out)
        jobs = [(number, *part) for number, part in enumerate(planned) if _report(progress, number) is None]
        work = partial(_write_shard, out=out, progress=progress, make=make)
        n_processes = min(processes or os.cpu_count() or 1, len(jobs))
        if n_processes > 1:
            # Not forked: what a fork copies of the threads of this process does not run.
            try:
                with ProcessPoolExecutor(n_processes, get_context("spawn"), initializer=_leave_with_parent) as pool:
                    list(pool.map(work, jobs))
            except BrokenProcessPool as error:
                raise RunError(
                    f"{out}: a process was killed (out of memory?); finished shards are kept: the same command "
                    "goes on, with fewer --processes if memory is short"
                ) from error
        else:
            list(map(work, jobs))
        reports = [_report(progress, number) or {} for number in range(len(planned))]
        lines, problems, warnings = ([each for r in reports for each in r[name]] for name in _REPORTED)
        if lines:
            write_manifest(manifest, [parse_line(line.encode(), str(progress), out) for line in lines])
    shutil.rmtree(progress)
    if not lines:
        raise InputError(f"{out}: none of the {len(conversations)} conversations is good; the first: {problems[0]}")
    return Shards(manifest, len(lines), problems, warnings)


def key(number: int, name: str) -> str:
    """Key of a conversation's members: its place in the corpus and what of its id may stand in any file name."""
    return f"{number:07d}-{re.sub('[^A-Za-z0-9_-]+', '_', name)[:64]}"


def _digest(conversations: Sequence[Conversation], settings: str, shard_bytes: int) -> str:
    """SHA-256 of all that decides the bytes of the shards."""
    digest = sha256(f"{settings} {shard_bytes}".encode())
    for each in conversations:
        annotation = as_json(replace(each, audio=None, sample_rate_hz=None), Path())
        digest.update(json.dumps([annotation, str(each.audio), each.sample_rate_hz]).encode())
    return digest.hexdigest()


def _planned(conversations: Sequence[Conversation], shard_bytes: int) -> list[tuple[int, Sequence[Conversation]]]:
    """Conversations of each shard, in their order, and the number of the first."""
    firsts, filled = [0], 0.0
    for number, each in enumerate(conversations):
        size = 2 * each.channels * each.duration_seconds * (each.sample_rate_hz or _ANNOTATION_RATE_HZ)
        if filled and filled + size > shard_bytes:
            firsts.append(number)
            filled = 0.0
        filled += size
    ends = [*firsts[1:], len(conversations)]
    return [(first, conversations[first:end]) for first, end in zip(firsts, ends, strict=True)]


def _claim(progress: Path, plan: str, out: Path) -> None:
    """Take up the work of this plan; what a killed process left half written goes."""
    begun = progress / "plan"
    if begun.exists() and begun.read_text() != plan:
        raise InputError(
            f"{out}: was begun with another corpus or other settings; give those to go on, or remove {progress} and "
            "its shards"
        )
    for half_written in progress.glob("half-*"):
        shutil.rmtree(half_written)
    with atomically(begun) as file:
        file.write(plan.encode())


_REPORTED = ("lines", "problems", "warnings")


def _report(progress: Path, number: int) -> dict[str, list[str]] | None:
    """What a finished shard holds; None if it is not finished."""
    path = progress / f"{number:05d}.json"
    report: dict[str, list[str]] | None = json.loads(path.read_bytes()) if path.exists() else None
    return report


# --- One shard -------------------------------------------------------------------------------------------------------


def _write_shard(job: tuple[int, int, Sequence[Conversation]], out: Path, progress: Path, make: Make) -> None:
    """Write one shard, then the report that says so."""
    number, first, conversations = job
    report: dict[str, list[str]] = {name: [] for name in _REPORTED}
    shard, half_written = out / f"shard-{number:05d}.tar", progress / f"half-{number:05d}"
    try:
        half_written.mkdir()
        with (half_written / shard.name).open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for place, conversation in enumerate(conversations, start=first):
                    try:
                        with TemporaryDirectory(dir=half_written) as folder:
                            stored = _store(tar, key(place, conversation.id), conversation, Path(folder), make)
                    except InputError as error:
                        report["problems"].append(str(error))
                        continue
                    line = as_json(replace(stored.conversation, audio=Member(shard, *stored.audio_bytes)), out)
                    report["lines"].append(json.dumps(line, ensure_ascii=False, allow_nan=False))
                    report["warnings"] += stored.warnings
            file.flush()
            os.fsync(file.fileno())
        if report["lines"]:
            (half_written / shard.name).replace(shard)
            flush_folder(out)
        shutil.rmtree(half_written)
    except OSError as error:
        raise RunError(
            f"{shard}: cannot be written ({error.strerror or error}); finished shards are kept: free some space, and "
            "the same command goes on"
        ) from error
    with atomically(progress / f"{number:05d}.json") as file:
        file.write(json.dumps(report).encode())


class _Stored(NamedTuple):
    conversation: Conversation
    audio_bytes: tuple[int, int]
    """Offset and size in the shard."""
    warnings: list[str]


def _store(tar: tarfile.TarFile, name: str, conversation: Conversation, folder: Path, make: Make) -> _Stored:
    """Add a conversation's FLAC and line to a shard; `folder` takes what must be written on the way."""
    conversation, warnings = make(conversation, folder)
    if conversation.audio is None:
        raise InputError(f"conversation {conversation.id!r}: annotation only, which has no place in a shard")
    flac = folder / f"{name}.flac"
    warnings = [*warnings, *write_flac(flac, conversation.audio)]
    size = flac.stat().st_size
    if size >= _MOST_MEMBER_BYTES:
        raise InputError(f"{conversation.audio}: {size} bytes as FLAC, expected less than 8 GiB: cut it into parts")
    conversation = replace(conversation, audio=flac, sha256=audio.sha256(flac))
    line = json.dumps(as_json(conversation, folder), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    header = tarfile.TarInfo(flac.name)  # without owner and time: the same members make the same bytes
    header.size = size
    offset = tar.offset + tarfile.BLOCKSIZE  # typeshed does not know it
    with flac.open("rb") as file:
        tar.addfile(header, file)
    header = tarfile.TarInfo(f"{name}.json")
    header.size = len(line)
    tar.addfile(header, io.BytesIO(line))
    return _Stored(conversation, (offset, size), warnings)


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, whatever took it."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
