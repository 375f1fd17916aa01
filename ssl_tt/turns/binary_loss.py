"""The loss of what is or is not so, at every frame."""

import torch
from torch import Tensor
from torch.nn import functional as F


def binary_loss(logits: Tensor, active: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy of logits against `active` (bool, the same shape): a scalar in nats, fp32.

    What is active weighs `positive_weight`, what is not 1. The mean is over the weights, not over the number of
    answers, so that logits of 0 cost log 2 whatever the weight and however rare speech is.
    """
    weight = torch.where(active, positive_weight, 1.0).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), active.float(), weight, reduction="sum")
    return each / weight.sum()
