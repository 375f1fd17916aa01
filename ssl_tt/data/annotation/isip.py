"""Word alignments of Switchboard by Mississippi State University's ISIP, one file a side.

    sw2001A-ms98-a-0002 0.977625 1.222875 hi

is a word of side A of call 2001 from 0.977625 to 1.222875 s.
"""

import re
from pathlib import Path

from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.annotation.utterance import Utterance, from_words, time, utterance
from ssl_tt.errors import InputError

_NOT_SPEECH = {"[silence]", "[noise]", "[vocalized-noise]", "[laughter]"}


def read_isip(path: Path) -> list[Utterance]:
    """Words of one side, joined to stretches of speech; InputError, with the line, for anything else.

    Silence, noise, breath and laughter alone are no speech; a word said laughing, [laughter-yes], is. Marks such as
    <b_aside> are passed over.
    """
    side = path.name.partition("-")[0]
    words = []
    for where, line in read_lines(path, "words of the ISIP transcripts"):
        fields = line.split()
        if len(fields) != 4 or not re.fullmatch(r"sw\d{4}[AB]-ms98-a-\d{4}", fields[0]):
            raise InputError(f"{where}: {line[:80]!r}, expected a line such as {side}-ms98-a-0002 0.97 1.22 hi")
        if not fields[0].startswith(f"{side}-"):
            raise InputError(f"{where}: a word of {fields[0][:7]}, expected those of {side}")
        start, end = time(fields[1], where), time(fields[2], where)
        if fields[3] not in _NOT_SPEECH and not fields[3].startswith("<") and start != end:
            words.append(utterance(where, start, end))
    return from_words(words)
