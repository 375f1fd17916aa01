"""Annotation files: one reader a format, each giving utterances with speaker or channel; found beside recordings.

The `folder` corpora read any of `FORMATS`, the adapters of named corpora those that theirs is in.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from ssl_tt.data.annotation.audacity import read_labels
from ssl_tt.data.annotation.chat import read_chat
from ssl_tt.data.annotation.ctm import read_ctm
from ssl_tt.data.annotation.elan import read_elan
from ssl_tt.data.annotation.rttm import read_rttm
from ssl_tt.data.annotation.table import read_table
from ssl_tt.data.annotation.textgrid import read_utterances
from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.annotation.webvtt import read_webvtt
from ssl_tt.errors import InputError

_Recordings = Mapping[str, list[Utterance]]

FORMATS: dict[str, Callable[[Path], list[Utterance] | _Recordings]] = {
    ".rttm": read_rttm,
    ".ctm": read_ctm,
    ".textgrid": read_utterances,
    ".eaf": read_elan,
    ".cha": lambda path: read_chat(path).utterances,
    ".vtt": read_webvtt,
    ".txt": read_labels,
    ".csv": read_table,
}
"""Reader of a file by its ending in lower case; RTTM and CTM name recordings, of which a file may have several."""


def annotations(root: Path) -> dict[Path, list[Path]]:
    """Annotation files under a folder by their paths without the ending."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in FORMATS and path.is_file():
            found.setdefault(path.with_suffix(""), []).append(path)
    return found


def read_annotation(path: Path, recording: str) -> list[Utterance]:
    """Utterances of a recording in any of the formats; InputError for what is no such file or is about others."""
    found = FORMATS[path.suffix.lower()](path)
    if isinstance(found, list):
        return found
    if recording in found:
        return found[recording]
    raise InputError(f"{path}: about {', '.join(map(repr, found)) or 'no recording'}, expected {recording!r}")
