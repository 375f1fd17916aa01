"""How long each objective of a comparison is trained: for equal steps, or for equal work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import mkldnn
from torch.utils.flop_counter import FlopCounterMode

from ssl_tt import timebase
from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives import build
from ssl_tt.objectives.config import ObjectiveConfig
from ssl_tt.training.config import CompareRecipe, Experiment

# Windows that are counted: of two conversations, as some negatives ask for. Their number cancels out of a ratio.
_WINDOWS = 2


def steps(recipe: CompareRecipe) -> dict[str, int]:
    """Optimizer steps of each objective, by its name.

    With the budget "steps" all have `training.steps`. With "operations" each has as many as come nearest to what the
    first objective spends on `training.steps`, and at least one.
    """
    if recipe.budget == "steps":
        return dict.fromkeys(recipe.objectives, recipe.training.steps)
    each = {name: window_operations(recipe, objective) for name, objective in recipe.objectives.items()}
    budget = recipe.training.steps * next(iter(each.values()))
    return {name: max(1, round(budget / operations)) for name, operations in each.items()}


def window_operations(experiment: Experiment, objective: ObjectiveConfig) -> float:
    """Floating-point operations of training on a window of two channels: products and convolutions, there and back.

    What is counted is the same on every machine. Elementwise work and Fourier transforms are not counted, so that time
    is only roughly in proportion; `cost` has the time.
    """
    with torch.random.fork_rng(devices=[]), _products_alone(), FlopCounterMode(display=False) as counter:
        torch.manual_seed(0)
        module = build(objective, Encoder(experiment.encoder)).train()
        n_samples = timebase.samples(experiment.data.window_seconds, module.encoder.sample_rate_hz)
        n_frames = n_samples // module.encoder.hop_samples
        window = torch.arange(_WINDOWS)
        batch = Batch(
            samples=torch.randn(_WINDOWS, 2, n_samples) / 10,
            activity=torch.ones(_WINDOWS, n_frames, 2, dtype=torch.bool),
            conversation=window,
            item=window,
        )
        module(batch).total.backward()
    return counter.get_total_flops() / _WINDOWS


@contextmanager
def _products_alone() -> Iterator[None]:
    """Without the library that has an LSTM of its own, whose operations PyTorch does not count."""
    enabled = torch._C._get_mkldnn_enabled()
    mkldnn.set_flags(False)
    try:
        yield
    finally:
        mkldnn.set_flags(enabled)
