"""The plan of a synthetic dialogue: who speaks when, and how each utterance ends.

At the end of each utterance the plan draws, independent of everything before, whether it is overlapped or leaves a
mutual silence, and whether that silence is a shift or a hold. Only the cues of the ending depend on the answer; the
lengths of utterances and silences do not.
"""

from typing import NamedTuple

import numpy as np

from ssl_tt.data.simulate import cues as endings
from ssl_tt.data.simulate.cues import Cues, Label
from ssl_tt.data.simulate.timing import Timing

# Room that a backchannel leaves on both sides of the utterance around it, so that the silences there stay clean.
_BACKCHANNEL_MARGIN_SECONDS = 1.2
_LONGEST_OVERLAP_SECONDS = 1.0
_LEAD_IN_SECONDS = 0.5
_TAIL_SECONDS = 1.0


class Utterance(NamedTuple):
    """One stretch of speech of one speaker and how it ends."""

    channel: int
    start_seconds: float
    seconds: float
    cues: Cues


class Silence(NamedTuple):
    """A mutual silence with what follows it; the cues are those of the utterance before."""

    start_seconds: float
    end_seconds: float
    label: Label
    cues: Cues


def plan_dialogue(
    timing: Timing, seconds: float, shift_probability: float, cue_strength: float, rng: np.random.Generator
) -> tuple[list[Utterance], list[Silence]]:
    """Plan a dialogue of two channels that fits into so many seconds.

    Returns the utterances, backchannels among them, and the mutual silences that another utterance follows.
    """
    utterances: list[Utterance] = []
    silences: list[Silence] = []
    channel = int(rng.integers(2))
    start = _LEAD_IN_SECONDS
    length = timing.utterances.draw(rng)
    while (end := start + length) < seconds - _TAIL_SECONDS:
        overlapped = rng.random() < timing.overlap_share
        label: Label = "shift" if overlapped or rng.random() < shift_probability else "hold"
        cues = endings.draw(label, cue_strength, rng)
        utterances.append(Utterance(channel, start, length, cues))
        utterances += _backchannel(timing, 1 - channel, start, length, rng)

        silence_seconds, overlap_seconds = timing.silences.draw(rng), timing.overlaps.draw(rng)
        next_length = timing.utterances.draw(rng)
        if overlapped:
            start = end - min(overlap_seconds, _LONGEST_OVERLAP_SECONDS, 0.4 * length, 0.4 * next_length)
        else:
            start = end + silence_seconds
            if start + next_length < seconds - _TAIL_SECONDS:
                silences.append(Silence(end, start, label, cues))
        length = next_length
        if label == "shift":
            channel = 1 - channel
    return utterances, silences


def _backchannel(
    timing: Timing, channel: int, start: float, length: float, rng: np.random.Generator
) -> list[Utterance]:
    """At most one backchannel inside an utterance of the other; its own ending is uninformative."""
    room = length - 2 * _BACKCHANNEL_MARGIN_SECONDS
    wanted = rng.random() < timing.backchannels_per_second * length
    seconds, place = timing.backchannels.draw(rng), rng.random()
    cues = endings.draw("hold", 0.0, rng)
    if not wanted or seconds > room:
        return []
    return [Utterance(channel, start + _BACKCHANNEL_MARGIN_SECONDS + place * (room - seconds), seconds, cues)]
