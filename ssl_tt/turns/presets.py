"""Definitions of turn-taking events found in the literature, every number with its source.

Seconds become frames by truncation at the rate of the activity, and sums add the truncated terms; the two presets that
were defined at 20 Hz count frames of 50 ms.
"""

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from ssl_tt.errors import InputError
from ssl_tt.turns.spans import Kind


@dataclass(frozen=True)
class SilenceRules:
    """Shift and hold at mutual silences: which silences count, and which frames of them are scored."""

    silence_seconds: tuple[float, ...]
    """The mutual silence lasts at least the sum of these."""
    before_seconds: float
    """In the time of this length before it one speaker alone is active, with pauses inside a turn filled."""
    after_seconds: float
    """So is one speaker alone in the time of this length after it."""
    longer: bool
    """Silence and utterances last a frame longer than these, instead of at least as long."""
    pad_seconds: float
    """Scoring begins this far into the silence."""
    scored_seconds: float | None
    """It lasts so long, whether or not the silence does; None: one frame is scored, the last that ends by the pad."""
    context_seconds: float
    """Scoring does not begin before this moment of the conversation."""
    overlaps: bool = False
    """Turns that change by an overlap instead, of any length, are found as well, under the same conditions."""
    balanced: bool = False
    """As many shifts as holds are kept in each conversation: of the more frequent kind some, chosen by the seed."""


@dataclass(frozen=True)
class BackchannelRules:
    """Short utterances of the listener, and how much of them is scored."""

    shortest_seconds: float
    longest_seconds: float
    """Length of the utterance, both included."""
    silence_before_seconds: float
    silence_after_seconds: float
    """The same speaker is silent so long before and after, at least."""
    scored_seconds: float
    """First part of the utterance that is scored; also of the next utterance after a shift, which is a long one."""
    context_seconds: float
    """None begins before this moment of the conversation."""


@dataclass(frozen=True)
class PredictionRules:
    """Windows before shifts and backchannels, and others where none is near."""

    window_seconds: float
    """Length of a window."""
    horizon_seconds: float
    """At a frame of non-shift, all activity in the time of this length after it is the last speaker's."""
    context_seconds: float
    """No backchannel is predicted, and nothing is a negative, before this moment of the conversation."""
    listener_silence_seconds: tuple[float, float] | None = None
    """Negatives of backchannels are windows inside turns, so long after and before all activity of the listener; if
    None, they are windows of non-shift."""


@dataclass(frozen=True)
class PauseRules:
    """Pauses of the 20 Hz presets, in frames of 50 ms."""

    pause_frames: tuple[int, ...]
    """Lengths of mutual silence at which it is asked who goes on."""
    ahead_frames: int
    """Exactly one speaker is active in so many frames from there on."""


@dataclass(frozen=True)
class OnsetRules:
    """Onsets of the 20 Hz presets, in frames of 50 ms."""

    silence_before_frames: int
    """The speaker is silent so long before the onset, at least."""
    speech_frames: int
    """And active so long from it on, at least; then it is asked how the utterance will go on."""
    short_longest_frames: int
    """A short utterance lasts so long at most, the first frames included."""
    silence_after_frames: int
    """And its speaker is silent so long after it, inside the conversation."""
    long_frames: int
    """In a long utterance the speaker is active this long after the onset,"""
    long_active_above: int
    """and in more than so many of the frames up to there."""
    room_frames: int
    """The conversation lasts so long from the onset on, at least."""


@dataclass(frozen=True)
class OverlapRules:
    """Overlaps of the 20 Hz presets, in frames of 50 ms."""

    before_frames: int
    """In so many frames before the overlap the one who begins is silent,"""
    before_active_frames: int
    """and the one who is interrupted active in at least so many of them."""
    overlap_frames: int
    """Both speak for so many frames, at least; the decision falls at the last of them."""
    later_frames: tuple[int, int]
    """Who speaks more in these frames, counted from the start of the overlap: [first, last + 1)."""


@dataclass(frozen=True)
class Preset:
    """One paper's events: the rules of each group of kinds, None where the paper has no such kind."""

    name: str
    silences: SilenceRules | None = None
    backchannels: BackchannelRules | None = None
    predictions: PredictionRules | None = None
    """Only together with silences and backchannels, which are what is predicted."""
    pauses: PauseRules | None = None
    onsets: OnsetRules | None = None
    overlaps: OverlapRules | None = None
    frame_rate_hz: float | None = None
    """The only rate of activity that its numbers are meant for; None if they are in seconds and fit any."""
    shortest_segment_seconds: float = 0.0
    """Segments of speech shorter than this are left out before activity is made from them."""
    seed: int = 0
    """Chooses negatives, and what stays where shifts and holds are balanced."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of its events."""
        found: list[Kind] = []
        if self.silences or self.pauses:
            found += ["shift", "hold"]
        if self.silences and self.silences.overlaps:
            found += ["shift_overlap"]
        if self.overlaps:
            found += ["overlap"]
        if self.predictions:
            found += ["predict_shift", "predict_shift_negative"]
        if self.backchannels:
            found += ["backchannel"]
        if self.predictions:
            found += ["predict_backchannel", "predict_backchannel_negative"]
        if self.backchannels or self.onsets:
            found += ["short", "long"]
        if self.predictions:
            found += ["non_shift"]
        return tuple(found)

    @property
    def shortest_seconds(self) -> float | None:
        """The shortest of its durations, which must still be a frame; None if it counts in frames."""
        groups = (self.silences, self.backchannels, self.predictions)
        return min((each for group in groups if group for each in _seconds_in(group)), default=None)


def _seconds_in(rules: Any) -> list[float]:
    values = [getattr(rules, field.name) for field in fields(rules) if field.name.endswith("_seconds")]
    return [each for value in values if value is not None for each in (value if isinstance(value, tuple) else (value,))]


# Ekstedt & Skantze 2022 (Interspeech and SIGDIAL), with the settings of their code: ErikEkstedt/conv_ssl,
# conv_ssl/config/event_settings.json, read by ErikEkstedt/vap_turn_taking.
_SILENCES_2022 = SilenceRules(
    silence_seconds=(0.05, 0.1),  # metric_pad + metric_dur
    before_seconds=1.0,  # pre_offset_shift, pre_offset_hold
    after_seconds=1.0,  # post_onset_shift, post_onset_hold
    longer=False,
    pad_seconds=0.05,  # metric_pad
    scored_seconds=0.1,  # metric_dur
    context_seconds=3.0,  # min_context
    overlaps=True,
)
_BACKCHANNELS_2022 = BackchannelRules(
    shortest_seconds=0.2,  # min_duration_frames
    longest_seconds=1.0,  # max_duration_frames
    silence_before_seconds=1.0,  # pre_silence_frames
    silence_after_seconds=2.0,  # post_silence_frames
    scored_seconds=0.2,  # metric_dur_frames and metric_onset_dur
    context_seconds=3.0,  # min_context
)
_PREDICTIONS_2022 = PredictionRules(
    window_seconds=0.5,  # metric_pre_label_dur
    horizon_seconds=2.0,  # non_shift_horizon
    context_seconds=3.0,  # min_context
)

PRESETS = {
    "vap2022": Preset(
        name="vap2022",
        silences=_SILENCES_2022,
        backchannels=_BACKCHANNELS_2022,
        predictions=_PREDICTIONS_2022,
    ),
    # ErikEkstedt/VoiceActivityProjection, main, EventConfig of vap/events.py: vap2022 with other numbers. That code
    # differs in more, which is left as in vap2022: it asks for the context at the start of the silence, finds
    # backchannels in filled activity, however short and whoever spoke last, takes the negatives of shift prediction
    # before holds, predicts a shift only after half a second without a pause, and calls an utterance long that lasts a
    # second without one. Its scoring of whole silences, in which long ones weigh more, and its keeping of all shifts
    # where holds are rarer are faults of balance that are mended here.
    "vap2023": Preset(
        name="vap2023",
        silences=replace(
            _SILENCES_2022,
            silence_seconds=(0.25,),  # metric_pad_time + metric_time, truncated as one
            scored_seconds=0.2,  # metric_time
            balanced=True,  # equal_hold_shift
        ),
        backchannels=replace(_BACKCHANNELS_2022, silence_after_seconds=1.0),  # bc_post_cond_time
        predictions=replace(
            _PREDICTIONS_2022,
            listener_silence_seconds=(1.0, 2.0),  # bc_negative_pad_left_time, bc_negative_pad_right_time
        ),
    ),
    # The same, branch newMaster: create_classification_dset of vap/data/dset_event.py and the arguments of
    # vap/eval_events.py. There a model hears 20 s up to the silence, filled up with silence where the conversation is
    # younger, and then silence whatever follows; here nothing is asked before 20 s, and the region may outlast the
    # silence.
    "vap_event": Preset(
        name="vap_event",
        silences=SilenceRules(
            silence_seconds=(0.1,),  # min_silence_time
            before_seconds=1.0,  # pre_cond_time
            after_seconds=2.0,  # post_cond_time
            longer=False,
            pad_seconds=0.2,  # region_sil_pad_time
            scored_seconds=0.2,  # region_duration
            context_seconds=20.0,  # context
        ),
    ),
    "inoue2024": Preset(
        name="inoue2024",
        silences=SilenceRules(
            # Inoue et al. 2024 (arXiv 2401.04868), evaluation: mutual silences longer than 0.25 s between utterances
            # longer than 1 s, in their natural proportion, scored by balanced accuracy.
            silence_seconds=(0.25,),
            before_seconds=1.0,
            after_seconds=1.0,
            longer=True,
            # Ekstedt & Skantze 2022 and vap_turn_taking: `pad` of 0.05 s, `min_context` of 3 s; Inoue et al. keep both.
            pad_seconds=0.05,
            scored_seconds=None,
            context_seconds=3.0,
        ),
    ),
    # Skantze 2017 (SIGDIAL). The silences around an onset are those that the code of Roddy et al., made after it,
    # states in its comments: 1.5 s before an onset, 5 s after a short utterance.
    "skantze2017": Preset(
        name="skantze2017",
        pauses=PauseRules(pause_frames=(1, 5, 10), ahead_frames=20),  # 50, 250, 500 ms; 1 s
        onsets=OnsetRules(
            silence_before_frames=30,
            speech_frames=10,  # 500 ms
            short_longest_frames=19,  # less than 500 ms more
            silence_after_frames=100,
            long_frames=60,
            long_active_above=59,  # more than 2500 ms more, without a pause
            room_frames=0,
        ),
        frame_rate_hz=20.0,
    ),
    # Roddy, Skantze & Harte 2018 (ICMI and Interspeech): mattroddy/lstm_turn_taking_prediction, scripts/find_pauses.py,
    # find_onsets.py, find_overlaps.py and get_VA_annotations.py, frame by frame.
    "roddy2018": Preset(
        name="roddy2018",
        pauses=PauseRules(pause_frames=(1, 10), ahead_frames=20),
        onsets=OnsetRules(
            silence_before_frames=30,  # start_silence
            speech_frames=10,  # onset_min
            short_longest_frames=18,  # short_max_extra of 10, counted from the ninth frame, and the end lies inside
            silence_after_frames=51,  # the first silent frame, and long_min_extra after it; short_no_speech is not read
            long_frames=60,  # onset_min + long_min_extra
            long_active_above=50,
            room_frames=111,  # onset_min + short_no_speech, and one that the range leaves out
        ),
        overlaps=OverlapRules(
            before_frames=28,  # start_speech
            before_active_frames=23,  # start_gaps_allowed of 5
            overlap_frames=2,  # overlap_min
            later_frames=(20, 30),  # short_class_length, eval_length
        ),
        frame_rate_hz=20.0,
        shortest_segment_seconds=0.025,
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of this name; InputError names the nearest known one."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known presets: {', '.join(sorted(PRESETS))}"
        raise InputError(f"unknown preset {name!r}; {hint}")
    return PRESETS[name]
