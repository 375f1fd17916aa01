"""Backchannels: short utterances of the listener, while the turn stays where it is."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.timebase import frames
from ssl_tt.turns.presets import BackchannelRules
from ssl_tt.turns.spans import Spans, joined
from ssl_tt.turns.states import ONLY_A, ONLY_B, Runs, last_states, runs


def find_backchannels(activity: NDArray[np.bool_], found: Runs, rules: BackchannelRules, frame_rate_hz: float) -> Spans:
    """Backchannels of both speakers; start and end are those of the utterance, the region is its first part.

        A ##############    a backchannel by B, who says nothing long before and long after
        B ......###.....

    An utterance of one speaker in raw activity, of a length within bounds, in a silence of the same speaker; the other
    was last active, alone, in the frame before it. Its silences lie inside the conversation, as every window does.
    Reference: Ekstedt & Skantze 2022, code vap_turn_taking.
    """
    last = last_states(found)
    scored = frames(rules.scored_seconds, frame_rate_hz)
    parts = []
    for speaker, other in enumerate((ONLY_B, ONLY_A)):
        own = runs(activity[:, speaker])
        lengths = own.ends - own.starts
        here = np.arange(1, len(lengths) - 1)  # the first and the last run have no silence on one side
        start = own.starts[here]
        kept = here[
            (own.states[here] == 1)
            & (lengths[here] >= frames(rules.shortest_seconds, frame_rate_hz))
            & (lengths[here] <= frames(rules.longest_seconds, frame_rate_hz))
            & (lengths[here - 1] >= frames(rules.silence_before_seconds, frame_rate_hz))
            & (lengths[here + 1] >= frames(rules.silence_after_seconds, frame_rate_hz))
            & (last[start - 1] == other)
            & (start >= frames(rules.context_seconds, frame_rate_hz))
        ]
        start = own.starts[kept]
        parts.append(Spans(start, own.ends[kept], np.full_like(start, speaker), start, start + scored))
    return joined(parts)
