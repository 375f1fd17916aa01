"""Fisher English: 11,699 telephone calls of two strangers about a given topic, 1,960 h, 8 kHz (Cieri et al. 2004).

Part 1: speech LDC2004S13, transcripts LDC2004T19; part 2: LDC2005S13, LDC2005T19; under LDC's user agreement, from
catalog.ldc.upenn.edu. Anywhere under the root:

    fe_03_p1_tran/data/trans/000/fe_03_00001.txt
    fe_03_p1_tran/doc/fe_03_p1_calldata.tbl     who called; without it nobody comes back
    audio/000/fe_03_00001.sph                   two channels, A and B (or .wav, .flac)

The audio is compressed by shorten and must be converted (LDC's sph2pipe -f wav), beside the original or elsewhere.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.ldc import read_ldc
from ssl_tt.data.annotation.table import read_rows
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_SIDES = "AB"


def read(root: Path) -> Iterator[Conversation]:
    """Calls by number; an utterance is a segment, remarks such as [noise] or [laughter] alone are none."""
    files = sorted(root.rglob("fe_03_[0-9][0-9][0-9][0-9][0-9].txt"), key=lambda path: path.name)
    if not files:
        raise InputError(f"{root}: no fe_03_00001.txt and so on, expected the transcripts of Fisher")
    callers: dict[str, str] = {}
    for table in sorted(root.rglob("fe_03_p*_calldata.tbl")):
        for _, row in read_rows(table, ("CALL_ID", "APIN", "BPIN")):
            callers |= {f"{row['CALL_ID']}{side}": row[f"{side}PIN"] for side in _SIDES if row[f"{side}PIN"].strip("0")}
    return map(partial(_call, root, Recordings(root), callers), files)


def _call(root: Path, audio: Recordings, callers: dict[str, str], path: Path) -> Conversation:
    call = path.stem.removeprefix("fe_03_")
    utterances = read_ldc(path)
    return assemble(
        f"fisher-{call}",
        [f"fisher-{callers.get(call + side, call + side)}" for side in _SIDES],
        [[each for each in utterances if each.speaker == side] for side in _SIDES],
        path,
        {"corpus": "fisher", "labels": "annotated"},
        root=root,
        files=[audio.find(path.stem)],
    )
