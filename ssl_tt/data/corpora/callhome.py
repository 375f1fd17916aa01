"""CallHome: telephone calls between friends or relatives, 120 to 200 a language, 8 kHz, 5 or 10 minutes transcribed.

American English: speech LDC97S42, under LDC's user agreement, from catalog.ldc.upenn.edu; German LDC97S43, Spanish
LDC96S35, Mandarin LDC96S34, Japanese LDC96S37. Transcripts in CHAT, and the audio again (`0wav`), from
ca.talkbank.org/access/CallHome, for registered users, CC BY-NC-SA. One language a root, and anywhere under it:

    eng/4065.cha
    en_4065.sph      two channels, A and B (or .wav, .flac), or TalkBank's 4065.wav

The audio goes on before and after what was transcribed, and there nobody has marked the speech. So a conversation is
the stretch from the first utterance to the last, which `prepare` cuts out. The audio is compressed by shorten and must
be converted (LDC's sph2pipe -f wav). Speakers A, A1, A2 and B, B1, ... are whoever is at that end of the line, and
count as one; these are LDC's codes, and whether TalkBank has others for third persons could not be verified: others are
refused.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.chat import read_chat
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_SIDES = "AB"
_LANGUAGES = ("en", "ge", "sp", "ma", "ja", "ar")
"""How LDC's names begin, such as en_4065.sph."""


def read(root: Path) -> Iterator[Conversation]:
    """Calls in the order of their transcripts' paths; an utterance is a segment."""
    files = sorted(root.rglob("*.cha"))
    if not files:
        raise InputError(f"{root}: no *.cha, expected the transcripts of CallHome in CHAT")
    return map(partial(_call, root, Recordings(root)), files)


def _call(root: Path, audio: Recordings, path: Path) -> Conversation:
    chat = read_chat(path)
    for participant in chat.participants:
        if not re.fullmatch(r"[AB]\d*", participant):
            raise InputError(f"{path}: participant {participant!r} has no channel, expected A, A1, ... or B, B1, ...")
    if not chat.utterances:
        raise InputError(f"{path}: nobody speaks, expected utterances: was it cut short?")
    stems = dict.fromkeys([path.stem, chat.media, *(f"{language}_{path.stem}" for language in _LANGUAGES)])
    part = (
        min(each.start_seconds for each in chat.utterances),
        max(each.end_seconds for each in chat.utterances),
    )
    name = f"callhome-{path.relative_to(root).with_suffix('').as_posix()}"
    return assemble(
        name,
        [f"{name}-{side}" for side in _SIDES],
        [[each for each in chat.utterances if each.speaker[0] == side] for side in _SIDES],
        path,
        {"corpus": "callhome", "labels": "annotated"},
        root=root,
        files=[audio.find(*filter(None, stems))],
        part=part,
    )
