"""How long people speak, pause, wait and overlap: built-in distributions, or those of an annotated corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np

from ssl_tt.data.conversation import Segment, joined
from ssl_tt.data.simulate import sources
from ssl_tt.errors import InputError

_LEVELS = (np.arange(200) + 0.5) / 200

# A backchannel lies inside an utterance of the other and is at most this long (turn-taking presets of Ekstedt 2022).
_BACKCHANNEL_SECONDS = 1.0
# Pauses shorter than this are closures of stops and the like, not pauses (Skantze 2017 cuts utterances there too).
_SHORTEST_PAUSE_SECONDS = 0.2
_FEWEST = 10


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in seconds, as its quantiles at evenly spaced levels."""

    quantiles: np.ndarray

    def draw(self, rng: np.random.Generator) -> float:
        """One length, by inverting the distribution function."""
        return float(np.interp(rng.random(), np.linspace(0, 1, len(self.quantiles)), self.quantiles))


@dataclass(frozen=True)
class Timing:
    """The time structure of dialogue."""

    utterances: Lengths
    """Speech between two pauses of its speaker."""
    turns: Lengths
    """From the first to the last utterance of one speaker, short pauses included."""
    silences: Lengths
    """Mutual silences, before shifts and holds alike: what follows a silence must not show in its length."""
    gaps: Lengths
    """Mutual silences before a shift."""
    overlaps: Lengths
    """How long before its end a turn is taken over."""
    overlap_share: float
    """Share of utterances that end in an overlap instead of in a silence."""
    backchannels: Lengths
    """Short utterances inside one of the other's."""
    backchannels_per_second: float
    """Backchannels for each second of speech."""


def _log_normal(median_seconds: float, spread: float, shortest: float, longest: float) -> Lengths:
    deviations = np.array([NormalDist().inv_cdf(level) for level in _LEVELS])
    return Lengths(np.clip(median_seconds * np.exp(spread * deviations), shortest, longest))


def builtin() -> Timing:
    """A brisk dialogue: most utterances longer than 1 s, most silences longer than 0.25 s."""
    return Timing(
        utterances=_log_normal(1.9, 0.5, 0.4, 7.0),
        turns=_log_normal(4.0, 0.8, 1.0, 25.0),
        silences=_log_normal(0.55, 0.5, 0.15, 2.5),
        gaps=_log_normal(0.45, 0.6, 0.05, 2.0),
        overlaps=_log_normal(0.35, 0.5, 0.1, 1.0),
        overlap_share=0.15,
        backchannels=_log_normal(0.4, 0.25, 0.25, 0.9),
        backchannels_per_second=0.03,
    )


def read(setting: str) -> Timing:
    """The timing that the field `timing` names; InputError if that folder is missing, empty or too small."""
    if setting == "builtin":
        return builtin()
    root = sources.folder(setting, "timing")
    return fitted(sources.read_turns(root), root)


def fitted(dialogues: Sequence[tuple[Sequence[Segment], Sequence[Segment]]], root: Path) -> Timing:
    """The time structure of annotated dialogues, read from `root`; InputError if they are too few."""
    utterances: list[float] = []
    turns: list[float] = []
    pauses: list[float] = []
    gaps: list[float] = []
    overlaps: list[float] = []
    backchannels: list[float] = []
    for dialogue in dialogues:
        speech = [joined(segments, _SHORTEST_PAUSE_SECONDS) for segments in dialogue]
        floor = []
        for channel, other in (0, 1), (1, 0):
            for start, end in speech[channel]:
                inside = any(s < start and end < e for s, e in speech[other])
                if inside and end - start <= _BACKCHANNEL_SECONDS:
                    backchannels.append(end - start)
                else:
                    floor.append((start, end, channel))
        floor.sort()
        utterances += [end - start for start, end, _ in floor]
        for _, run in groupby(floor, key=lambda utterance: utterance[2]):
            members = list(run)
            turns.append(members[-1][1] - members[0][0])
        for (_, end, speaker), (start, _, next_speaker) in pairwise(floor):
            if start < end:
                overlaps.append(end - start)
            else:
                (pauses if speaker == next_speaker else gaps).append(start - end)
    kinds = {"pauses": pauses, "gaps": gaps, "overlaps": overlaps, "backchannels": backchannels}
    for kind, values in kinds.items():
        if len(values) < _FEWEST:
            raise InputError(f"{root}: {len(values)} {kind} in it, expected {_FEWEST} or more to fit a distribution to")

    def lengths(values: list[float]) -> Lengths:
        return Lengths(np.quantile(values, _LEVELS))

    return Timing(
        utterances=lengths(utterances),
        turns=lengths(turns),
        silences=lengths(pauses + gaps),
        gaps=lengths(gaps),
        overlaps=lengths(overlaps),
        overlap_share=len(overlaps) / (len(overlaps) + len(pauses) + len(gaps)),
        backchannels=lengths(backchannels),
        backchannels_per_second=len(backchannels) / sum(utterances),
    )
