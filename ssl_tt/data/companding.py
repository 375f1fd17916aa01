"""Samples on the scale of the ear: the mu-law of ITU-T G.711, mu = 255, as a formula and not in its 15 segments."""

import math

import torch
from torch import Tensor

MU = 255
CLASSES = MU + 1


def compress(samples: Tensor) -> Tensor:
    """sign(x) log(1 + mu |x|) / log(1 + mu): from [-1, 1] to [-1, 1]; what lies outside is clipped."""
    samples = samples.clamp(-1, 1)
    return samples.sign() * torch.log1p(MU * samples.abs()) / math.log1p(MU)


def expand(compressed: Tensor) -> Tensor:
    """The inverse of `compress`."""
    return compressed.sign() * torch.expm1(compressed.abs() * math.log1p(MU)) / MU


def to_classes(samples: Tensor) -> Tensor:
    """Samples in [-1, 1] as one of 256 classes, int64: the nearest on the compressed scale."""
    return ((compress(samples) + 1) / 2 * MU).round().long()


def from_classes(classes: Tensor) -> Tensor:
    """The sample in the middle of each class."""
    return expand(2 * classes / MU - 1)
