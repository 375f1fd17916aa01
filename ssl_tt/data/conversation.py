"""What every corpus is reduced to: a conversation, one channel of audio a speaker, speech segments in seconds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from ssl_tt.data.storage import File
from ssl_tt.errors import InputError
from ssl_tt.timebase import frame_edges

MAX_CHANNELS = 64
"""More channels than any conversation has speakers: what claims more is refused before anything is allocated."""

MAX_SECONDS = 7 * 24 * 3600
"""Longer than any conversation, and short enough for an array of its frames."""

SAMPLE_RATES_HZ = (1_000, 384_000)
"""Lowest and highest rate of a recording: beyond them resampling takes absurd filters, or makes absurd audio."""

Split = Literal["train", "validation", "test"]

# Manifests round to the millisecond: a segment may end this much after the audio.
_ROUNDING_SECONDS = 1e-3

ANNOTATORS_ROUNDING_SECONDS = 0.05
"""Annotators round to a tenth of a second at the coarsest, so an end may lie this much after that of the audio."""


class Segment(NamedTuple):
    """One stretch of speech of one speaker: [start_seconds, end_seconds)."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Conversation:
    """A conversation with one channel a speaker; without `audio` it is annotation only.

    Raises InputError, naming the conversation, where the parts contradict each other: a number of speakers other than
    that of channels, a speaker twice, a segment that is empty, overlaps the one before or ends after the audio.
    """

    id: str
    """Unique in its manifest."""
    audio: File | None
    """The audio file, or where in a shard it lies; None if there is only the annotation."""
    sample_rate_hz: int | None
    """Rate of the audio file, Hz; None without audio."""
    channels: int
    """Channels of the audio, which is the number of speakers."""
    duration_seconds: float
    """Length of the audio; without audio, of the annotated time."""
    speakers: tuple[str, ...]
    """Who speaks on each channel; the same name in two conversations is the same person."""
    segments: tuple[tuple[Segment, ...], ...] | None = None
    """Speech of each channel, sorted and without overlap; None if nobody has labelled it."""
    sha256: str | None = None
    """Digest of the audio file's bytes."""
    split: Split | None = None
    """Which part of an experiment it belongs to, where the corpus says so."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from and how it was made; anything JSON."""
    recorded_seconds: float | None = None
    """Length of the audio file where the conversation is only the `beginning` of it; None: its duration."""

    @property
    def dialogue(self) -> str:
        """What was said: the same for several recordings of it, which a probe must not both learn from and check on."""
        return self.provenance.get("dialogue", self.id)

    def beginning(self, seconds: float) -> "Conversation":
        """The first `seconds` of the conversation, segments clipped; the whole where it is no longer."""
        if seconds >= self.duration_seconds:
            return self
        segments = self.segments and tuple(
            tuple(Segment(start, min(end, seconds)) for start, end in channel if start < seconds)
            for channel in self.segments
        )
        recorded = self.recorded_seconds or self.duration_seconds
        return replace(self, duration_seconds=seconds, segments=segments, recorded_seconds=recorded)

    def __post_init__(self) -> None:
        if not self.id:
            raise InputError("a conversation has an empty id: give each one a unique name")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise self._wrong(f"{self.channels} channels, expected 1 to {MAX_CHANNELS}, one a speaker")
        if len(self.speakers) != self.channels:
            raise self._wrong(f"{len(self.speakers)} speakers for {self.channels} channels, expected one a channel")
        if len(set(self.speakers)) < self.channels or not all(self.speakers):
            raise self._wrong(f"speakers {', '.join(map(repr, self.speakers))}, expected another name for each channel")
        if not 0 < self.duration_seconds <= MAX_SECONDS:
            raise self._wrong(f"duration {self.duration_seconds} s, expected more than 0 and at most {MAX_SECONDS}")
        if (self.audio is None) != (self.sample_rate_hz is None):
            raise self._wrong("audio and sample_rate_hz go together: give both, or neither for annotation alone")
        lowest, highest = SAMPLE_RATES_HZ
        if self.sample_rate_hz is not None and not lowest <= self.sample_rate_hz <= highest:
            raise self._wrong(f"sample rate {self.sample_rate_hz} Hz, expected {lowest} to {highest}")
        if self.segments is not None:
            if len(self.segments) != self.channels:
                raise self._wrong(f"segments of {len(self.segments)} speakers for {self.channels} channels")
            for speaker, segments in zip(self.speakers, self.segments, strict=True):
                self._check_segments(speaker, segments)

    def _check_segments(self, speaker: str, segments: Sequence[Segment]) -> None:
        for start, end in segments:
            if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
                raise self._wrong(f"segment {start} to {end} s of {speaker!r}, expected 0 <= start < end")
            if end > self.duration_seconds + _ROUNDING_SECONDS:
                raise self._wrong(
                    f"segment {start:.3f} to {end:.3f} s of {speaker!r} ends after the {self.duration_seconds:.3f} s "
                    "of the recording: is this the annotation of another file?"
                )
        for before, after in pairwise(segments):
            if after.start_seconds < before.end_seconds:
                raise self._wrong(
                    f"segment {after.start_seconds:.3f} to {after.end_seconds:.3f} s of {speaker!r} overlaps the one "
                    f"before, which ends at {before.end_seconds:.3f} s: sort them and join what overlaps"
                )

    def _wrong(self, what: str) -> InputError:
        return InputError(f"conversation {self.id!r}: {what}")


def segments_by_channel(
    conversation: str, speakers: Sequence[str], segments: Mapping[str, Sequence[tuple[float, float]]]
) -> tuple[tuple[Segment, ...], ...]:
    """Segments by speaker's name as segments by channel, refusing a speaker who has no channel."""
    for speaker in segments:
        if speaker not in speakers:
            known = ", ".join(map(repr, speakers))
            raise InputError(
                f"conversation {conversation!r}: segments of {speaker!r}, who has no channel; expected one of {known}"
            )
    return tuple(tuple(Segment(*segment) for segment in segments.get(speaker, ())) for speaker in speakers)


def joined(segments: Sequence[Segment], gap_seconds: float = 0.0) -> tuple[Segment, ...]:
    """Segments in order, with those that overlap, touch or lie at most `gap_seconds` apart made one."""
    result: list[Segment] = []
    for segment in sorted(segments):
        if result and segment.start_seconds <= result[-1].end_seconds + gap_seconds:
            last = result.pop()
            segment = Segment(last.start_seconds, max(last.end_seconds, segment.end_seconds))
        result.append(segment)
    return tuple(result)


def clipped(segments: Sequence[Segment], duration_seconds: float) -> tuple[Segment, ...]:
    """Segments cut at the end of the audio where they pass it by no more than `ANNOTATORS_ROUNDING_SECONDS`.

    What passes it by more is kept as it is, for `Conversation` to refuse: it is the annotation of something else.
    """
    latest = duration_seconds + ANNOTATORS_ROUNDING_SECONDS
    return tuple(
        Segment(start, min(end, duration_seconds)) if end <= latest else Segment(start, end)
        for start, end in segments
        if start < duration_seconds or end > latest
    )


def activity_frames(
    segments: Sequence[Segment] | np.ndarray, n_frames: int, frame_rate_hz: float, start_seconds: float = 0.0
) -> np.ndarray:
    """Frames in which a speaker is active: bool [T], true where speech covers at least half of the frame.

    Segments (or their starts and ends as an array [segments, 2]) are sorted and do not overlap; frame t covers
    [start + t * hop, start + (t + 1) * hop).
    """
    if len(segments) == 0:
        return np.zeros(n_frames, dtype=bool)
    bounds = np.asarray(segments, dtype=np.float64)
    # Speech before a time grows by one second a second inside segments and stands still between them, so it is
    # piecewise linear with its corners at the bounds, and its difference over a frame is the frame's speech.
    spoken = np.cumsum(bounds[:, 1] - bounds[:, 0])
    at_bounds = np.stack([np.concatenate([[0.0], spoken[:-1]]), spoken], axis=1)
    before = np.interp(frame_edges(n_frames, frame_rate_hz, start_seconds), bounds.ravel(), at_bounds.ravel())
    return np.diff(before) * frame_rate_hz >= 0.5 - 1e-6
