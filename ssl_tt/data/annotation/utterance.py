"""What every reader of annotation gives: who speaks from when to when."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ssl_tt.data.conversation import Segment, joined
from ssl_tt.errors import InputError

WORD_GAP_SECONDS = 0.2
"""Words of a speaker with at most this much silence between them are one stretch of speech: the closure of a stop and
the edges of forced alignment are shorter, and 200 ms is the usual silence between inter-pausal units."""

LONGEST_SECONDS = 7 * 24 * 3600.0
"""No recording is longer: a time beyond is a damaged one, and would ask for memory in proportion."""

# Remarks such as [noise], <sigh>, {breath}, &=laughs: what is left besides them and punctuation are words.
_REMARK = re.compile(r"\[[^\]]*\]|<[^>]*>|\{[^}]*\}|&=\S+")
_WORD = re.compile(r"[^\W_]")
# Speech that nobody understood: (( )), [unintelligible], <unk>.
_UNCLEAR = re.compile(r"\(\(|[\[<](?:unintelligible|inaudible|unk)\b", re.IGNORECASE)


class Utterance(NamedTuple):
    """A stretch of speech as annotation has it."""

    start_seconds: float
    end_seconds: float
    speaker: str = ""
    """Name in the file; "" where it names nobody."""
    channel: int | None = None
    """Channel from 1, where the file tells."""

    @property
    def segment(self) -> Segment:
        return Segment(self.start_seconds, self.end_seconds)


def time(text: str, where: str, unit_seconds: float = 1.0) -> float:
    """Seconds written as a number of some unit; InputError, with where it is, for anything else or a negative time."""
    try:
        seconds = float(text) * unit_seconds
    except ValueError:
        raise InputError(f"{where}: {text[:40]!r}, expected a time as a number") from None
    if not (math.isfinite(seconds) and 0 <= seconds <= LONGEST_SECONDS):
        raise InputError(f"{where}: time {text[:40]}, expected one between 0 and {LONGEST_SECONDS:.0f} s")
    return seconds


def channel_number(text: str, where: str) -> int:
    """Channel from 1, written as a number or, for the two sides of a call, as A or B; InputError for anything else."""
    if text in ("A", "B"):
        return 1 + (text == "B")
    if not re.fullmatch("[1-9][0-9]{0,2}", text):
        raise InputError(f"{where}: channel {text[:40]!r}, expected A, B or a whole number from 1")
    return int(text)


def utterance(where: str, start: float, end: float, speaker: str = "", channel: int | None = None) -> Utterance:
    """An utterance whose times are in order; InputError, with where it is, for others."""
    if not (0 <= start < end <= LONGEST_SECONDS):
        raise InputError(f"{where}: from {start} to {end} s, expected a start of 0 or more and a later end")
    return Utterance(start, end, speaker, channel)


def is_speech(text: str) -> bool:
    """Whether a transcript holds a word, understood or not; remarks about noise, breath or laughter alone are none."""
    return _UNCLEAR.search(text) is not None or _WORD.search(_REMARK.sub(" ", text)) is not None


def from_words(words: Iterable[Utterance]) -> list[Utterance]:
    """Words joined, speaker by speaker and channel by channel, where at most `WORD_GAP_SECONDS` lie between them."""
    by_speaker: dict[tuple[str, int | None], list[Segment]] = {}
    for word in words:
        by_speaker.setdefault((word.speaker, word.channel), []).append(word.segment)
    return [
        Utterance(start, end, *speaker)
        for speaker, segments in by_speaker.items()
        for start, end in joined(segments, WORD_GAP_SECONDS + 1e-6)  # 1.6 - 1.4 is 0.2000000000000002
    ]
