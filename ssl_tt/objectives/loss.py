"""What every objective's forward returns."""

from typing import NamedTuple

from torch import Tensor


class Loss(NamedTuple):
    """`total` is the fp32 scalar to minimise, a mean over the batch; `parts` are detached scalars by name, to log."""

    total: Tensor
    parts: dict[str, Tensor]
