"""Annotation of any format that lies beside recordings, `call.TextGrid` beside `call.wav`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation import annotations, read_annotation
from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.channels import on_channels
from ssl_tt.data.audio import Header, probe_header
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import SUFFIXES, recordings
from ssl_tt.errors import InputError

Found = Mapping[Path, Sequence[Path]]
"""Annotation files by their paths without the ending."""

# Endings that files of other kinds have too.
_OTHER_USES = frozenset({".txt", ".csv"})


def of_recording(found: Found, stem: Path) -> Path | None:
    """The annotation of a path without its ending, None if there is none; InputError if there are several."""
    beside = found.get(stem, [])
    if len(beside) > 1:
        names = " and ".join(path.name for path in beside)
        raise InputError(f"{stem.parent}: {names} for one recording, expected one annotation: take the others away")
    return beside[0] if beside else None


def without_recording(found: Found, stems: Collection[Path]) -> list[Path]:
    """Annotation files, of formats whose endings have no other use, that belong to no recording."""
    paths = [path for stem, paths in found.items() if stem not in stems for path in paths]
    return [path for path in paths if path.suffix.lower() not in _OTHER_USES]


def refuse_without_recording(annotation: Path) -> None:
    """Raise InputError for an annotation that belongs to no recording."""
    raise InputError(f"{annotation}: no recording of this name beside it: get it, or take the annotation away")


def no_recordings(root: Path) -> InputError:
    """What to raise for a folder without recordings."""
    return InputError(f"{root}: no recordings, expected files ending in {', '.join(sorted(SUFFIXES))}")


def one_file_each(root: Path, corpus: str, check: Callable[[Path, Header], None]) -> Iterator[Conversation]:
    """Every recording under the root as a conversation, in order of their paths, labelled where annotation is beside.

    `check` raises InputError for a recording that does not belong to such a corpus.
    """
    files = list(recordings(root))
    if not files:
        raise no_recordings(root)
    found = annotations(root)
    lonely = without_recording(found, {file.with_suffix("") for file in files})
    return map(partial(_conversation, root, corpus, check, found), [*files, *lonely])


def _conversation(
    root: Path, corpus: str, check: Callable[[Path, Header], None], found: Found, path: Path
) -> Conversation:
    if path.suffix.lower() not in SUFFIXES:
        refuse_without_recording(path)
    header = probe_header(path)
    check(path, header)
    name = path.relative_to(root).with_suffix("").as_posix()
    annotation = of_recording(found, path.with_suffix(""))
    if annotation is None:
        speakers = [f"{name}-{channel}" for channel in range(1, header.channels + 1)]
        return assemble(name, speakers, None, path, {"corpus": corpus}, root=root, files=[path])
    sides = on_channels(name, read_annotation(annotation, path.stem), header.channels, annotation, [path])
    provenance = {
        "corpus": corpus,
        "labels": "annotated",
        "file": annotation.relative_to(root).as_posix(),
        "channels_told_by": sides.told_by,
    }
    return assemble(name, sides.speakers, sides.utterances, annotation, provenance, root=root, files=[path])
