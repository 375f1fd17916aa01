"""Activity of windows, as training has it, checked as `find_events` checks that of a conversation."""

import torch
from torch import Tensor

from ssl_tt.errors import InputError


def check_windows(activity: Tensor) -> Tensor:
    """Activity [B, T, 2] as bool; InputError says what else was given."""
    if activity.ndim != 3 or activity.shape[2] != 2:
        raise InputError(
            f"activity of shape {list(activity.shape)}: targets are defined for windows [B, frames, 2] of two "
            "speakers; give one column a speaker"
        )
    if activity.dtype != torch.bool:
        if not ((activity == 0) | (activity == 1)).all():  # NaN is neither
            raise InputError("activity holds values other than 0 and 1, or NaN: give bool, true where a speaker speaks")
        activity = activity.bool()
    return activity
