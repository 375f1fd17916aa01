"""Front ends without learned weights, normalised by fixed statistics of the training corpus."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_tt.errors import InputError

# Least standard deviation to divide by (nats in a log-mel): a feature that never moves, such as a band above the
# bandwidth of telephone speech, stays a constant and is not blown up.
LEAST_STD = 0.1


class Normalised(nn.Module, ABC):
    """Features of samples less their mean, in standard deviations: [B, N] -> [B, N // hop, M] and a state.

    The statistics are those of the training corpus, fixed before training and stored in the checkpoint.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, feature_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_count))
        self.register_buffer("std", torch.ones(feature_count))

    @abstractmethod
    def raw(self, samples: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Features before normalisation; what the statistics are taken of. NaN where a feature is missing."""

    def forward(self, samples: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        features, state = self.raw(samples, state)
        return (features - self.mean) / self.std, state

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix mean and standard deviation [M] of the training corpus; a ValueError unless finite and std > 0."""
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(f"statistics of shape {tuple(mean.shape)} and {tuple(std.shape)}, not {self.mean.shape}")
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise ValueError("statistics must be finite, and the standard deviation above zero")
        self.mean.copy_(mean)
        self.std.copy_(std)


def normalised(module: nn.Module) -> list[Normalised]:
    """Every front end in a module that wants statistics, in a fixed order."""
    return [each for each in module.modules() if isinstance(each, Normalised)]


@torch.no_grad()
def corpus_statistics(frontend: Normalised, audio: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [M] of the raw features over every frame of samples [B, N], summed in float64.

    Frames where a feature is missing do not count for it. Raises InputError if there is not a single frame.
    """
    count = torch.zeros(frontend.mean.shape, dtype=torch.float64)
    total = torch.zeros_like(count)
    square = torch.zeros_like(count)
    frames = 0
    for samples in audio:
        features = frontend.raw(samples.to(frontend.mean.device))[0].flatten(0, -2).double().cpu()
        frames += len(features)
        count += features.isfinite().sum(dim=0)
        features = features.nan_to_num(nan=0.0)
        total += features.sum(dim=0)
        square += features.square().sum(dim=0)
    if frames == 0:
        raise InputError("no audio for the statistics of the front end: expected at least one frame; give longer audio")
    mean = total / count.clamp(min=1)
    std = (square / count.clamp(min=1) - mean.square()).clamp(min=0).sqrt().clamp(min=LEAST_STD)
    return mean, std
