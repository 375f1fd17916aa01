"""What a trained head says to the questions of a comparison, as a probe would."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_tt import timebase
from ssl_tt.data.conversation import Conversation
from ssl_tt.training import probe
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.features import BLOCK_SECONDS, Features, Frames, Reader, audio_blocks
from ssl_tt.training.probe import Answers
from ssl_tt.training.questions import Asked
from ssl_tt.training.ridge import Floats
from ssl_tt.training.task import Task
from ssl_tt.turns import metrics
from ssl_tt.turns.activity_target import ActivityTarget
from ssl_tt.turns.event_target import EventsTarget
from ssl_tt.turns.projection_targets import FutureTarget
from ssl_tt.turns.states import last_speaker

_NEVER = float(np.nextafter(1.0, 2.0))  # above every probability


def logits_reader(task: Task, cache: FeatureCache) -> Reader:
    """Reads the logits [P, 2, K] of a model that has heard a conversation from its beginning, in a stream."""

    @torch.inference_mode()
    def read(conversation: Conversation, frames: Frames) -> Features:
        found: list[Tensor] = []
        state: Any = None
        first = 0
        for block in _blocks(task, cache, conversation, int(frames.max()) + 1):
            logits, state = task.logits(block, state)
            inside = frames[(frames >= first) & (frames < first + logits.shape[2])]
            found.append(logits[0, :, torch.from_numpy(inside - first)])
            first += logits.shape[2]
        return {"logits": torch.cat(found, dim=1).transpose(0, 1).numpy()}

    return read


def answer(
    task: Task, read: probe.Read, asked: Asked, held_out: tuple[probe.Read, Asked], config: ProbeConfig
) -> Answers:
    """Answers to the tasks that the target is about; the threshold of a shift is chosen on held-out conversations.

    Of the questions that are asked only frames and speakers count. A target that gives no bins of 50 ms leaves future
    activity unanswered.
    """
    shift = future = stretch = None
    chosen: dict[str, float] = {}
    if "shift_hold" in config.tasks and not isinstance(task.target, ActivityTarget):
        threshold = 0.5
        if not isinstance(task.target, EventsTarget):
            kept, kept_asked = held_out
            found = metrics.best_threshold(
                kept_asked.shift, shift_probability(task, kept.decisions, kept_asked.previous)
            )
            threshold = min(found.value, _NEVER)
            chosen["shift_hold"] = threshold
        shift = shift_probability(task, read.decisions, asked.previous) - threshold
        last = np.concatenate([last_speaker(question.activity)[question.stretch] for question in asked.questions])
        stretch = np.where(last >= 0, shift_probability(task, read.stretch, np.maximum(last, 0)), np.nan)
    if "future_activity" in config.tasks and isinstance(task.target, FutureTarget):
        future = torch.sigmoid(torch.from_numpy(read.frames).double()).numpy()
    return Answers(shift, future, stretch, {}, chosen)


def shift_probability(task: Task, logits: NDArray[np.float32], previous: Frames) -> Floats:
    """How likely [P] it is that the turn goes to the other, from logits [P, 2, K] and who had it [P].

    A target of what comes at every frame says it of the next 0.6 s: how much of it the other is expected to have.
    """
    rows = np.arange(len(logits))
    said = torch.from_numpy(logits).double()
    if isinstance(task.target, EventsTarget):
        found: Floats = torch.sigmoid(said[rows, previous, 0]).numpy()
    else:
        assert not isinstance(task.target, ActivityTarget)
        found = task.target.floor(said[:, :, None]).now[rows, 1 - previous, 0].double().numpy()
    return found


def _blocks(task: Task, cache: FeatureCache, conversation: Conversation, n_frames: int) -> Iterator[Tensor]:
    """Features [1, 2, T, C] that are there already, or audio [1, 2, N], in blocks of up to `n_frames` in all."""
    encoder = task.model.encoder
    if task.config.mode != "frozen":
        yield from (samples[None] for samples in audio_blocks(conversation, encoder, n_frames))
        return
    features = cache.features(conversation)
    size = max(1, timebase.frames(BLOCK_SECONDS, encoder.frame_rate_hz))
    for first in range(0, n_frames, size):
        yield torch.from_numpy(np.array(features[None, :, first : min(first + size, n_frames)]))
