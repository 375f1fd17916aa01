"""What a probe reads out at given frames of a conversation: frozen representations, log-mel, or who spoke when.

Every reader maps (conversation, frames [P]) to {name: [P, 2, D] float32}, the two speakers by channel. All are causal:
what is read at frame t was known at its end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_tt import timebase
from ssl_tt.data.audio import read_window
from ssl_tt.data.conversation import Conversation
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.receptive_field import receptive_field
from ssl_tt.errors import InputError
from ssl_tt.objectives.objective import Objective
from ssl_tt.turns.activity import activity
from ssl_tt.turns.activity_history import ActivityHistory

Frames = NDArray[np.int64]
Features = dict[str, NDArray[np.float32]]
Reader = Callable[[Conversation, Frames], Features]

# Audio is encoded in blocks of this length, the state handed on: memory stays bounded, the answer is that of the whole.
BLOCK_SECONDS = 30.0

# A stretch [end - older, end - newer) of a sequence, counted in its frames; `end` is the first frame not yet known.
Window = tuple[int, int]


class Gatherer:
    """Means of a sequence over stretches before each of some moments, fed block by block.

    windows: stretches counted back from each moment; what lies before the conversation is left out of the mean, and an
    empty stretch is 0. ends [P]: the moments, ascending, as first frames of the sequence that are not known yet.
    """

    def __init__(self, windows: Sequence[Window], ends: Frames) -> None:
        self._older, self._newer = np.array(windows, dtype=np.int64).T
        self._ends = ends
        self._seen = self._answered = 0
        self._tail: Tensor | None = None
        self._found: list[Tensor] = []

    def push(self, block: Tensor) -> None:
        """The next frames [S, T, C] of the sequence."""
        extended = block if self._tail is None else torch.cat([self._tail, block], dim=1)
        first = self._seen - (extended.shape[1] - block.shape[1])
        self._seen += block.shape[1]
        ready = int(np.searchsorted(self._ends, self._seen, side="right"))
        if ready > self._answered:
            ends = self._ends[self._answered : ready, None]
            starts = torch.from_numpy(np.maximum(ends - self._older, 0) - first)  # [P, windows]
            stops = torch.from_numpy(np.maximum(ends - self._newer, 0) - first)
            # In double precision, so that a difference of sums is as good as a sum.
            sums = torch.nn.functional.pad(extended.double().cumsum(dim=1), (0, 0, 1, 0))
            means = (sums[:, stops] - sums[:, starts]) / (stops - starts).clamp(min=1)[..., None]
            self._found.append(means.float().permute(1, 0, 2, 3).flatten(2))
            self._answered = ready
        self._tail = extended[:, max(0, extended.shape[1] - int(self._older.max())) :].clone()

    def result(self) -> NDArray[np.float32]:
        """[P, S, windows * C]"""
        if self._answered < len(self._ends):
            raise ValueError(f"frame {self._ends[self._answered] - 1} was asked for, the sequence has {self._seen}")
        return torch.cat(self._found).numpy()


def representation_names(objective: Objective) -> list[str]:
    """What can be probed of an objective: its own representations, then the layers inside its encoder."""
    samples = torch.zeros(1, objective.encoder.sample_rate_hz)
    with torch.inference_mode():
        own, _ = objective.eval().representations(samples)
        return list(dict.fromkeys((*own, *objective.encoder.layers(samples))))


def objective_reader(objective: Objective, names: Sequence[str], pool_seconds: Sequence[float] = ()) -> Reader:
    """Reads the representations or layers `names`: the last frame, then means over the last `pool_seconds`."""
    encoder = objective.encoder
    pools = [(max(1, timebase.frames(seconds, encoder.frame_rate_hz)), 0) for seconds in pool_seconds]
    # A layer sees no further than the encoder, so from this much of the past it is exact.
    past_samples = -(-receptive_field(encoder).span_samples // encoder.hop_samples) * encoder.hop_samples

    def read(conversation: Conversation, frames: Frames) -> Features:
        gatherers = {name: Gatherer([(1, 0), *pools], frames + 1) for name in names}
        state: Any = None
        past = torch.zeros(2, 0)
        for samples in audio_blocks(conversation, encoder, int(frames.max()) + 1):
            found, state = objective.representations(samples, state)
            if not found.keys() >= set(names):
                new_frames = samples.shape[1] // encoder.hop_samples
                samples = torch.cat([past, samples], dim=1)
                layers = encoder.layers(samples)
                found = {name: layer[:, -new_frames:] for name, layer in layers.items()} | found
                past = samples[:, max(0, samples.shape[1] - past_samples) :]
            for name, gatherer in gatherers.items():
                gatherer.push(found[name])
        return {name: gatherer.result() for name, gatherer in gatherers.items()}

    return _frozen(objective, read)


def logmel_reader(encoder: Encoder, windows: Mapping[str, Sequence[Window]]) -> Reader:
    """Reads the log-mel that the encoder knows as means over stretches, each set of stretches under its name."""
    stride = encoder.hop_samples // encoder.config.frontend.hop_samples

    def read(conversation: Conversation, frames: Frames) -> Features:
        gatherers = {name: Gatherer(stretches, (frames + 1) * stride) for name, stretches in windows.items()}
        state: Any = None
        for samples in audio_blocks(conversation, encoder, int(frames.max()) + 1):
            logmel, state = encoder.log_mel(samples, state)
            for gatherer in gatherers.values():
                gatherer.push(logmel)
        return {name: gatherer.result() for name, gatherer in gatherers.items()}

    return _frozen(encoder, read)


def logmel_windows(span_frames: int, frame_rate_hz: float) -> list[Window]:
    """Stretches of 100 ms over the last second; beyond, up to `span_frames`, each twice the one before.

    A probe of 100 ms blocks all the way would have more weights than most corpora have events.
    """
    step = max(1, timebase.frames(0.1, frame_rate_hz))
    edges = [0]
    while edges[-1] < span_frames:
        if edges[-1] >= timebase.frames(1.0, frame_rate_hz):
            step *= 2
        edges.append(min(edges[-1] + step, span_frames))
    return list(zip(edges[1:], edges[:-1], strict=True))


def activity_reader(frame_rate_hz: float) -> Reader:
    """Reads who spoke when, up to the frame; see `ActivityHistory`."""
    history = ActivityHistory(frame_rate_hz)

    def read(conversation: Conversation, frames: Frames) -> Features:
        found, _ = history(torch.from_numpy(activity(conversation, frame_rate_hz)).T)
        return {"activity_history": found.transpose(0, 1)[torch.from_numpy(frames)].numpy()}

    return read


def audio_blocks(conversation: Conversation, encoder: Encoder, n_frames: int) -> Iterator[Tensor]:
    """The first `n_frames` of a conversation's audio, [S, N] a block, each a whole number of the encoder's frames."""
    if conversation.channels != 2:
        raise InputError(
            f"conversation {conversation.id!r}: {conversation.channels} channels, expected 2 (one a speaker) to probe"
        )
    size = max(1, timebase.frames(BLOCK_SECONDS, encoder.frame_rate_hz))
    for first in range(0, n_frames, size):
        count = min(size, n_frames - first) * encoder.hop_samples
        start = timebase.seconds(first, encoder.frame_rate_hz)
        yield torch.from_numpy(read_window(conversation, start, count, encoder.sample_rate_hz))


def _frozen(module: torch.nn.Module, read: Reader) -> Reader:
    """The reader with the module in evaluation mode and without gradients."""

    @torch.inference_mode()
    def frozen(conversation: Conversation, frames: Frames) -> Features:
        module.eval()
        return read(conversation, frames)

    return frozen
