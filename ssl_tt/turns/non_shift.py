"""Where no shift is near: frames after which the one who spoke last will be the only one to speak."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.timebase import frames
from ssl_tt.turns.presets import PredictionRules
from ssl_tt.turns.sampling import windows
from ssl_tt.turns.spans import Spans, joined, of_windows
from ssl_tt.turns.states import ONLY_A, ONLY_B, Runs, filled, frames_before, last_states, spoken_runs

# vap_turn_taking leaves 3 to 9 frames, drawn without a seed, before the first window of a stretch that has room for
# them; here it is always the fewest.
_LEAD_FRAMES = 3


def non_shift_frames(
    activity: NDArray[np.bool_], found: Runs, rules: PredictionRules, frame_rate_hz: float
) -> NDArray[np.bool_]:
    """Frames [T, 2] of non-shift, by the speaker who was last active, alone.

    At frame t all activity in (t, t + horizon] is that speaker's, and there is some. Frames before the context, and
    those whose horizon ends after the conversation, are none. Reference: Ekstedt & Skantze 2022, code vap_turn_taking.
    """
    horizon = frames(rules.horizon_seconds, frame_rate_hz)
    n_frames = max(0, len(activity) - horizon)
    counts = frames_before(activity)
    to_come = counts[1 + horizon : 1 + horizon + n_frames] - counts[1 : 1 + n_frames]
    last = last_states(found)[:n_frames]
    is_non_shift = np.zeros_like(activity)
    for speaker, alone in enumerate((ONLY_A, ONLY_B)):
        is_non_shift[:n_frames, speaker] = (last == alone) & (to_come[:, speaker] > 0) & (to_come[:, 1 - speaker] == 0)
    is_non_shift[: frames(rules.context_seconds, frame_rate_hz)] = False
    return is_non_shift


def stretches(is_true: NDArray[np.bool_]) -> Spans:
    """Runs of frames [T, 2] that are true, by speaker."""
    found = [spoken_runs(is_true[:, speaker]) for speaker in (0, 1)]
    return joined([of_windows(each.starts, each.ends, np.full_like(each.starts, i)) for i, each in enumerate(found)])


def windows_of_non_shift(non_shift: Spans, length: int) -> Spans:
    """Windows of `length` frames side by side inside stretches longer than that, as vap_turn_taking lays them."""
    room = non_shift.end - non_shift.start - length
    lead = np.where(room > _LEAD_FRAMES, _LEAD_FRAMES, 0)
    start, stretch = windows(non_shift.start + lead, non_shift.end - 1, length)
    return of_windows(start, start + length, non_shift.speaker[stretch])


def windows_of_listening(found: Runs, rules: PredictionRules, margins: tuple[float, float], rate_hz: float) -> Spans:
    """Windows inside turns, pauses filled, at least these margins after and before anything the listener says.

    `speaker` is the one who has the turn. Reference: VoiceActivityProjection, which puts one window at random into
    each such stretch of a turn.
    """
    turns = filled(found)
    alone = (turns.states == ONLY_A) | (turns.states == ONLY_B)
    after, before = (frames(seconds, rate_hz) for seconds in margins)
    length = frames(rules.window_seconds, rate_hz)
    first = np.maximum(turns.starts[alone] + after, frames(rules.context_seconds, rate_hz))
    start, turn = windows(first, turns.ends[alone] - before, length)
    return of_windows(start, start + length, (turns.states[alone] == ONLY_B)[turn].astype(np.int64))
