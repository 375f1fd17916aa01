"""Phones: which sound is spoken when, for those corpora that know; a file beside the manifest, a speaker a line.

    {"conversation": "call1", "speaker": "ann", "phones": [[0.41, 0.47, "h"], [0.47, 0.52, "ə"]]}

Times are seconds from the start of the conversation. Forced alignments of your own can be written so.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_line
from ssl_tt.data.storage import Remote
from ssl_tt.errors import InputError
from ssl_tt.recipe import Settings
from ssl_tt.timebase import frame_edges

PHONES = "phones.jsonl"


class Phone(NamedTuple):
    """One sound: [start_seconds, end_seconds), and its label, such as an IPA symbol."""

    start_seconds: float
    end_seconds: float
    label: str


Phones = Mapping[str, Sequence[Sequence[Phone]]]
"""By id of the conversation: the phones of each channel, in order."""


class _Line(Settings):
    """A line as it stands in the file."""

    conversation: str
    speaker: str
    phones: tuple[tuple[float, float, str], ...]


def write_phones(path: Path, conversations: Sequence[Conversation], phones: Phones) -> None:
    """Write the phones of conversations, whole or not at all."""
    with atomically(path) as file:
        for conversation in conversations:
            for speaker, spoken in zip(conversation.speakers, phones[conversation.id], strict=True):
                line = {"conversation": conversation.id, "speaker": speaker, "phones": spoken}
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_phones(manifest: Path | Remote, conversations: Sequence[Conversation]) -> Phones:
    """The phones beside a manifest; of a speaker without a line there are none.

    InputError, with the line, for what is no such line, names a conversation or speaker that there is not or that had a
    line before, or has times that are out of order or outside the conversation; also if there is no such file.
    """
    path = manifest.parent / PHONES
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; expected the phones of {manifest.name}, a speaker a line: write them there, "
            f"or, if an earlier version simulated this corpus, remove {manifest.parent} for it to be made anew"
        ) from error
    known = {conversation.id: conversation for conversation in conversations}
    found: dict[str, list[Sequence[Phone]]] = {each.id: [()] * each.channels for each in conversations}
    line_of: dict[tuple[str, str], int] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip():
            where = f"{path} line {number}"
            line = read_line(_Line, text, where)
            if line.conversation not in known:
                raise InputError(f"{where}: conversation {line.conversation!r} is not in {manifest.name}")
            conversation = known[line.conversation]
            if line.speaker not in conversation.speakers:
                expected = " or ".join(map(repr, conversation.speakers))
                raise InputError(f"{where}: speaker {line.speaker!r} of {line.conversation!r}, expected {expected}")
            first = line_of.setdefault((line.conversation, line.speaker), number)
            if first != number:
                raise InputError(
                    f"{where}: speaker {line.speaker!r} of {line.conversation!r} again, after line {first}: "
                    "expected all phones of a speaker in one line"
                )
            spoken = [Phone(*phone) for phone in line.phones]
            _check(spoken, conversation.duration_seconds, where)
            found[line.conversation][conversation.speakers.index(line.speaker)] = spoken
    return found


def _check(phones: Sequence[Phone], duration_seconds: float, where: str) -> None:
    until = 0.0
    for start, end, label in phones:
        if not (math.isfinite(start) and math.isfinite(end) and until <= start < end and label):
            raise InputError(
                f"{where}: phone {label!r} from {start} to {end} s after one that ends at {until} s, expected labels "
                "and times in order"
            )
        until = end
    if until > duration_seconds + 1e-3:
        raise InputError(f"{where}: a phone ends at {until} s, after the {duration_seconds} s of the conversation")


def phone_at(phones: Sequence[Phone], frames: NDArray[np.int64], frame_rate_hz: float) -> NDArray[np.str_]:
    """Label of the phone in the middle of each frame [F], "" where there is none."""
    if not phones or not len(frames):
        return np.full(len(frames), "", dtype=np.str_)
    starts, ends, labels = (np.array(column) for column in zip(*phones, strict=True))
    edges = frame_edges(int(frames.max()) + 1, frame_rate_hz)
    middles = (edges[frames] + edges[frames + 1]) / 2
    place = np.searchsorted(starts, middles, side="right") - 1
    inside = (place >= 0) & (middles < ends[place])
    return np.where(inside, labels[place], "")
