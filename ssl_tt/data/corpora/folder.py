"""Any folder of recordings with one channel a speaker and no labels.

Nothing says who speaks, so every channel of every file counts as a person of its own. Where people come back, name them
in the manifest's `speakers`, or training and test will share them.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.audio import probe_header, sha256
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif", ".au", ".w64", ".rf64"})
"""Endings, in lower case, of the files that count as recordings."""


def read(root: Path) -> Iterator[Conversation]:
    """Recordings under the root in order of their paths, unlabelled; a file with one channel is a bad item."""
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{root}: no recordings, expected files ending in {', '.join(sorted(SUFFIXES))}")
    return map(partial(_conversation, root), files)


def _conversation(root: Path, path: Path) -> Conversation:
    header = probe_header(path)
    if header.channels == 1:
        raise InputError(f"{path}: 1 channel, expected 2 (one a speaker); is this a mixed-down release?")
    name = path.relative_to(root).with_suffix("").as_posix()
    return Conversation(
        id=name,
        audio=path,
        sample_rate_hz=header.sample_rate_hz,
        channels=header.channels,
        duration_seconds=header.duration_seconds,
        speakers=tuple(f"{name}-{channel}" for channel in range(1, header.channels + 1)),
        sha256=sha256(path),
        provenance={"corpus": "folder"},
    )
