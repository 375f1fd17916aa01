"""LDC's plain transcripts of calls: start, end, side of the call and what was said.

# fe_03_00001.sph
# Transcribed at the LDC

3.76 5.54 A: and i generally prefer
"""

import re
from pathlib import Path

from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.annotation.utterance import Utterance, channel_number, is_speech, time, utterance
from ssl_tt.errors import InputError

_LINE = re.compile(r"(\S+)\s+(\S+)\s+([AB]):\s*(.*)")


def read_ldc(path: Path) -> list[Utterance]:
    """Utterances with words, understood or not, by channel; InputError, with the line, for what is none."""
    found = []
    for where, line in read_lines(path, "a transcript"):
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(f"{where}: {line[:80]!r}, expected START END A: or B: and what was said")
        start, end, side, text = match.groups()
        each = utterance(where, time(start, where), time(end, where), side, channel_number(side, where))
        if is_speech(text):
            found.append(each)
    return found
