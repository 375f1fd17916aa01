"""WebVTT, the W3C's subtitles, *.vtt, whose voice spans say who speaks.

WEBVTT

00:01.250 --> 00:02.410
<v Ann>hello there
"""

import re
from pathlib import Path

from ssl_tt.data.annotation.text import read_text
from ssl_tt.data.annotation.utterance import Utterance, is_speech, time, utterance
from ssl_tt.errors import InputError

_STAMP = r"(?:(\d{2,4}):)?([0-5]\d):([0-5]\d\.\d{3})"
_TIMING = re.compile(rf"{_STAMP}[ \t]+-->[ \t]+{_STAMP}(?:[ \t].*)?")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]+)>")


def read_webvtt(path: Path) -> list[Utterance]:
    """Cues with words; the speaker is that of the cue's voice span, "" without one.

    InputError, with the line, for what is no WebVTT and for a cue of two voices, since nothing says when each speaks.
    """
    lines = read_text(path, "WebVTT").replace("\r\n", "\n").split("\n")
    if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]):
        raise InputError(f"{path} line 1: {lines[0][:40]!r}, expected WEBVTT")
    found = []
    for number, line in enumerate(lines, start=1):
        if "-->" not in line:
            continue
        where = f"{path} line {number}"
        timing = _TIMING.fullmatch(line.strip())
        if timing is None:
            raise InputError(f"{where}: {line[:80]!r}, expected times such as 00:01.250 --> 00:02.410")
        hours, minutes, seconds, *end = timing.groups()
        first, last = (
            3600 * time(h or "0", where) + 60 * time(m, where) + time(s, where)
            for h, m, s in ((hours, minutes, seconds), tuple(end))
        )
        text = " ".join(_payload(lines[number:]))
        voices = {voice.strip() for voice in _VOICE.findall(text)}
        if len(voices) > 1:
            raise InputError(f"{where}: the voices {', '.join(sorted(voices))} in one cue, expected one: split the cue")
        if is_speech(text):
            found.append(utterance(where, first, last, voices.pop() if voices else ""))
    return found


def _payload(lines: list[str]) -> list[str]:
    """The lines up to the first blank one."""
    return lines[: next((number for number, line in enumerate(lines) if not line.strip()), len(lines))]
