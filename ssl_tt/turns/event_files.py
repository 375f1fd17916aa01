"""Events of a manifest as a file: JSONL, CSV, or labels that Audacity shows under the audio."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_manifest
from ssl_tt.errors import InputError
from ssl_tt.timebase import seconds
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import find_events
from ssl_tt.turns.presets import Preset, find_preset
from ssl_tt.turns.spans import Kind

DEFAULT_FRAME_RATE_HZ = 50.0
"""Rate of the activity for presets that fit any, Hz; the one at which the code of their papers runs."""

_FIELDS = (
    "conversation",
    "kind",
    "start_seconds",
    "end_seconds",
    "region_start_seconds",
    "decision_seconds",
    "previous",
    "next",
)
# Kinds about the turn from one speaker to another or the same; a label of the others names one speaker.
_OF_TWO = ("shift", "hold", "shift_overlap", "overlap", "predict_shift", "predict_shift_negative")


def write_events(
    manifest: Path, out: Path, preset: str, frame_rate_hz: float | None = None, conversation: str | None = None
) -> dict[Kind, int]:
    """Write the events of every conversation of a manifest, or of one, to `out`; how many there are of each kind.

    A row is an event [start_seconds, end_seconds), scored from `region_start_seconds` to `decision_seconds`, when the
    answer is due; `previous` had the turn, and `next` is the event's speaker, as `Event` says of each kind. Without
    `frame_rate_hz` it is that of the preset, or 50 Hz. InputError for another suffix than .jsonl, .csv or .txt, for
    .txt of several conversations, and as of `find_events`.
    """
    rules = find_preset(preset)
    conversations = read_manifest(manifest)
    if conversation is not None:
        conversations = [c for c in conversations if c.id == conversation]
        if not conversations:
            raise InputError(f"{manifest}: no conversation {conversation!r}; its ids stand in the manifest")
    if out.suffix not in (".jsonl", ".csv", ".txt"):
        raise InputError(f"{out}: events are written as .jsonl, .csv or .txt (Audacity); change the suffix")
    if out.suffix == ".txt" and len(conversations) > 1:
        raise InputError(f"{out}: labels for Audacity are of one conversation; name it with --conversation ID")
    rate_hz = frame_rate_hz if frame_rate_hz is not None else rules.frame_rate_hz or DEFAULT_FRAME_RATE_HZ
    rows = [row for each in conversations for row in _rows(each, rules, rate_hz)]
    with atomically(out) as file:
        file.write(_text(rows, out.suffix).encode())
    counts = dict.fromkeys(rules.kinds, 0)
    for row in rows:
        counts[row["kind"]] += 1
    return counts


def _text(rows: Iterable[dict[str, Any]], suffix: str) -> str:
    text = io.StringIO()
    if suffix == ".jsonl":
        text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif suffix == ".csv":
        writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            who = f"{row['previous']} > {row['next']}" if row["kind"] in _OF_TWO else row["next"]
            text.write(f"{row['start_seconds']:.3f}\t{row['end_seconds']:.3f}\t{row['kind']} {who}\n")
    return text.getvalue()


def _rows(conversation: Conversation, rules: Preset, frame_rate_hz: float) -> list[dict[str, Any]]:
    if conversation.segments is None:
        raise InputError(f"conversation {conversation.id!r} has no speech segments: prepare its corpus with a detector")
    long_enough = tuple(
        tuple(each for each in segments if each.end_seconds - each.start_seconds >= rules.shortest_segment_seconds)
        for segments in conversation.segments
    )
    spoken = activity(replace(conversation, segments=long_enough), frame_rate_hz)
    try:
        events = find_events(spoken, frame_rate_hz, rules.name)
    except InputError as error:
        raise InputError(f"conversation {conversation.id!r}: {error}") from None
    return [
        {
            "conversation": conversation.id,
            "kind": event.kind,
            "start_seconds": round(seconds(event.start, frame_rate_hz), 3),
            "end_seconds": round(seconds(event.end, frame_rate_hz), 3),
            "region_start_seconds": round(seconds(event.region[0], frame_rate_hz), 3),
            "decision_seconds": round(seconds(event.decision + 1, frame_rate_hz), 3),
            "previous": conversation.speakers[event.previous],
            "next": conversation.speakers[event.speaker],
        }
        for event in events
    ]
