"""What a trained head says to the questions of a comparison, as a probe would."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from torch import Tensor

from ssl_tt import timebase
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError
from ssl_tt.training import probe
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.event_tasks import Said, with_prior
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.features import BLOCK_SECONDS, Features, Frames, Reader, audio_blocks
from ssl_tt.training.probe import Answers
from ssl_tt.training.questions import Asked
from ssl_tt.training.ridge import Floats
from ssl_tt.training.task import Task
from ssl_tt.turns import metrics
from ssl_tt.turns.activity import activity
from ssl_tt.turns.activity_target import ActivityTarget
from ssl_tt.turns.config import ActivityTargetConfig, EventsTargetConfig, TargetConfig
from ssl_tt.turns.event_target import EventsTarget
from ssl_tt.turns.floor_scores import READINGS, EventTask
from ssl_tt.turns.projection_targets import FutureTarget

_NEVER = float(np.nextafter(1.0, 2.0))  # above every probability


def logits_reader(task: Task, cache: FeatureCache) -> Reader:
    """Reads the logits [P, 2, K] of a model that has heard a conversation from its beginning, in a stream."""

    hop_samples = task.model.encoder.hop_samples

    @torch.inference_mode()
    def read(conversation: Conversation, frames: Frames) -> Features:
        found: list[Tensor] = []
        state: Any = None
        first = 0
        spoken = torch.from_numpy(activity(conversation, task.model.encoder.frame_rate_hz))[None]
        for block in _blocks(task, cache, conversation, int(frames.max()) + 1):
            n_frames = block.shape[2] if task.config.mode == "frozen" else block.shape[2] // hop_samples
            logits, state = task.logits(block, state, spoken[:, first : first + n_frames])
            inside = frames[(frames >= first) & (frames < first + logits.shape[2])]
            found.append(logits[0, :, torch.from_numpy(inside - first)])
            first += logits.shape[2]
        return {"logits": torch.cat(found, dim=1).transpose(0, 1).numpy()}

    return read


def answer(
    task: Task, read: probe.Read, asked: Asked, held_out: tuple[probe.Read, Asked], config: ProbeConfig
) -> Answers:
    """Answers to the tasks that the target is about; thresholds are chosen on held-out conversations.

    Of the questions that are asked only frames and speakers count. Targets of what comes at every frame answer all
    tasks at events, untrained for them (zero-shot, Ekstedt & Skantze 2022); one of events answers shift or hold alone,
    and one without bins of 50 ms leaves future activity unanswered.
    """
    future = stretch = None
    chosen: dict[str, float] = {}
    events: dict[EventTask, Said] = {}
    kept, kept_asked = held_out
    for name in answerable(task.config.target, asked.tasks):
        known = kept_asked.rows(name)
        likely = probability(task, name, read.events[name], asked.rows(name).previous)
        said = probability(task, name, kept.events[name], known.previous)
        chosen[name] = min(metrics.best_threshold(known.truth, said).value, _NEVER)
        calibrated = likely
        if isinstance(task.target, EventsTarget):  # which is trained as if both were as frequent
            calibrated = with_prior(logit(likely), float(known.truth.mean()))
        events[name] = Said(likely - chosen[name], calibrated)
        if name == "shift_hold":
            last = asked.last_speaker
            stretch = np.where(last >= 0, probability(task, name, read.stretch, np.maximum(last, 0)), np.nan)
    if "future_activity" in config.tasks and isinstance(task.target, FutureTarget):
        future = torch.sigmoid(torch.from_numpy(read.frames).double()).numpy()
    return Answers(events, future, stretch, {}, chosen)


def answerable(target: TargetConfig, tasks: Sequence[EventTask]) -> list[EventTask]:
    """Those of the tasks at events that a model with this target answers."""
    if isinstance(target, ActivityTargetConfig):
        return []
    return [task for task in tasks if task == "shift_hold" or not isinstance(target, EventsTargetConfig)]


def check_held_out(target: TargetConfig, kept: Asked) -> None:
    """InputError unless the conversations that are held out allow thresholds to be chosen."""
    for task in answerable(target, kept.tasks):
        truth, (negative, positive) = kept.rows(task).truth, READINGS[task].kinds
        if not 0 < truth.sum() < len(truth):
            raise InputError(
                f"{task}: the training dialogues held out for a head have {int(truth.sum())} frames of {positive} and "
                f"{int((~truth).sum())} of {negative}, expected both to choose a threshold: raise held_out_share, or "
                "drop the task"
            )


def probability(task: Task, name: EventTask, logits: NDArray[np.float32], previous: Frames) -> Floats:
    """Of class 1 of a task [R], by logits [R, 2, K] and who had the turn [R].

    A target of what comes at every frame says how much of the next 0.6 s, or of the time from there to 2 s, the other
    is expected to have: see `floor_scores`.
    """
    rows = np.arange(len(logits))
    said = torch.from_numpy(logits).double()
    if isinstance(task.target, EventsTarget):
        found: Floats = torch.sigmoid(said[rows, previous, 0]).numpy()
    else:
        assert not isinstance(task.target, ActivityTarget)
        floor = task.target.floor(said[:, :, None])
        found = (floor.later if READINGS[name].later else floor.now)[rows, 1 - previous, 0].double().numpy()
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
