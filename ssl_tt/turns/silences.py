"""Shift and hold: who speaks after a silence, or after an overlap, between two utterances."""

import numpy as np

from ssl_tt.timebase import frames
from ssl_tt.turns.presets import SilenceRules
from ssl_tt.turns.spans import Kind, Spans
from ssl_tt.turns.states import BOTH, ONLY_B, SILENCE, Runs, filled


def find_silences(found: Runs, rules: SilenceRules, frame_rate_hz: float) -> dict[Kind, Spans]:
    """`shift`, `hold` and, if asked for, `shift_overlap` in the runs of a dialogue.

        A ######....        shift: only A, silence, only B       A ########..    shift_overlap: only A, both, only B
        B ........####                                           B ......####
        A ######....####    hold: only A, silence, only A

    A silence counts by its length and by the utterances around it: pauses inside a turn filled, one speaker alone.
    Start and end are those of the silence or overlap. Reference: Ekstedt & Skantze 2022, code vap_turn_taking.
    """
    before, now, after = found.states[:-2], found.states[1:-1], found.states[2:]
    starts, ends = found.starts[1:-1], found.ends[1:-1]

    # The utterance before is the part of its filled run up to the silence, which may itself be filled.
    turns = filled(found)
    spoken_before = starts - turns.starts[np.searchsorted(turns.ends, starts)]
    spoken_after = turns.ends[np.searchsorted(turns.starts, ends, side="right") - 1] - ends

    longer = int(rules.longer)
    pad = frames(rules.pad_seconds, frame_rate_hz)
    alone = (before != SILENCE) & (before != BOTH) & (after != SILENCE) & (after != BOTH)
    counts = (
        alone
        & (spoken_before >= frames(rules.before_seconds, frame_rate_hz) + longer)
        & (spoken_after >= frames(rules.after_seconds, frame_rate_hz) + longer)
        & (starts + pad >= frames(rules.context_seconds, frame_rate_hz))
    )
    shortest = sum(frames(seconds, frame_rate_hz) for seconds in rules.silence_seconds) + longer
    silence = counts & (now == SILENCE) & (ends - starts >= shortest)

    # Scored from the pad on, or in the one frame that ends with it.
    if rules.scored_seconds is None:
        first, last = starts + pad - 1, starts + pad
    else:
        first, last = starts + pad, starts + pad + frames(rules.scored_seconds, frame_rate_hz)
    spans = Spans(starts, ends, (after == ONLY_B).astype(np.int64), first, last)
    kinds: dict[Kind, Spans] = {
        "shift": spans.take(silence & (before != after)),
        "hold": spans.take(silence & (before == after)),
    }
    if rules.overlaps:
        kinds["shift_overlap"] = spans.take(counts & (now == BOTH) & (before != after))
    return kinds
