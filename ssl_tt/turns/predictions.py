"""What lies ahead: windows before shifts and backchannels, and as many where neither is near."""

import numpy as np
from numpy.typing import NDArray

from ssl_tt.timebase import frames
from ssl_tt.turns.non_shift import non_shift_frames, stretches, windows_of_listening, windows_of_non_shift
from ssl_tt.turns.presets import PredictionRules
from ssl_tt.turns.sampling import draw
from ssl_tt.turns.spans import Kind, Spans, of_windows
from ssl_tt.turns.states import Runs


def find_predictions(
    activity: NDArray[np.bool_],
    found: Runs,
    shifts: Spans,
    backchannels: Spans,
    rules: PredictionRules,
    frame_rate_hz: float,
    seed: int,
) -> dict[Kind, Spans]:
    """`predict_shift`, `predict_backchannel`, their negatives and `non_shift`.

        A ##############......          predict_shift: the window before the silence of a shift
        B ................######
                      |----|

    Positives end where the silence of a shift or a backchannel begins, the latter not before the context. Negatives
    are drawn from the windows of non-shift by the seed, as many as the conversation has positives if it has so many:
    for shifts from frames in which exactly one speaks. Before a shift `speaker` is who speaks next, in a negative who
    goes on; around a backchannel it is the one who listens, whose probability is asked for. Reference: Ekstedt &
    Skantze 2022, code vap_turn_taking, whose negatives of backchannels name the one who speaks instead.
    """
    length = frames(rules.window_seconds, frame_rate_hz)
    context = frames(rules.context_seconds, frame_rate_hz)
    is_non_shift = non_shift_frames(activity, found, rules, frame_rate_hz)
    one_speaks = activity[:, :1] != activity[:, 1:]
    before_shift = of_windows(shifts.start - length, shifts.start, shifts.speaker)
    early = backchannels.start - length < context
    before_backchannel = of_windows(backchannels.start - length, backchannels.start, backchannels.speaker).take(~early)

    no_shift = windows_of_non_shift(stretches(is_non_shift & one_speaks), length)
    if rules.listener_silence_seconds is None:
        no_backchannel = windows_of_non_shift(stretches(is_non_shift), length)
    else:
        no_backchannel = windows_of_listening(found, rules, rules.listener_silence_seconds, frame_rate_hz)
    no_backchannel = no_backchannel._replace(speaker=1 - no_backchannel.speaker)
    return {
        "predict_shift": before_shift,
        "predict_shift_negative": draw(no_shift, len(before_shift.start), seed),
        "predict_backchannel": before_backchannel,
        "predict_backchannel_negative": draw(no_backchannel, len(before_backchannel.start), seed),
        "non_shift": stretches(is_non_shift),
    }
