"""PriMock57: mock medical consultations of a clinician and a patient (Papadopoulos Korfiatis et al. 2022, CC BY 4.0).

The root is a clone of babylonhealth/primock57 or its part: `transcripts/` with a TextGrid for each of the two, and,
where the recordings are there too, `audio/` with a WAV for each: `day1_consultation01_doctor.wav`, `..._patient.wav`.

The corpus names no speakers. Every consultation has a patient of its own. The clinicians introduce themselves: Dr Mirza
on day 2, Dr Jacob on day 3, on day 4 Dr Gohil in consultations 1 to 5 and Dr Kumar or "Joe", who may be one person and
so count as one, from 6 on. On days 1 and 5 nobody does, so each of these days counts as one clinician.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.textgrid import read_textgrid
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.errors import InputError

ROLES = ("doctor", "patient")
"""Who is on which channel."""

_NAME = re.compile(r"day(\d+)_consultation(\d+)_(doctor|patient)")


def read(root: Path) -> Iterator[Conversation]:
    """Consultations in order, the clinician first: an utterance is a segment, its own short pauses included.

    A conversation has two files of audio or none, never one with two channels, so `audio` is None; where both files are
    there, `provenance["channel_files"]` names them relative to the root, and `prepare` joins them into one.
    """
    names = sorted(path.stem for path in (root / "transcripts").glob("*.TextGrid"))
    if not names:
        raise InputError(f"{root / 'transcripts'}: no TextGrid, expected those of PriMock57, one a speaker")
    consultations = dict.fromkeys(name.removesuffix("_doctor").removesuffix("_patient") for name in names)
    return map(partial(_consultation, root), consultations)


def _consultation(root: Path, name: str) -> Conversation:
    match = _NAME.fullmatch(f"{name}_doctor")
    if match is None:
        raise InputError(f"{root / 'transcripts' / name}.TextGrid: expected names like day1_consultation01_doctor")
    tiers = []
    for role in ROLES:
        path = root / "transcripts" / f"{name}_{role}.TextGrid"
        found = read_textgrid(path)
        if len(found) != 1:
            raise InputError(f"{path}: {len(found)} tiers of intervals, expected 1")
        tiers.append(found[0])
    segments = tuple(
        tuple(Segment(start, end) for start, end, text in tier.intervals if text.strip()) for tier in tiers
    )
    provenance: dict[str, object] = {"corpus": "primock57", "labels": "annotated"}
    files = [Path("audio") / f"{name}_{role}.wav" for role in ROLES]
    if any((root / file).exists() for file in files):
        provenance["channel_files"] = [file.as_posix() for file in files]
    return Conversation(
        id=f"primock57-{name}",
        audio=None,
        sample_rate_hz=None,
        channels=len(ROLES),
        duration_seconds=max(tier.end_seconds for tier in tiers),
        speakers=(f"primock57-{clinician(int(match[1]), int(match[2]))}", f"primock57-{name}-patient"),
        segments=segments,
        provenance=provenance,
    )


def clinician(day: int, consultation: int) -> str:
    """Name of the group of consultations that share a clinician."""
    if day == 4:
        return "day4a" if consultation <= 5 else "day4b"
    return f"day{day}"
