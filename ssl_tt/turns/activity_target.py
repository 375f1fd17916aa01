"""Who speaks now, as the target of a head."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ssl_tt.turns.binary_loss import binary_loss
from ssl_tt.turns.config import ActivityTargetConfig
from ssl_tt.turns.window_activity import check_windows


class ActivityTarget(nn.Module):
    """Whether each speaker is active in the frame itself; binary cross-entropy, with a weight of the active ones.

    An auxiliary: it asks what the features keep of the present. It foresees nothing, so no floor is read out of it.
    """

    outputs = 1
    horizon_seconds = 0.0

    def __init__(self, config: ActivityTargetConfig, frame_rate_hz: float) -> None:
        super().__init__()
        self.config = config
        self.frame_rate_hz = frame_rate_hz

    def prepare(self, fitted: Iterable[NDArray[np.bool_]], held_out: Iterable[NDArray[np.bool_]]) -> None:
        """As of other targets; nothing is weighted by what the conversations hold."""

    def loss(self, logits: Tensor, activity: Tensor) -> Tensor:
        """A scalar, of logits [B, 2, T, 1] and activity [B, T, 2]: mean over all frames."""
        active = check_windows(activity).transpose(1, 2)
        return binary_loss(logits[..., 0], active, self.config.positive_weight)

    def floor(self, logits: Tensor) -> None:
        """None: who speaks now does not say who speaks next."""
        return None
