"""The recordings under a folder, found by their names."""

from collections.abc import Iterator
from pathlib import Path

from ssl_tt.errors import InputError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif", ".au", ".w64", ".rf64"})
"""Endings, in lower case, of the files that count as recordings."""


def recordings(root: Path) -> Iterator[Path]:
    """Every recording under a folder, in the order of the paths."""
    return (path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())


class Recordings:
    """Recordings of a corpus by the stems of their names: either all are there, or none and it is annotation alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in recordings(root):
            self._by_stem.setdefault(path.stem, []).append(path)

    def find(self, *stems: str, folder: str | None = None) -> Path | None:
        """The recording with one of these names, in a folder of this name if one is given.

        A conversion to another format counts before the original, which may be one that cannot be read. None if the
        corpus has no recordings at all; InputError if it has others, or two of this name.
        """
        found = [
            path
            for stem in stems
            for path in self._by_stem.get(stem, [])
            if folder is None or path.parent.name.lower() == folder.lower()
        ]
        converted = [path for path in found if path.suffix.lower() != ".sph"] or found
        if len(converted) > 1:
            raise InputError(f"{converted[0]}: also at {converted[1]}, expected one recording of this name")
        if converted:
            return converted[0]
        if self._by_stem:
            inside = "" if folder is None else f" in a folder {folder}"
            raise InputError(
                f"{self.root}: no recording {' or '.join(stems)}{inside}, expected it, as other recordings are there: "
                "get it, or take its annotation away"
            )
        return None
