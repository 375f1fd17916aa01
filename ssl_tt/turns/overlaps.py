"""Overlaps of Roddy 2018: someone begins while another speaks; who of them will be speaking a second later?"""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.turns.presets import OverlapRules
from ssl_tt.turns.spans import Frames, Spans
from ssl_tt.turns.states import BOTH, Runs, frames_before


def find_overlaps(activity: NDArray[np.bool_], found: Runs, rules: OverlapRules) -> tuple[Spans, Frames]:
    """Overlaps, and who was interrupted in each; `speaker` is who has more speech in the later frames.

        A #############.....    decided at the second frame of the overlap
        B ...........#######

    The one interrupted has spoken in most of the frames before, the other in none; where both have as much speech
    later, there is no event. Start and end are those of the overlap, and the region is the frame of the decision.
    """
    counts = frames_before(activity)
    n_frames = len(activity)
    both = found.states == BOTH
    start, end = found.starts[both], found.ends[both]
    fits = (
        (end - start >= rules.overlap_frames)
        & (start >= rules.before_frames)
        & (start + rules.later_frames[1] < n_frames)  # as in Roddy's code, which leaves one frame more
    )
    start, end = start[fits], end[fits]
    before = counts[start] - counts[start - rules.before_frames]
    later = counts[start + rules.later_frames[1]] - counts[start + rules.later_frames[0]]
    interrupted = (before[:, 0] == 0).astype(np.int64)
    kept = (before.min(axis=1) == 0) & (before.max(axis=1) >= rules.before_active_frames) & (later[:, 0] != later[:, 1])
    speaker = (later[:, 1] > later[:, 0]).astype(np.int64)
    decided = start + rules.overlap_frames
    return Spans(start, end, speaker, decided - 1, decided).take(kept), interrupted[kept]
