"""Gridspace-Stanford Harper Valley: 1,446 acted calls to a bank, 23 h, 8 kHz (Wu et al. 2020, arXiv:2010.13929).

CC BY 4.0. The root is a clone of github.com/cricketclub/gridspace-stanford-harper-valley, or its `data`:

    data/audio/agent/SID.wav, data/audio/caller/SID.wav   a file a speaker
    data/transcript/SID.json                              segments with the times of recognised words
    data/metadata/SID.json                                who is agent and who is caller

Times count from the beginning of the recording (`offset_ms`), as the corpus' README says.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.json_text import read_json
from ssl_tt.data.annotation.utterance import Utterance, from_words, is_speech, time, utterance
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_ROLES = ("caller", "agent")
"""Who is on which channel, in the order of the corpus' own channel_index."""


class _Segment(BaseModel):
    speaker_role: str
    offset_ms: float
    duration_ms: float
    human_transcript: str
    word_offsets_ms: list[float] = []
    word_durations_ms: list[float] = []


class _Person(BaseModel):
    speaker_id: int


class _Metadata(BaseModel):
    agent: _Person
    caller: _Person


def read(root: Path) -> Iterator[Conversation]:
    """Calls by their identifiers: words at most 0.2 s apart are a segment, remarks such as [noise] alone are none.

    Each speaker is a file: `provenance["channel_files"]`, which `prepare` joins.
    """
    files = sorted(path for path in root.rglob("*.json") if path.parent.name == "transcript")
    if not files:
        raise InputError(f"{root}: no transcript/*.json, expected those of Harper Valley")
    return map(partial(_call, root, Recordings(root)), files)


def _call(root: Path, audio: Recordings, path: Path) -> Conversation:
    call = path.stem
    metadata = read_json(path.parent.parent / "metadata" / path.name, _Metadata, "Harper Valley's metadata")
    said: dict[str, list[Utterance]] = {role: [] for role in _ROLES}
    for number, segment in enumerate(read_json(path, list[_Segment], "Harper Valley's segments")):
        where = f"{path}: segment {number}"
        if segment.speaker_role not in said:
            raise InputError(f"{where}: role {segment.speaker_role!r} has no channel, expected agent or caller")
        if is_speech(segment.human_transcript):
            said[segment.speaker_role] += _words(where, segment)
    return assemble(
        f"harpervalley-{call}",
        [f"harpervalley-{person.speaker_id}" for person in (metadata.caller, metadata.agent)],
        [from_words(said[role]) for role in _ROLES],
        path,
        {"corpus": "harpervalley", "labels": "recognised"},
        root=root,
        files=[audio.find(call, folder=role) for role in _ROLES],
    )


def _words(where: str, segment: _Segment) -> list[Utterance]:
    """The words of a segment; the whole of it where the recogniser found none."""
    if len(segment.word_offsets_ms) != len(segment.word_durations_ms):
        raise InputError(
            f"{where}: {len(segment.word_offsets_ms)} word offsets, {len(segment.word_durations_ms)} durations"
        )
    words = list(zip(segment.word_offsets_ms, segment.word_durations_ms, strict=True)) or [(0.0, segment.duration_ms)]
    found = []
    for offset, duration in words:
        start = time(str(segment.offset_ms + offset), where, 1e-3)
        found.append(utterance(where, start, start + duration * 1e-3))
    return found
