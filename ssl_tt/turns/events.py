"""Events of turn-taking, found in voice activity: who speaks next, when, and for how long.

A ######..........      a shift to B: kind "shift", speaker 1, the silence is frames 6 to 9
B ..........######

A ######....######      a hold by A: kind "hold", speaker 0
B ................

A ##############..      a backchannel by B: kind "backchannel", speaker 1
B ......###.......
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssl_tt.errors import InputError
from ssl_tt.timebase import frames
from ssl_tt.turns.backchannels import find_backchannels
from ssl_tt.turns.onsets import find_onsets
from ssl_tt.turns.overlaps import find_overlaps
from ssl_tt.turns.pauses import find_pauses
from ssl_tt.turns.predictions import find_predictions
from ssl_tt.turns.presets import Preset, find_preset
from ssl_tt.turns.sampling import draw
from ssl_tt.turns.silences import find_silences
from ssl_tt.turns.spans import Kind, Spans, of_windows
from ssl_tt.turns.states import check_activity, dialogue_states, runs

_KEEPS_THE_TURN = ("hold", "predict_shift_negative", "non_shift")


@dataclass(frozen=True, order=True)
class Event:
    """One turn-taking event; frame t covers [t * hop, (t + 1) * hop), and every `end` is exclusive."""

    start: int
    """First frame: of the mutual silence (shift, hold), of the overlap (shift_overlap, overlap), of the utterance
    (backchannel), of its first part (short, long), of the window (the predictions), of the stretch (non_shift)."""
    end: int
    """First frame after it."""
    kind: Kind
    speaker: int
    """Who speaks next (shift, hold, predict_shift, and its negative, where that is who goes on), who is heard
    (backchannel, short, long), who would give the backchannel (its prediction and the negative), who goes on alone
    (non_shift), who speaks more later (overlap)."""
    region: tuple[int, int]
    """Frames that are scored, [first, last + 1)."""
    interrupted: int | None = None
    """Who spoke before an `overlap`; None for other kinds."""

    @property
    def decision(self) -> int:
        """Frame at which an answer is due at the latest: the last of the region."""
        return self.region[1] - 1

    @property
    def previous(self) -> int:
        """Who had the turn before; around backchannels and onsets, the other speaker."""
        if self.interrupted is not None:
            return self.interrupted
        return self.speaker if self.kind in _KEEPS_THE_TURN else 1 - self.speaker


def find_events(activity: ArrayLike, frame_rate_hz: float, preset: str = "inoue2024") -> list[Event]:
    """Turn-taking events of one dialogue, in order of time.

    activity: [T, 2] bool (or 0 and 1), `activity[t, s]` true where speaker s speaks in frame t; `frame_rate_hz` frames
    a second. Raises InputError for other shapes or values, an unknown preset, a rate too low for its durations, and a
    rate other than its own if it counts in frames.

    Presets: `vap2022` (Ekstedt & Skantze 2022, Interspeech and SIGDIAL; frame-exact with their vap_turn_taking),
    `vap2023` and `vap_event` (their VoiceActivityProjection, main and newMaster), `inoue2024` (Inoue et al. 2024),
    `skantze2017` (SIGDIAL) and `roddy2018` (ICMI, Interspeech); `presets` holds their numbers and the source of each.
    Durations become frames by truncation. The same activity always gives the same events: where the literature draws
    some of the candidates at random, a seed in the preset and their order in time decide.
    """
    rules = find_preset(preset)
    spoken = check_activity(activity)
    _check_rate(rules, frame_rate_hz)
    found = runs(dialogue_states(spoken))

    kinds: dict[Kind, Spans] = {}
    interrupted = np.zeros(0, np.int64)
    if rules.silences:
        kinds |= find_silences(found, rules.silences, frame_rate_hz)
        shifts, holds = kinds["shift"], kinds["hold"]
        if rules.silences.balanced:
            kinds["shift"] = draw(shifts, len(holds.start), rules.seed)
            kinds["hold"] = draw(holds, len(shifts.start), rules.seed)
        if rules.backchannels:
            backchannels = find_backchannels(spoken, found, rules.backchannels, frame_rate_hz)
            kinds["backchannel"] = backchannels
            kinds["short"] = of_windows(backchannels.region_start, backchannels.region_end, backchannels.speaker)
            onset = frames(rules.backchannels.scored_seconds, frame_rate_hz)
            kinds["long"] = of_windows(shifts.end, shifts.end + onset, shifts.speaker)
            if rules.predictions:
                kinds |= find_predictions(
                    spoken, found, shifts, backchannels, rules.predictions, frame_rate_hz, rules.seed
                )
    if rules.pauses:
        kinds |= find_pauses(spoken, found, rules.pauses)
    if rules.onsets:
        kinds |= find_onsets(spoken, rules.onsets)
    if rules.overlaps:
        kinds["overlap"], interrupted = find_overlaps(spoken, found, rules.overlaps)
    return _in_order(kinds, interrupted)


def _check_rate(rules: Preset, frame_rate_hz: float) -> None:
    if not (np.isfinite(frame_rate_hz) and frame_rate_hz > 0):
        raise InputError(f"frame rate {frame_rate_hz} Hz: expected a positive number")
    own_hz = rules.frame_rate_hz
    if own_hz is not None and frame_rate_hz != own_hz:
        raise InputError(
            f"frame rate {frame_rate_hz:g} Hz: preset {rules.name!r} counts frames of {1000 / own_hz:g} ms; make the "
            f"activity from its segments at {own_hz:g} Hz, with activity(conversation, {own_hz:g}) or "
            f"--frame-rate-hz {own_hz:g}"
        )
    shortest = rules.shortest_seconds
    if shortest is not None and frames(shortest, frame_rate_hz) == 0:
        raise InputError(
            f"frame rate {frame_rate_hz:g} Hz: the {shortest:g} s of preset {rules.name!r} would be 0 frames; "
            f"give activity at {1 / shortest:g} Hz or more"
        )


def _in_order(kinds: dict[Kind, Spans], interrupted: NDArray[np.int64]) -> list[Event]:
    """Events of all kinds, sorted as events compare."""
    names = sorted(kinds)
    parts = [kinds[name] for name in names]
    whole = Spans(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    kind = np.repeat(np.arange(len(names)), [len(part.start) for part in parts])
    cut_off = np.full(len(kind), -1)
    if "overlap" in kinds:
        cut_off[kind == names.index("overlap")] = interrupted
    order = np.lexsort((whole.region_end, whole.region_start, whole.speaker, kind, whole.end, whole.start))
    columns = (column[order].tolist() for column in (*whole, kind, cut_off))
    return [
        Event(start, end, names[of], speaker, (first, last), None if other < 0 else other)
        for start, end, speaker, first, last, of, other in zip(*columns, strict=True)
    ]
