"""CHAT, TalkBank's transcripts, *.cha (MacWhinney 2000; manual at talkbank.org): utterances with times of the media.

    @Participants:	A Adult, B Adult
    *A:	hello there . <NAK>1250_2410<NAK>

is A from 1.25 to 2.41 s; the bullet is two characters U+0015 (NAK) around milliseconds.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ssl_tt.data.annotation.text import read_text
from ssl_tt.data.annotation.utterance import Utterance, is_speech, time, utterance
from ssl_tt.errors import InputError

# Older files have a name in the bullet: %snd:"call"_1250_2410.
_BULLET = re.compile(r"\x15(?:[^\x15]*_)??(\d{1,12})_(\d{1,12})-?\x15")
# Laughter and the like (&=laughs), actions (0) and bullets are no words; <angles> stand around words with a code.
_NO_WORD = re.compile(r"&=\S+|(?<!\S)0(?!\S)|\x15[^\x15]*\x15|[<>]")


class Chat(NamedTuple):
    """A transcript: codes of the participants in order, name of the media ("" if it names none), utterances."""

    participants: list[str]
    media: str
    utterances: list[Utterance]


def read_chat(path: Path) -> Chat:
    """A transcript from @Begin to @End; InputError, with the line, for what is none.

    Every utterance with words must have a time, or its speech would count as silence; laughter or an action alone is
    passed over.
    """
    participants: list[str] = []
    media = ""
    found = []
    tiers = _tiers(read_text(path, "CHAT"))
    if not any(line == "@Begin" for _, line in tiers) or tiers[-1][1] != "@End":
        last = f"{path} line {tiers[-1][0] if tiers else 1}"
        raise InputError(f"{last}: the file ends here, expected CHAT from @Begin to @End: was it cut short?")
    for number, line in tiers:
        where = f"{path} line {number}"
        name, _, content = line.partition(":")
        if name == "@Participants":
            participants = [words[0] for part in content.split(",") if (words := part.split())]
        elif name == "@Media":
            media = content.split(",")[0].strip()
        elif name.startswith("*"):
            if name[1:] not in participants:
                raise InputError(f"{where}: {name!r} is none of @Participants, expected {', '.join(participants)}")
            if not is_speech(_NO_WORD.sub(" ", content)):
                continue
            bullets = _BULLET.findall(content)
            if not bullets:
                raise InputError(f"{where}: an utterance without its time: link it to the media in CLAN")
            start, end = (time(bound, where, 1e-3) for bound in (bullets[0][0], bullets[-1][1]))
            found.append(utterance(where, start, end, name[1:]))
    return Chat(participants, media, found)


def _tiers(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, those that begin with a tab joined to the one before."""
    tiers: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("\t") and tiers:
            tiers[-1] = (tiers[-1][0], f"{tiers[-1][1]} {line.strip()}")
        elif line.strip():
            tiers.append((number, line.rstrip()))
    return tiers
