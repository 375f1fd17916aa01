"""RTTM, NIST's rich transcription time marks, as diarisation tools write it: any folder of `*.rttm` files.

    SPEAKER meeting1 1 12.340 3.210 <NA> <NA> alice <NA> <NA>

is 3.21 s of alice from 12.34 s on, on channel 1 of the recording meeting1.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ssl_tt.data.audio import probe_header, sha256
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError

_AUDIO = (".wav", ".flac", ".sph")

# Types of the 2009 evaluation plan, appendix A; only SPEAKER says who speaks when.
_OTHER_TYPES = {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER"}
_OTHER_TYPES |= {"EDIT", "IP", "SU", "CB", "A/P", "SPKR-INFO"}


class Speaker(NamedTuple):
    """A speaker of a recording: channel from 1 as in the file, segments in order."""

    channel: int
    segments: tuple[Segment, ...]


def read_rttm(path: Path) -> dict[str, dict[str, Speaker]]:
    """Speakers by recording and name; InputError, with the line, for what is no RTTM."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected RTTM") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}), expected RTTM") from error
    recordings: dict[str, dict[str, Speaker]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0] in _OTHER_TYPES:
            continue
        where = f"{path} line {number}"
        if fields[0] != "SPEAKER" or len(fields) not in (9, 10):
            raise InputError(f"{where}: {line[:80]!r}, expected SPEAKER and 8 or 9 more fields")
        try:
            channel, start, duration = int(fields[2]), float(fields[3]), float(fields[4])
        except ValueError as error:
            raise InputError(f"{where}: {error}; expected channel, start and duration as numbers") from error
        if not (start >= 0 and duration > 0):
            raise InputError(f"{where}: start {start} s and duration {duration} s, expected 0 or more and more than 0")
        speakers = recordings.setdefault(fields[1], {})
        known = speakers.get(fields[7], Speaker(channel, ()))
        if known.channel != channel:
            raise InputError(f"{where}: {fields[7]!r} on channel {channel}, expected {known.channel} as before")
        speakers[fields[7]] = Speaker(channel, (*known.segments, Segment(start, start + duration)))
    return {
        recording: {name: speaker._replace(segments=tuple(sorted(speaker.segments))) for name, speaker in found.items()}
        for recording, found in recordings.items()
    }


def read(root: Path) -> Iterator[Conversation]:
    """Recordings of all `*.rttm` files under the root, in order, with the audio that lies beside the RTTM, if any.

    Audio is `<recording>.wav`, `.flac` or `.sph` and must have each speaker on a channel of their own, as the RTTM's
    channel field says. Without audio a conversation lasts until its last segment ends.
    """
    files = sorted(root.rglob("*.rttm"))
    if not files:
        raise InputError(f"{root}: no *.rttm files")
    return map(partial(_conversation, root), files)


def _conversation(root: Path, path: Path) -> Conversation:
    recordings = read_rttm(path)
    if len(recordings) != 1:
        raise InputError(f"{path}: {len(recordings)} recordings, expected one a file")
    ((recording, speakers),) = recordings.items()
    names = sorted(speakers, key=lambda name: (speakers[name].channel, name))
    segments = tuple(speakers[name].segments for name in names)
    audio = next((file for suffix in _AUDIO if (file := path.with_name(recording + suffix)).exists()), None)
    provenance = {"corpus": "rttm", "labels": "annotated", "file": path.relative_to(root).as_posix()}
    if audio is None:
        end = max(segment.end_seconds for found in segments for segment in found)
        return Conversation(recording, None, None, len(names), end, tuple(names), segments, provenance=provenance)
    header = probe_header(audio)
    channels = [speakers[name].channel for name in names]
    if channels != list(range(1, header.channels + 1)):
        raise InputError(
            f"{path}: speakers on channels {', '.join(map(str, channels))}, expected one on each of the "
            f"{header.channels} of {audio.name}: this package needs a channel a speaker"
        )
    return Conversation(
        recording,
        audio,
        header.sample_rate_hz,
        header.channels,
        header.duration_seconds,
        tuple(names),
        segments,
        sha256(audio),
        provenance=provenance,
    )
