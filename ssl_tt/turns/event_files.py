"""Events of a manifest as a file: JSONL, CSV, or labels that Audacity shows under the audio."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_manifest
from ssl_tt.errors import InputError
from ssl_tt.timebase import seconds
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import find_events

_FIELDS = ("conversation", "kind", "start_seconds", "end_seconds", "decision_seconds", "previous", "next")


def write_events(manifest: Path, out: Path, preset: str, frame_rate_hz: float, conversation: str | None = None) -> int:
    """Write the events of every conversation of a manifest, or of one, to `out` and return how many there are.

    An event is a mutual silence [start_seconds, end_seconds) between the speakers `previous` and `next`, asked about at
    `decision_seconds`. InputError for another suffix than .jsonl, .csv or .txt, and for .txt of several conversations.
    """
    conversations = read_manifest(manifest)
    if conversation is not None:
        conversations = [c for c in conversations if c.id == conversation]
        if not conversations:
            raise InputError(f"{manifest}: no conversation {conversation!r}; its ids stand in the manifest")
    if out.suffix not in (".jsonl", ".csv", ".txt"):
        raise InputError(f"{out}: events are written as .jsonl, .csv or .txt (Audacity); change the suffix")
    if out.suffix == ".txt" and len(conversations) > 1:
        raise InputError(f"{out}: labels for Audacity are of one conversation; name it with --conversation ID")
    rows = [row for each in conversations for row in _rows(each, preset, frame_rate_hz)]
    text = io.StringIO()
    if out.suffix == ".jsonl":
        text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif out.suffix == ".csv":
        writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        for row in rows:
            label = f"{row['kind']} {row['previous']} > {row['next']}"
            text.write(f"{row['start_seconds']:.3f}\t{row['end_seconds']:.3f}\t{label}\n")
    with atomically(out) as file:
        file.write(text.getvalue().encode())
    return len(rows)


def _rows(conversation: Conversation, preset: str, frame_rate_hz: float) -> list[dict[str, Any]]:
    if conversation.segments is None:
        raise InputError(f"conversation {conversation.id!r} has no speech segments: prepare its corpus with a detector")
    return [
        {
            "conversation": conversation.id,
            "kind": event.kind,
            "start_seconds": round(seconds(event.start, frame_rate_hz), 3),
            "end_seconds": round(seconds(event.end, frame_rate_hz), 3),
            "decision_seconds": round(seconds(event.decision + 1, frame_rate_hz), 3),
            "previous": conversation.speakers[event.previous],
            "next": conversation.speakers[event.speaker],
        }
        for event in find_events(activity(conversation, frame_rate_hz), frame_rate_hz, preset)
    ]
