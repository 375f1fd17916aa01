"""What a simulation reads: folders named in the settings, and annotated dialogues in them."""

import os
from pathlib import Path
from typing import NamedTuple

from ssl_tt.data.annotation.textgrid import Interval, read_textgrid
from ssl_tt.data.conversation import Segment, joined
from ssl_tt.data.corpora import rttm
from ssl_tt.errors import InputError


class Dialogue(NamedTuple):
    """An annotated dialogue of two, one TextGrid each."""

    name: str
    """What the two files' names have in common."""
    files: tuple[str, str]
    """Names of the two files without their endings, sorted."""
    seconds: float
    utterances: tuple[list[Interval], list[Interval]]
    """Intervals with a text, in order."""


def folder(setting: str, field: str) -> Path:
    """The folder that a field names, environment variables filled in; InputError if it is not there."""
    path = os.path.expanduser(os.path.expandvars(setting))
    if "$" in path:
        raise InputError(f"simulate {field} = {setting!r}: an environment variable in it is not set; export it")
    if not os.path.isdir(path):
        raise InputError(f"simulate {field} = {setting!r}: no such folder ({path}); name a folder that is there")
    return Path(path)


def read_dialogues(root: Path) -> list[Dialogue]:
    """Dialogues of a folder of DIALOGUE_ROLE.TextGrid, by name; the first tier of intervals counts.

    InputError if there are none or if one has other than two speakers.
    """
    pairs: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.TextGrid")):
        pairs.setdefault(path.stem.rpartition("_")[0], []).append(path)
    if not pairs:
        raise InputError(f"{root}: no TextGrid in it, expected two a dialogue, named DIALOGUE_ROLE.TextGrid")
    return [_dialogue(name, paths) for name, paths in sorted(pairs.items())]


def _dialogue(name: str, paths: list[Path]) -> Dialogue:
    if len(paths) != 2 or not name:
        raise InputError(
            f"{paths[0]}: {len(paths)} TextGrids of the dialogue {name!r}, expected 2 named DIALOGUE_ROLE.TextGrid"
        )
    tiers = [read_textgrid(path)[:1] for path in paths]
    for path, tier in zip(paths, tiers, strict=True):
        if not tier:
            raise InputError(f"{path}: no tier of intervals, expected the utterances of one speaker")
    first, second = ([i for i in tier.intervals if i.text.strip()] for (tier,) in tiers)
    seconds = max(tier.end_seconds for (tier,) in tiers)
    return Dialogue(name, (paths[0].stem, paths[1].stem), seconds, (first, second))


def read_turns(root: Path) -> list[tuple[tuple[Segment, ...], tuple[Segment, ...]]]:
    """Who speaks when in each dialogue of a folder of RTTM files or, without any, of TextGrids."""
    if any(root.rglob("*.rttm")):
        found = [conversation.segments or () for conversation in rttm.read(root)]
        dialogues = [(joined(segments[0]), joined(segments[1])) for segments in found if len(segments) == 2]
        if not dialogues:
            raise InputError(f"{root}: none of its RTTM files has two speakers, expected dialogues")
        return dialogues
    return [
        (
            joined([Segment(i.start_seconds, i.end_seconds) for i in dialogue.utterances[0]]),
            joined([Segment(i.start_seconds, i.end_seconds) for i in dialogue.utterances[1]]),
        )
        for dialogue in read_dialogues(root)
    ]
