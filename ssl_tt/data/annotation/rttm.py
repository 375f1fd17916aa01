"""RTTM, NIST's rich transcription time marks, as diarisation tools write it.

    SPEAKER meeting1 1 12.340 3.210 <NA> <NA> alice <NA> <NA>

is 3.21 s of alice from 12.34 s on, on channel 1 of the recording meeting1.
"""

from pathlib import Path

from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.annotation.utterance import Utterance, channel_number, time, utterance
from ssl_tt.errors import InputError

# Types of the 2009 evaluation plan, appendix A; only SPEAKER says who speaks when.
_OTHER_TYPES = {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER"}
_OTHER_TYPES |= {"EDIT", "IP", "SU", "CB", "A/P", "SPKR-INFO"}


def read_rttm(path: Path) -> dict[str, list[Utterance]]:
    """Utterances by recording, in order of their starts; InputError, with the line, for what is no RTTM."""
    recordings: dict[str, list[Utterance]] = {}
    channels: dict[tuple[str, str], int] = {}
    for where, line in read_lines(path, "RTTM"):
        fields = line.split()
        if fields[0].startswith(";;") or fields[0] in _OTHER_TYPES:
            continue
        if fields[0] != "SPEAKER" or len(fields) not in (9, 10):
            raise InputError(f"{where}: {line[:80]!r}, expected SPEAKER and 8 or 9 more fields")
        _, recording, channel, start, duration, _, _, speaker, *_ = fields
        number = channel_number(channel, where)
        known = channels.setdefault((recording, speaker), number)
        if known != number:
            raise InputError(f"{where}: {speaker!r} on channel {channel}, expected {known} as before")
        first = time(start, where)
        found = utterance(where, first, first + time(duration, where), speaker, known)
        recordings.setdefault(recording, []).append(found)
    return {recording: sorted(found) for recording, found in recordings.items()}
