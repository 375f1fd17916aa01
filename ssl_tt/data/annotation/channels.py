"""Which speaker of an annotation is on which channel of its recording, told by three things in turn, never guessed.

1. The annotation says the channel.
2. The speakers' names say it: A and B, 1 and 2, left and right, channel 1, ch2.
3. The audio: each speaker is louder on one channel than on the others while nobody else speaks (`channel_order`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.channel_order import CLEAR_DB, measured_order
from ssl_tt.data.conversation import joined
from ssl_tt.errors import InputError

_CHANNEL_NAME = re.compile(r"(?:(?:channel|chan|ch|track)[ _-]?)?([1-9]\d?|[ab]|left|right|l|r)", re.IGNORECASE)
_FIRST_AND_SECOND = {"a": 1, "b": 2, "left": 1, "right": 2, "l": 1, "r": 2}
# Names that a tool gives to the speakers of each recording anew: the same name is another person elsewhere.
_PLACEHOLDER = re.compile(r"(?:speaker|spk|spkr|participant|unknown)?[ _-]?(?:\d+|[a-z])?", re.IGNORECASE)


class Sides(NamedTuple):
    """The channels of a conversation in order: who speaks there, and when."""

    speakers: list[str]
    utterances: list[list[Utterance]]
    told_by: str
    """What told: "annotation", "names" or "audio"."""


def on_channels(
    name: str, utterances: Sequence[Utterance], channels: int, annotation: Path, files: Sequence[Path]
) -> Sides:
    """Utterances of the conversation `name` on so many channels, which the files have together.

    Names that are a channel's or a diariser's ("A", "left", "SPEAKER_00") become persons of this conversation alone,
    such as "call-A"; others stay, and are the same person in every conversation. InputError, naming the annotation,
    for a speaker without channel, for two on one, and where the audio does not tell.
    """
    channel_of, told_by = _told(utterances, channels, annotation, files)
    sides: list[list[Utterance]] = [[] for _ in range(channels)]
    names: list[set[str]] = [set() for _ in range(channels)]
    for each in utterances:
        channel = channel_of[each.speaker, each.channel]
        if not 1 <= channel <= channels:
            who = f"speaker {each.speaker!r} is" if each.speaker else "an utterance is"
            raise InputError(f"{annotation}: {who} on channel {channel}, expected one of the {channels} of {files[0]}")
        sides[channel - 1].append(each)
        names[channel - 1].add(each.speaker)
    speakers = []
    for number, found in enumerate(names, start=1):
        if len(found) > 1:
            raise InputError(
                f"{annotation}: speakers {', '.join(map(repr, sorted(found)))} on channel {number}, expected one: this "
                "package needs a channel a speaker"
            )
        speakers.append(person(name, found.pop() if found else "") or f"{name}-{number}")
    return Sides(speakers, sides, told_by)


def person(conversation: str, speaker: str) -> str:
    """The person of a name in a conversation: of its own where the name is a channel's or a diariser's; "" of ""."""
    placeholder = _CHANNEL_NAME.fullmatch(speaker) or _PLACEHOLDER.fullmatch(speaker)
    return f"{conversation}-{speaker}" if speaker and placeholder else speaker


def _told(
    utterances: Sequence[Utterance], channels: int, annotation: Path, files: Sequence[Path]
) -> tuple[dict[tuple[str, int | None], int], str]:
    """Channel, from 1, of each speaker and channel that the annotation names, and what told."""
    sides = list(dict.fromkeys((each.speaker, each.channel) for each in utterances))
    if all(channel is not None for _, channel in sides):
        return {(speaker, channel): channel for speaker, channel in sides if channel is not None}, "annotation"
    if any(channel is not None for _, channel in sides):
        raise InputError(f"{annotation}: some utterances have a channel and some have none, expected all or none")
    if channels == 1:
        return dict.fromkeys(sides, 1), "annotation"
    names = [speaker for speaker, _ in sides]
    if "" in names:
        raise InputError(f"{annotation}: an utterance without speaker and channel, expected one of the two")
    numbers = [_CHANNEL_NAME.fullmatch(speaker) for speaker in names]
    if all(numbers):
        told = [match[1].lower() for match in numbers if match]
        return {side: _FIRST_AND_SECOND.get(text) or int(text) for side, text in zip(sides, told, strict=True)}, "names"
    if len(names) > channels:
        raise InputError(
            f"{annotation}: speakers {', '.join(map(repr, names))}, expected at most the {channels} that have a "
            f"channel in {files[0].name}"
        )
    segments = [joined([each.segment for each in utterances if each.speaker == name]) for name in names]
    order = measured_order(files, segments)
    if order is None or order.margin_db < CLEAR_DB:
        raise InputError(
            f"{annotation}: the audio does not tell which channel is whose, expected each speaker to be clearly louder "
            f"on one ({'nobody is heard alone' if order is None else f'{order.margin_db:.1f} dB'}): name them A and B, "
            "for the first and second channel"
        )
    return {side: channel + 1 for side, channel in zip(sides, order.channels, strict=True)}, "audio"
