"""What is asked about conversations: who takes the turn, who speaks next, and what is spoken in a frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ssl_tt import timebase
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.phones import Phone, phone_at
from ssl_tt.training import event_tasks
from ssl_tt.training.config import ProbeConfig
from ssl_tt.training.event_tasks import EVENT_TASKS, Rows
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import Event
from ssl_tt.turns.floor_scores import EventTask
from ssl_tt.turns.spans import Frames
from ssl_tt.turns.states import check_activity, last_speaker
from ssl_tt.turns.targets import FUTURE_SECONDS, future_activity


@dataclass(frozen=True)
class Question:
    """What is asked about one conversation: who takes the turn at its events, who speaks after some of its frames."""

    conversation: Conversation
    frame_rate_hz: float
    activity: NDArray[np.bool_]
    """[T, 2]"""
    events: dict[EventTask, list[Event]]
    """Of each task that is asked at events."""
    frames: Frames
    """Frames [F] at which future activity, and what is spoken now, is asked for."""
    future: NDArray[np.bool_]
    """Which of the next 60 bins each speaker fills [F, 2, 60]."""
    phones: NDArray[np.str_] = field(default_factory=lambda: np.zeros((0, 2), np.str_))
    """Which phone each speaker speaks at the frames [F, 2], "" for none; empty unless it is asked for."""
    stretch: Frames = field(default_factory=lambda: np.zeros(0, np.int64))
    """Frames [Q] at which a picture shows the belief in a shift; not scored."""

    @property
    def active(self) -> NDArray[np.bool_]:
        """Who speaks at the frames, [F, 2]."""
        return self.activity[self.frames]


def ask(
    conversation: Conversation,
    frame_rate_hz: float,
    config: ProbeConfig,
    phones: Sequence[Sequence[Phone]] = ((), ()),
) -> Question:
    """The questions of the tasks in `config`; InputError for a conversation without segments or not of two speakers.

    phones: those of each channel, where the tasks ask for them.
    """
    spoken = activity(conversation, frame_rate_hz)
    frames = np.zeros(0, np.int64)
    if set(config.tasks) - set(EVENT_TASKS):
        step = max(1, timebase.frames(config.frame_every_seconds, frame_rate_hz))
        known = timebase.frames(conversation.duration_seconds - FUTURE_SECONDS, frame_rate_hz)
        frames = np.arange(step - 1, known, step)
    return Question(
        conversation=conversation,
        frame_rate_hz=frame_rate_hz,
        activity=check_activity(spoken),
        events=event_tasks.asked_events(spoken, frame_rate_hz, config),
        frames=frames,
        future=future_activity(conversation, frame_rate_hz, frames),
        phones=np.stack([phone_at(of_channel, frames, frame_rate_hz) for of_channel in phones], axis=1),
    )


@dataclass(frozen=True)
class Asked:
    """The questions about several conversations, one after the other."""

    questions: Sequence[Question]

    @property
    def tasks(self) -> list[EventTask]:
        """Those that are asked at events."""
        return [task for task in EVENT_TASKS if any(task in question.events for question in self.questions)]

    def rows(self, task: EventTask) -> Rows:
        """Where a task asks at events; nowhere, if it is not asked."""
        return event_tasks.rows(task, [(each.events.get(task, []), each.frame_rate_hz) for each in self.questions])

    @property
    def future(self) -> NDArray[np.bool_]:
        """[F, 2, 60]"""
        return np.concatenate([question.future for question in self.questions])

    @property
    def frame_conversation(self) -> Frames:
        """Place in `questions` of the conversation of each frame, [F]."""
        return np.repeat(np.arange(len(self.questions)), [len(question.frames) for question in self.questions])

    @property
    def last_speaker(self) -> Frames:
        """Who spoke last at the frames of the stretch, [Q]; -1 before anyone has spoken alone."""
        return np.concatenate([last_speaker(question.activity)[question.stretch] for question in self.questions])

    @property
    def dialogue(self) -> Frames:
        """Number of the dialogue of each of `questions`: recordings that share their words share it."""
        names = [question.conversation.dialogue for question in self.questions]
        return np.unique(names, return_inverse=True)[1]
