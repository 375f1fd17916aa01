"""Audacity's labels, *.txt as "Export labels" writes it: start, end and text between tabs, in seconds.

    1.250000	2.410000	ann: hello there

A label of a region is speech whatever its text; the part before a colon, if it has one, is the speaker.
"""

from pathlib import Path

from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.annotation.utterance import Utterance, time, utterance
from ssl_tt.errors import InputError


def read_labels(path: Path) -> list[Utterance]:
    """Labels of regions; labels of a point, and lines of frequencies, which begin with a backslash, are passed over.

    InputError, with the line, for anything else.
    """
    found = []
    for where, line in read_lines(path, "Audacity labels"):
        if line.startswith("\\"):
            continue
        fields = line.split("\t", maxsplit=2)
        if len(fields) < 2:
            raise InputError(
                f"{where}: {line[:80]!r}, expected START<tab>END<tab>LABEL: if this is no file of labels, move it away"
            )
        start, end = time(fields[0], where), time(fields[1], where)
        speaker, colon, _ = fields[2].partition(":") if len(fields) > 2 else ("", "", "")
        if start != end:
            found.append(utterance(where, start, end, speaker.strip() if colon else ""))
    return found
