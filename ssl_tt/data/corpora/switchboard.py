"""Switchboard-1 Release 2: about 2,400 telephone calls of two strangers, 260 h, 8 kHz (Godfrey et al. 1992).

Audio LDC97S62, under LDC's user agreement, from catalog.ldc.upenn.edu; word alignments of Mississippi State University,
free, `switchboard_word_alignments.tar.gz` from www.isip.piconepress.com/projects/switchboard. Anywhere under the root:

    swb_ms98_transcriptions/20/2001/sw2001A-ms98-a-word.text   and B: the two sides
    swb1/sw02001.sph                                           two channels, A and B (or .wav, .flac)
    tables/call_con_tab.csv                                    LDC's table of who called; without it nobody comes back

Side A is channel 1. Where the audio speaks against it, `prepare` warns.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.isip import read_isip
from ssl_tt.data.annotation.text import read_lines
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_SIDES = "AB"


def read(root: Path) -> Iterator[Conversation]:
    """Calls by number: words at most 0.2 s apart are a segment; laughter, breath and noise alone are none."""
    files = {path.name[:7]: path for path in sorted(root.rglob("sw*-ms98-a-word.text"))}
    if not files:
        raise InputError(f"{root}: no sw2001A-ms98-a-word.text and so on, expected the word alignments of Switchboard")
    callers = {side: caller for table in sorted(root.rglob("call_con_tab.csv")) for side, caller in _callers(table)}
    calls = sorted({side[:6] for side in files})
    return map(partial(_call, root, files, Recordings(root), callers), calls)


def _call(root: Path, files: dict[str, Path], audio: Recordings, callers: dict[str, str], call: str) -> Conversation:
    missing = [side for side in _SIDES if f"{call}{side}" not in files]
    if missing:
        other = files[f"{call}{'BA'[_SIDES.index(missing[0])]}"]
        raise InputError(f"{other}: no {call}{missing[0]}-ms98-a-word.text, expected the words of both sides")
    sides = [files[f"{call}{side}"] for side in _SIDES]
    return assemble(
        f"switchboard-{call}",
        [f"switchboard-{callers.get(call + side, call + side)}" for side in _SIDES],
        [read_isip(path) for path in sides],
        sides[0],
        {"corpus": "switchboard", "labels": "annotated"},
        root=root,
        files=[audio.find(f"sw0{call[2:]}", call)],
    )


def _callers(table: Path) -> Iterator[tuple[str, str]]:
    """Sides such as sw2001A with their callers; the table's rows are: 2001, "A", 1011, and more."""
    for where, line in read_lines(table, "LDC's table of callers"):
        match = re.match(r'(\d{4}), *"([AB])", *(\d+)\b', line)
        if match is None:
            raise InputError(f'{where}: {line[:80]!r}, expected a call, a side and a caller such as 2001, "A", 1011')
        yield f"sw{match[1]}{match[2]}", match[3]
