"""Windows of conversations, drawn by a stateless permutation: any item of any epoch is a function of its number."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ssl_tt.data.audio import audio_path, read_window
from ssl_tt.data.conversation import Conversation, activity_frames
from ssl_tt.data.index import Columns, columns
from ssl_tt.errors import InputError
from ssl_tt.timebase import frames, resampled_length, samples, samples_of_all, seconds

_log = logging.getLogger(__name__)

_WORD = (1 << 64) - 1


class Batch(NamedTuple):
    """Windows of audio with who speaks when."""

    samples: Tensor
    """[B, S, N] float32."""
    activity: Tensor | None
    """[B, T, S] bool; None where the conversations have no segments."""
    conversation: Tensor
    """[B] int64, the place of each window's conversation in the list given to `Windows`."""
    item: Tensor
    """[B] int64, the global number of each window."""
    past: Tensor | None = None
    """[B, P, S] bool, who spoke in the P frames before each window, where that is asked for."""
    seed: Tensor | None = None
    """[B] int64, seeds of what is drawn for each window wherever it is trained on, such as its augmentation; where
    there are none, that is drawn as all else is."""


class Window(NamedTuple):
    """One row of a `Batch`: samples [S, N], activity [T, S], past [P, S], conversation, item and seed as numbers."""

    samples: Tensor
    activity: Tensor | None
    conversation: int
    item: int
    past: Tensor | None
    seed: int


class Windows(Dataset[Window]):
    """Every conversation cut into windows, in another order and with other cuts in every epoch.

    `windows[g]` is window `g % len` of epoch `g // len`. Which conversation, where in it, which channel first and the
    seed of what else is drawn for it are functions of the seed and g alone, so any number of processes draws the same
    windows and resuming needs only g. An epoch takes one window from each of the n equal stretches of a conversation
    that is n windows long, at a sample of `sample_rate_hz` drawn anew (the last multiple of `step_samples` up to it),
    and never across an end.

    With `per_conversation` = k > 1, items that are k to a group (k * i to k * i + k - 1) are of one conversation, from
    stretches as far apart as it allows, and groups are permuted. A conversation then gives a multiple of k windows, k
    at least: only of one that is shorter than k + 1 windows do those of a group overlap.

    Conversations shorter than a window are left out, and said so in the log. InputError if all are too short, if their
    numbers of channels differ or if one is annotation only; reading an item raises InputError naming the file.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        window_samples: int,
        sample_rate_hz: int,
        frame_rate_hz: float,
        seed: int,
        swap_channels: bool = False,
        step_samples: int = 1,
        past_frames: int = 0,
        per_conversation: int = 1,
    ) -> None:
        self.conversations = conversations
        self.window_samples = window_samples
        self.sample_rate_hz = sample_rate_hz
        self.frame_rate_hz = frame_rate_hz
        self.seed = seed
        self.swap_channels = swap_channels
        self.step_samples = step_samples
        self.past_frames = past_frames
        self.per_conversation = per_conversation
        self.window_frames = frames(seconds(window_samples, sample_rate_hz), frame_rate_hz)
        facts = columns(conversations)
        self._refuse(facts)
        self.labelled = bool(facts.labelled.all())
        n_samples = samples_of_all(facts.duration_seconds, facts.sample_rate_hz)
        self._lengths = resampled_length(n_samples, facts.sample_rate_hz, sample_rate_hz)
        counts = self._lengths // window_samples
        self._leave_out(counts)
        groups = np.where(counts > 0, np.maximum(counts // per_conversation, 1), 0)
        self._ends = np.cumsum(groups)  # groups of windows up to and with each conversation

    def _refuse(self, facts: Columns) -> None:
        channels = np.unique(facts.channels)
        if len(channels) > 1:
            raise InputError(
                f"conversations with {' and '.join(map(str, channels))} channels, expected one number for all "
                "that are trained on together: give them separate manifests"
            )
        for number in np.flatnonzero(facts.sample_rate_hz == 0):
            audio_path(self.conversations[int(number)])  # refuses annotation only

    def _leave_out(self, counts: np.ndarray) -> None:
        short = np.flatnonzero(counts == 0)
        if len(short) == len(counts):
            raise InputError(
                f"none of the {len(short)} conversations is as long as a window of {self.window_seconds:g} s: give "
                "longer recordings or lower data.window_seconds"
            )
        if len(short):
            _log.warning(
                "%d of %d conversations are shorter than a window of %g s and left out, %s first",
                len(short),
                len(counts),
                self.window_seconds,
                self.conversations[int(short[0])].id,
            )

    @property
    def window_seconds(self) -> float:
        return seconds(self.window_samples, self.sample_rate_hz)

    def __len__(self) -> int:
        """Windows of an epoch."""
        return int(self._ends[-1]) * self.per_conversation

    def place(self, item: int) -> tuple[Conversation, float]:
        """The conversation that a window is from, and the second at which it begins."""
        number, start, _ = self._drawn(item)
        return self.conversations[number], seconds(start, self.sample_rate_hz)

    def _drawn(self, item: int) -> tuple[int, int, np.random.Generator]:
        """Place of the conversation, first sample, and what draws the rest of the window."""
        epoch, index = divmod(item, len(self))
        group, member = divmod(index, self.per_conversation)
        slot = permuted(group, int(self._ends[-1]), self.seed, epoch)
        number = int(np.searchsorted(self._ends, slot, side="right"))
        first = int(self._ends[number - 1]) if number else 0
        groups = int(self._ends[number]) - first
        stretch, count = slot - first + member * groups, groups * self.per_conversation

        draw = np.random.default_rng((self.seed, epoch, index))
        # All windows of a group lie alike in their stretches, so that they keep their distance.
        within = (draw if member == 0 else np.random.default_rng((self.seed, epoch, index - member))).random()
        # n stretches over the places where a window may start: the first sample to the last that leaves room for it.
        places = int(self._lengths[number]) - self.window_samples + 1
        start = int((stretch + within) * places / count)
        return number, start - start % self.step_samples, draw

    def __getitem__(self, item: int) -> Window:
        """Window number `item`, counted over all epochs."""
        number, start, draw = self._drawn(item)
        conversation, start_seconds = self.conversations[number], seconds(start, self.sample_rate_hz)
        order = draw.permutation(conversation.channels) if self.swap_channels else slice(None)

        heard = self._read(conversation, start)
        activity = past = None
        if self.labelled:
            first_seconds = start_seconds - seconds(self.past_frames, self.frame_rate_hz)
            channels = [
                activity_frames(segments, self.past_frames + self.window_frames, self.frame_rate_hz, first_seconds)
                for segments in conversation.segments or ()
            ]
            spoken = torch.from_numpy(np.stack(channels, axis=1)[:, order])
            past, activity = spoken.split([self.past_frames, self.window_frames])
        seed = int(draw.integers(1 << 63))
        return Window(torch.from_numpy(heard[order]), activity, number, item, past if self.past_frames else None, seed)

    def _read(self, conversation: Conversation, start: int) -> np.ndarray:
        """Samples [S, N] of the window that begins with sample `start` of a conversation."""
        start_seconds = seconds(start, self.sample_rate_hz)
        return read_window(conversation, start_seconds, self.window_samples, self.sample_rate_hz)


def length_samples(conversation: Conversation, sample_rate_hz: int) -> int:
    """Samples of a conversation once it is at another rate."""
    audio_path(conversation)  # refuses annotation only
    assert conversation.sample_rate_hz is not None
    n_samples = samples(conversation.duration_seconds, conversation.sample_rate_hz)
    return resampled_length(n_samples, conversation.sample_rate_hz, sample_rate_hz)


def collate(windows: Sequence[Window]) -> Batch:
    """Windows of one `Windows` as a batch."""
    activity = [window.activity for window in windows if window.activity is not None]
    past = [window.past for window in windows if window.past is not None]
    return Batch(
        samples=torch.stack([window.samples for window in windows]),
        activity=torch.stack(activity) if activity else None,
        conversation=torch.tensor([window.conversation for window in windows]),
        item=torch.tensor([window.item for window in windows]),
        past=torch.stack(past) if past else None,
        seed=torch.tensor([window.seed for window in windows]),
    )


def permuted(index: int, length: int, seed: int, epoch: int) -> int:
    """Where a pseudo-random permutation of range(length), chosen by seed and epoch, puts an index; no table is kept.

    A balanced Feistel network permutes the smallest power of four that holds the range; what falls outside walks on
    along its cycle until it is back inside, which takes four turns at most on average. (Black and Rogaway 2002,
    "Ciphers with arbitrary finite domains", section 4.)
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    key = _mixed(_mixed(seed) ^ epoch)
    while True:
        left, right = index >> half, index & mask
        for turn in range(6):
            left, right = right, left ^ (_mixed(key ^ (right << 3 | turn)) & mask)
        index = left << half | right
        if index < length:
            return index


def _mixed(word: int) -> int:
    """A word of 64 bits, all of which depend on all of the given ones (the finaliser of SplitMix64)."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)
