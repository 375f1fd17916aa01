"""Manifests of lhotse, from and to: recordings and supervisions, or cuts, a JSON object a line.

Lines are read one by one and never as lhotse's lazy manifests: a damaged one is told by its number and hides no other.
Only files are read; a source that is a command or an address is refused, so a manifest can run and fetch nothing.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import call
from pathlib import Path
from typing import Any

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.channels import on_channels
from ssl_tt.data.annotation.utterance import Utterance, utterance
from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import audio_path, verify_header
from ssl_tt.data.channel_files import joint_header
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

_LONGEST_LINE = 64 * 2**20
_NOT_THIS = (ValueError, TypeError, KeyError, AttributeError, AssertionError, IndexError)
"""What lhotse raises for an object that is none of its own."""


def read_lhotse(root: Path) -> Iterator[Conversation]:
    """Conversations of the manifests in a folder; see `ssl_tt.data.corpora.lhotse`.

    InputError where lhotse is not installed, for a folder without manifests and for supervisions that cannot be read,
    since nobody knows whose they are.
    """
    parse = _parser()
    cuts = _manifests(root, "cuts")
    recordings = _manifests(root, "recordings")
    if not cuts and not recordings:
        raise InputError(f"{root}: no cuts.jsonl.gz and no recordings.jsonl.gz, expected manifests of lhotse")
    items: list[Callable[[], Conversation]] = []
    for path in cuts:
        items += [partial(_from_cut, root, parse, path, *line) for line in _lines(path)]
    for path in recordings if not cuts else []:
        beside = path.with_name(path.name.replace("recordings", "supervisions"))
        said = _supervisions(beside) if beside.exists() else None
        items += [partial(_from_recording, root, parse, path, beside, said, *line) for line in _lines(path)]
    return map(call, items)


def write_lhotse(folder: Path, conversations: Sequence[Conversation]) -> None:
    """Write `folder`/recordings.jsonl.gz and supervisions.jsonl.gz, each whole or not at all; audio stays where it is.

    InputError where lhotse is not installed and for conversations without audio, or with audio in shards or at URLs.
    """
    _parser()
    from lhotse import AudioSource, Recording, SupervisionSegment

    recordings, supervisions = [], []
    for each in conversations:
        header = verify_header(each)
        path = audio_path(each)
        if not isinstance(path, Path):
            raise InputError(f"{path}: audio in a shard or at a URL, expected whole files, as lhotse names them")
        source = AudioSource(type="file", channels=list(range(each.channels)), source=str(path.resolve()))
        recordings.append(
            Recording(
                id=each.id,
                sources=[source],
                sampling_rate=header.sample_rate_hz,
                num_samples=header.n_samples,
                duration=header.duration_seconds,
            )
        )
        supervisions += [
            SupervisionSegment(
                id=f"{each.id}-{channel}-{number}",
                recording_id=each.id,
                start=start,
                duration=end - start,
                channel=channel,
                speaker=each.speakers[channel],
            )
            for channel, segments in enumerate(each.segments or ())
            for number, (start, end) in enumerate(segments)
        ]
    for name, manifest in (("recordings", recordings), ("supervisions", supervisions)):
        with (
            atomically(folder / f"{name}.jsonl.gz") as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as writer,
        ):
            for item in manifest:
                writer.write(json.dumps(item.to_dict(), ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _parser() -> Callable[[dict[str, Any]], Any]:
    """What makes lhotse's objects of a line."""
    try:
        from lhotse.serialization import deserialize_item
    except ImportError as error:
        raise InputError("lhotse is not installed: pip install 'ssl-tt[lhotse]'") from error
    return deserialize_item


def _manifests(root: Path, kind: str) -> list[Path]:
    return sorted(path for ending in ("jsonl", "jsonl.gz") for path in root.glob(f"*{kind}*.{ending}"))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Lines with where they are; InputError if the file cannot be read to its end."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if line.strip():
                    yield f"{path} line {number}", line
    except (OSError, EOFError, zlib.error) as error:
        where = f"{path} line {number + 1}"
        raise InputError(f"{where}: {error}, expected a manifest of lhotse: was it cut short?") from error


def _json(where: str, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}, expected an object in JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: {str(found)[:40]!r}, expected an object in JSON")
    return found


def _supervisions(path: Path) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Supervisions by recording, each with where it is."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for where, line in _lines(path):
        item = _json(where, line)
        if not isinstance(item.get("recording_id"), str):
            raise InputError(f"{where}: no recording_id, expected a supervision of lhotse")
        found.setdefault(item["recording_id"], []).append((where, item))
    return found


def _from_recording(
    root: Path,
    parse: Callable[[dict[str, Any]], Any],
    path: Path,
    beside: Path,
    said: dict[str, list[tuple[str, dict[str, Any]]]] | None,
    where: str,
    line: bytes,
) -> Conversation:
    recording = _parsed(parse, _json(where, line), where, "Recording")
    if said is None:
        return _conversation(root, recording, None, where, path)
    mine = [(here, _parsed(parse, item, here, "SupervisionSegment")) for here, item in said.get(recording.id, [])]
    return _conversation(root, recording, mine, where, beside)


def _from_cut(root: Path, parse: Callable[[dict[str, Any]], Any], path: Path, where: str, line: bytes) -> Conversation:
    cut = _parsed(parse, _json(where, line), where, "MonoCut", "MultiCut")
    recording = cut.recording
    if recording is None or cut.start != 0 or cut.duration != recording.duration:
        raise InputError(f"{where}: cut {cut.id!r} is not a whole recording, expected such, with its recording inside")
    return _conversation(root, recording, [(where, each) for each in cut.supervisions], where, path)


def _parsed(parse: Callable[[dict[str, Any]], Any], item: dict[str, Any], where: str, *kinds: str) -> Any:
    try:
        found = parse(item)
    except _NOT_THIS as error:
        raise InputError(f"{where}: {error}, expected a {' or '.join(kinds)} of lhotse") from error
    if type(found).__name__ not in kinds:
        raise InputError(f"{where}: a {type(found).__name__}, expected a {' or '.join(kinds)} of lhotse")
    return found


def _conversation(
    root: Path, recording: Any, supervisions: list[tuple[str, Any]] | None, where: str, path: Path
) -> Conversation:
    if not (isinstance(recording.id, str) and recording.sources):
        raise InputError(
            f"{where}: recording {recording.id!r} of {len(recording.sources)} files, expected a name and files"
        )
    for source in recording.sources:
        if source.type != "file":
            raise InputError(f"{where}: audio from a {source.type}, expected a file: save the recordings as files")
    if recording.transforms:
        raise InputError(f"{where}: a recording with transforms, expected the recording as it is")
    sources = sorted(recording.sources, key=lambda source: source.channels)
    files = [Path(source.source).absolute() for source in sources]
    channels = [channel for source in sources for channel in source.channels]
    header = joint_header(files)
    if header.channels != len(channels) or header.n_samples != recording.num_samples:
        raise InputError(
            f"{where}: {len(channels)} channels of {recording.num_samples} samples, expected {header.channels} of "
            f"{header.n_samples} as in {files[0]}: make the manifests anew"
        )
    details = {"corpus": "lhotse", "file": path.relative_to(root).as_posix()}
    if supervisions is None:
        speakers = [f"{recording.id}-{number}" for number in range(1, len(channels) + 1)]
        return assemble(recording.id, speakers, None, path, details, root=root, files=files)
    utterances = [_utterance(here, each, channels) for here, each in supervisions]
    sides = on_channels(recording.id, utterances, len(channels), path, files)
    details["labels"] = "annotated"
    return assemble(recording.id, sides.speakers, sides.utterances, path, details, root=root, files=files)


def _utterance(where: str, supervision: Any, channels: list[int]) -> Utterance:
    channel = supervision.channel
    if isinstance(channel, list) and len(channel) == 1:
        (channel,) = channel
    if channel not in channels:
        raise InputError(
            f"{where}: {supervision.speaker!r} on channel {channel}, expected one of {', '.join(map(str, channels))}"
        )
    try:
        start, end = float(supervision.start), float(supervision.start) + float(supervision.duration)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}, expected start and duration in seconds") from error
    return utterance(where, start, end, supervision.speaker or "", channels.index(channel) + 1)
