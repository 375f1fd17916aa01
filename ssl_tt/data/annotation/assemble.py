"""A recording and what annotation says about it, as a conversation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.audio import sha256
from ssl_tt.data.channel_files import joint_header
from ssl_tt.data.conversation import Conversation, Segment, clipped, joined
from ssl_tt.errors import InputError


def assemble(
    name: str,
    speakers: Sequence[str],
    utterances: Sequence[Sequence[Utterance]] | None,
    annotation: Path,
    provenance: Mapping[str, Any],
    *,
    root: Path,
    files: Sequence[Path | None] = (),
    part: tuple[float, float] | None = None,
) -> Conversation:
    """The conversation `name` with the utterances of each speaker, or None if nobody has labelled it.

    `files` are its recordings: one with a channel a speaker, one a speaker, or none (or Nones). Of several files, and
    of one of which only a `part` in seconds is annotated, `audio` is None and the provenance has `channel_files`,
    relative to the root where they are inside, and `start_seconds`, from which `prepare` writes one file. A speaker's
    utterances that overlap are joined; an end that the annotator rounded past the end of the audio is cut (see
    `clipped`). InputError, naming the annotation, where it does not fit the recording.
    """
    there = [file for file in files if file is not None]
    offset = 0.0 if part is None else part[0]
    segments: list[tuple[Segment, ...]] | None = None
    if utterances is not None:
        segments = [
            joined([Segment(each.start_seconds - offset, each.end_seconds - offset) for each in channel])
            for channel in utterances
        ]
        if not any(segments):
            raise InputError(f"{annotation}: nobody speaks, expected utterances: was it cut short?")
    details = {**provenance}
    audio, rate, digest = None, None, None
    if there:
        header = joint_header(there)
        if header.channels != len(speakers):
            hint = "; is this a mixed-down release?" if header.channels == 1 else ""
            raise InputError(
                f"{there[0]}: {header.channels} channel{'s' * (header.channels > 1)}, expected {len(speakers)}, one "
                f"for each speaker of {annotation.name}{hint}"
            )
        duration = header.duration_seconds if part is None else min(part[1], header.duration_seconds) - offset
        if len(there) == 1 and part is None:
            audio, rate, digest = there[0], header.sample_rate_hz, sha256(there[0])
        else:
            details["channel_files"] = [
                (file.relative_to(root) if file.is_relative_to(root) else file.absolute()).as_posix() for file in there
            ]
            if part is not None:
                details["start_seconds"] = offset
    elif segments is None:
        raise InputError(f"{annotation}: neither recording nor utterances, expected one of the two")
    else:
        duration = max(end for channel in segments for _, end in channel)
    try:
        return Conversation(
            id=name,
            audio=audio,
            sample_rate_hz=rate,
            channels=len(speakers),
            duration_seconds=duration,
            speakers=tuple(speakers),
            segments=None if segments is None else tuple(clipped(channel, duration) for channel in segments),
            sha256=digest,
            provenance=details,
        )
    except InputError as error:
        raise InputError(f"{annotation}: {error}") from error
