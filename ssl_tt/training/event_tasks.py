"""Tasks asked at events of a preset: who takes the turn, and is a shift, a backchannel, a long utterance to come?

| task                | events of           | class 1 against class 0                     | asked at                   |
|---------------------|---------------------|---------------------------------------------|----------------------------|
| shift_hold          | probe.preset        | shift, hold                                 | the decision of each event |
| predict_shift       | probe.ahead_preset  | predict_shift, its negative                 | its region, every 0.1 s    |
| predict_backchannel | probe.ahead_preset  | predict_backchannel, its negative           | its region, every 0.1 s    |
| short_long          | probe.ahead_preset  | long, short: an utterance that has begun    | its region, every 0.1 s    |

Class 1 is always that the one who did not have the turn goes on. A region is asked at its last frame and at steps back
from there: neighbouring frames say nearly the same.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ssl_tt import timebase
from ssl_tt.training.config import ProbeConfig
from ssl_tt.turns import metrics
from ssl_tt.turns.events import Event, find_events
from ssl_tt.turns.floor_scores import READINGS, EventTask
from ssl_tt.turns.metrics import Floats, SilenceGroup
from ssl_tt.turns.spans import Frames

EVENT_TASKS: tuple[EventTask, ...] = get_args(EventTask)
STEP_SECONDS = 0.1


class Rows(NamedTuple):
    """Frames at which a task asks, one after the other."""

    frame: Frames
    """[R], in its conversation."""
    previous: Frames
    """Who had the turn, [R]."""
    truth: NDArray[np.bool_]
    """Class 1 [R]."""
    event: Frames
    """Number of the event, [R], from 0."""
    seconds: Floats
    """How long the event's silence or window lasts, [R]."""
    conversation: Frames
    """Place of the conversation in a list of them, [R]."""

    @property
    def n_events(self) -> int:
        return int(self.event.max(initial=-1)) + 1


def asked_events(
    activity: NDArray[np.bool_], frame_rate_hz: float, config: ProbeConfig
) -> dict[EventTask, list[Event]]:
    """The events of each task in `config.tasks`, in activity [T, 2]; InputError as `find_events`."""
    presets = {
        task: config.preset if task == "shift_hold" else config.ahead_preset
        for task in EVENT_TASKS
        if task in config.tasks
    }
    found = {preset: find_events(activity, frame_rate_hz, preset) for preset in sorted(set(presets.values()))}
    return {
        task: [event for event in found[preset] if event.kind in READINGS[task].kinds]
        for task, preset in presets.items()
    }


def rows(task: EventTask, conversations: Sequence[tuple[Sequence[Event], float]]) -> Rows:
    """Where a task asks in several conversations, each its events and frame rate."""
    asked = [(event, rate, place) for place, (events, rate) in enumerate(conversations) for event in events]
    spans = [(event.region[0], event.decision, event.previous, place) for event, _, place in asked]
    first, last, previous, conversation = np.array(spans, dtype=np.int64).reshape(-1, 4).T
    rates = np.array([rate for _, rate, _ in asked])
    step = np.array([max(1, timebase.frames(STEP_SECONDS, rate)) for _, rate, _ in asked], dtype=np.int64)
    count = np.ones_like(last) if task == "shift_hold" else (last - first) // step + 1
    event = np.repeat(np.arange(len(asked)), count)
    back = np.cumsum(count)[event] - 1 - np.arange(len(event))  # steps from the last frame of its event
    truth = np.array([event.kind == READINGS[task].kinds[1] for event, _, _ in asked], dtype=bool)
    lasts = np.array([event.end - event.start for event, _, _ in asked]) / rates
    frame = last[event] - back * step[event]
    return Rows(frame, previous[event], truth[event], event, lasts[event], conversation[event])


class Said(NamedTuple):
    """Answers to the rows of a task."""

    score: Floats
    """[R], class 1 from 0 on."""
    probability: Floats
    """Of class 1 [R], if it is as frequent as in training."""


def score(said: Said, asked: Rows, n_conversations: int, draws: Floats) -> dict[str, Floats]:
    """Scores under every draw of conversations; NaN where not defined.

    Frame-wise, every row an answer; where events have several rows, event-wise too, an event being answered by the mean
    of its scores.
    """
    truth, conversation, score = asked.truth, asked.conversation, said.score
    answered = metrics.confusion_counts(truth, score >= 0, conversation, n_conversations)
    confusion = np.tensordot(draws, answered, axes=1)
    negative, positive = metrics.f1(confusion).T
    sums = metrics.forecasts(truth, said.probability, conversation, n_conversations)
    found = {
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "weighted_f1": metrics.weighted_f1(confusion),
        "f1_positive": positive,
        "f1_negative": negative,
        "roc_auc": metrics.roc_auc(metrics.concordance(truth, score, conversation, n_conversations), draws),
        "average_precision": metrics.average_precision(
            metrics.cumulated(truth, score, conversation, n_conversations), draws
        ),
        "brier": metrics.brier_score(sums, draws),
        "expected_calibration_error": metrics.expected_calibration_error(sums, draws),
    }
    if asked.n_events < len(truth):
        _, first = np.unique(asked.event, return_index=True)
        event_score = metrics.event_wise(score, asked.event, asked.n_events)
        counts = metrics.confusion_counts(truth[first], event_score >= 0, conversation[first], n_conversations)
        by_event = np.tensordot(draws, counts, axes=1)
        found["event_balanced_accuracy"] = metrics.balanced_accuracy(by_event)
        found["event_weighted_f1"] = metrics.weighted_f1(by_event)
    return found


def confusion(said: Said, asked: Rows) -> NDArray[np.int64]:
    """Counts [true class, answered class]."""
    counts: NDArray[np.int64] = metrics.confusion_counts(asked.truth, said.score >= 0, 0 * asked.event, 1)[0]
    return counts


def by_silence(said: Said, asked: Rows, n_conversations: int, draws: Floats) -> list[SilenceGroup]:
    """Balanced accuracy of the rows in each group of silence durations."""
    answered = said.score >= 0

    def balanced(chosen: NDArray[np.bool_]) -> Floats:
        of = asked.conversation[chosen]
        counts = metrics.confusion_counts(asked.truth[chosen], answered[chosen], of, n_conversations)
        return metrics.balanced_accuracy(np.tensordot(draws, counts, axes=1))

    return metrics.by_silence(asked.seconds, balanced)


def with_prior(logit: Floats, share: float) -> Floats:
    """Probability of class 1 by a logit of both classes at equal weight, where it has this share."""
    found: Floats = special.expit(logit + special.logit(share))
    return found
