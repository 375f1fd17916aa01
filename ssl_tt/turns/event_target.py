"""Shift against hold as the target of a head, asked at the events alone."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.errors import InputError
from ssl_tt.turns.config import EventsTargetConfig
from ssl_tt.turns.events import Event, find_events


class EventsTarget(nn.Module):
    """Binary cross-entropy of shift against hold at the decision frame of each event that lies in a window whole.

    A logit [B, 2, T, 1] is that of a shift, were the speaker the one who had the turn. The rarer class weighs more, so
    that both count alike: `weights` are n / (2 n_hold) and n / (2 n_shift) of the events that `prepare` counts. All
    events of a window are its conversation's; those in its first seconds, which the preset asks for as context, and
    those whose speech is cut off by its end are not.
    """

    outputs = 1
    horizon_seconds = 0.0

    def __init__(self, config: EventsTargetConfig, frame_rate_hz: float) -> None:
        super().__init__()
        self.config = config
        self.frame_rate_hz = frame_rate_hz
        self.register_buffer("weights", torch.ones(2))
        self.weights: Tensor

    def prepare(self, fitted: Iterable[NDArray[np.bool_]], held_out: Iterable[NDArray[np.bool_]]) -> None:
        """Set the weights by the conversations to fit on, each [T, 2]; InputError unless these and those that are held
        out have events of both kinds."""
        for where, activities in (("held out", held_out), ("to fit on", fitted)):
            shift = [event.kind == "shift" for activity in activities for event in self._events(activity)]
            n, n_shift = len(shift), sum(shift)
            if not 0 < n_shift < n:
                raise InputError(
                    f"{n_shift} shifts and {n - n_shift} holds by preset {self.config.preset} in the conversations "
                    f"{where}, expected both: add conversations, or choose another target"
                )
        self.weights.copy_(torch.tensor([n / (2 * (n - n_shift)), n / (2 * n_shift)]))

    def loss(self, logits: Tensor, activity: Tensor) -> Tensor:
        """Mean over the events of logits [B, 2, T, 1] and activity [B, T, 2], a scalar; 0 where there is none."""
        found = [(b, event) for b, spoken in enumerate(activity.cpu().numpy()) for event in self._events(spoken)]
        if not found:
            return 0 * logits.float().sum()
        place = torch.tensor([(b, event.previous, event.decision) for b, event in found], device=logits.device)
        shift = torch.tensor([event.kind == "shift" for _, event in found], device=logits.device)
        asked = logits[place[:, 0], place[:, 1], place[:, 2], 0].float()
        return F.binary_cross_entropy_with_logits(asked, shift.float(), self.weights[shift.long()])

    def _events(self, activity: NDArray[np.bool_]) -> list[Event]:
        events = find_events(activity, self.frame_rate_hz, self.config.preset)
        return [event for event in events if event.kind in ("shift", "hold")]
