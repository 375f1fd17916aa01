"""Targets of every kind that the tests share, and activity to ask them about."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.turns import vap
from ssl_tt.turns.build_target import Target, build_target
from ssl_tt.turns.config import ActivityTargetConfig, FutureTargetConfig, TargetConfig, VAPTargetConfig
from ssl_tt.turns.projection_targets import future_bins

RATE_HZ = 50.0
LOG_2 = math.log(2)

# Settings of a target, and what it costs to say nothing.
TARGETS: dict[str, tuple[TargetConfig, float]] = {
    "activity": (ActivityTargetConfig(), LOG_2),
    "activity, weighed": (ActivityTargetConfig(positive_weight=3.0), LOG_2),
    "future": (FutureTargetConfig(), LOG_2),
    "future, weighed": (FutureTargetConfig(positive_weight=3.0), LOG_2),
    "discrete": (VAPTargetConfig(), math.log(256)),
    "independent": (VAPTargetConfig(form="independent"), LOG_2),
    "independent, weighed": (VAPTargetConfig(form="independent", positive_weight=3.0), LOG_2),
    "comparative": (VAPTargetConfig(form="comparative"), LOG_2),
}


def small_target(name: str, rate: float = RATE_HZ) -> Target:
    return build_target(TARGETS[name][0], rate)


def talk(seed: int = 0, frames: int = 400) -> Tensor:
    """Activity [2, T, 2] in stretches of 0.4 s."""
    drawn = torch.rand(2, frames // 20 + 1, 2, generator=torch.Generator().manual_seed(seed)) < 0.5
    return drawn.repeat_interleave(20, dim=1)[:, :frames]


def random_logits(name: str, seed: int = 1, frames: int = 400) -> Tensor:
    """[2, 2, T, K]."""
    return torch.randn(2, 2, frames, small_target(name).outputs, generator=torch.Generator().manual_seed(seed))


def knowing(name: str, activity: Tensor, sure: float = 20.0) -> Tensor:
    """Logits [B, 2, T, K] of one who knows the future of activity [B, T, 2], where it is inside the window."""
    match name.split(",")[0]:
        case "activity":
            return sure * (2.0 * activity.transpose(1, 2)[..., None].float() - 1)
        case "future":
            logits = sure * (2.0 * future_bins(activity, RATE_HZ).float() - 1)
        case "discrete":
            logits = sure * F.one_hot(vap.states(vap.vap_bins(activity, RATE_HZ)), vap.STATES).float()
        case "independent":
            logits = sure * (2.0 * vap.vap_bins(activity, RATE_HZ).float() - 1)
        case "comparative":
            active = vap.vap_bins(activity, RATE_HZ).sum(dim=3).float()
            share = active / active.sum(dim=1, keepdim=True).clamp(min=1)
            logits = torch.logit(share.clamp(1e-4, 1 - 1e-4))[..., None] / 2
    return F.pad(logits, (0, 0, 0, activity.shape[1] - logits.shape[2]))
