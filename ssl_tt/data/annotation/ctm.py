"""CTM, NIST's time marks of words, as recognisers and aligners write it.

    call1 A 12.34 0.21 hello 0.98

is a word of 0.21 s from 12.34 s on, on channel A (or 1) of the recording call1. The confidence may be missing; the type
and the speaker that may follow it are passed over: the channel says who speaks.
"""

from pathlib import Path

from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.annotation.utterance import Utterance, channel_number, from_words, time, utterance
from ssl_tt.errors import InputError


def read_ctm(path: Path) -> dict[str, list[Utterance]]:
    """Words by recording, joined to stretches of speech; InputError, with the line, for what is no CTM.

    Words without duration are passed over, and so are alternatives of a recogniser beside the first.
    """
    recordings: dict[str, list[Utterance]] = {}
    alternative = 0  # 0 outside of alternatives, else the number of the one being read
    for where, line in read_lines(path, "CTM"):
        if line.startswith(";;"):
            continue
        recording, channel, start, duration, word, *_ = [*line.split(), *[""] * 5]
        number = channel_number(channel, where)
        if start == "*":
            alternative = 0 if word == "<ALT_END>" else alternative + 1
            continue
        if not word:
            raise InputError(f"{where}: {line[:80]!r}, expected recording, channel, start, duration and word")
        first, length = time(start, where), time(duration, where)
        if length > 0 and alternative < 2:
            recordings.setdefault(recording, []).append(utterance(where, first, first + length, channel=number))
    return {recording: from_words(words) for recording, words in recordings.items()}
