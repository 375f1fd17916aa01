"""Onsets of Skantze 2017 and Roddy 2018: after the first half second, will the utterance be short or long?"""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.turns.presets import OnsetRules
from ssl_tt.turns.spans import Kind, Spans, joined
from ssl_tt.turns.states import frames_before, runs


def find_onsets(activity: NDArray[np.bool_], rules: OnsetRules) -> dict[Kind, Spans]:
    """`short` and `long` at the onsets of both speakers, whatever the other does.

        B .....#############....    decided at the end of the first frames; short if it ends soon and silence follows
               |--------|

    Start and end are those of the first frames, and the region is the last of them.
    """
    counts = frames_before(activity)
    n_frames = len(activity)
    parts: dict[Kind, list[Spans]] = {"short": [], "long": []}
    for speaker in (0, 1):
        own = runs(activity[:, speaker])
        here = np.flatnonzero(own.states == 1)
        here = here[here > 0]
        onset, end = own.starts[here], own.ends[here]

        counted = counts[:, speaker]
        later = np.minimum(onset + rules.long_frames, n_frames)
        still = np.append(activity[:, speaker], False)[later]  # nobody speaks after the end
        is_long = still & (counted[later] - counted[onset] > rules.long_active_above)
        silent_until = end + rules.silence_after_frames
        is_short = (
            (end - onset <= rules.short_longest_frames)
            & (silent_until <= n_frames)
            & (counted[np.minimum(silent_until, n_frames)] == counted[end])
        )
        is_onset = (
            (onset - own.starts[here - 1] >= rules.silence_before_frames)
            & (end - onset >= rules.speech_frames)
            & (onset + rules.room_frames <= n_frames)
        )
        heard = onset + rules.speech_frames
        spans = Spans(onset, heard, np.full_like(onset, speaker), heard - 1, heard)
        parts["short"].append(spans.take(is_onset & is_short))
        parts["long"].append(spans.take(is_onset & is_long))
    return {kind: joined(of_kind) for kind, of_kind in parts.items()}
