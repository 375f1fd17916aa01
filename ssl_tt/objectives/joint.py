"""Several objectives at once: one encoder for all, the weighted sum of their losses."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from torch import Tensor, nn

from ssl_tt import objectives
from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.config import JointConfig
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective


class Joint(Objective):
    """The parts of a recipe on one encoder, such as contrast and reconstruction.

    In training each part encodes for itself, with its own dropout and augmentation, so a step costs what those of the
    parts cost together. Live, and for probes, the encoder runs once. What only one part has keeps its name; what
    several have, such as two contexts, is called by the part too: `near.context`.
    """

    def __init__(self, config: JointConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.names = sorted(config.parts)  # whatever their order in a recipe, the weights are the same
        self.parts = nn.ModuleList(objectives.build(config.parts[name], encoder) for name in self.names)
        for part in self.parts:
            # A module of this one alone: weights, checkpoint, optimizer and DDP know one encoder.
            del part.encoder
            object.__setattr__(part, "encoder", encoder)

    def forward(self, batch: Batch) -> Loss:
        total, parts = batch.samples.new_zeros(()), {}
        for name, part in self._parts():
            loss = part(batch)
            total = total + self.config.parts[name].weight * loss.total
            parts[f"{name}.loss"] = loss.total.detach()
            parts |= {f"{name}.{of_part}": value for of_part, value in loss.parts.items()}
        return Loss(total, parts)

    def derived(self, z: Tensor, state: Mapping[str, Any] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What every part derives of the one encoder's output."""
        found, states = {}, {}
        for name, part in self._parts():
            found[name], states[name] = part.derived(z, state[name] if state else None)
        return _named(found), states

    @property
    def cycle_samples(self) -> int:
        """Whole cycles of every part."""
        return math.lcm(*(part.cycle_samples for _, part in self._parts()))

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """What every part has to draw; `input` is the same for all."""
        found = {name: part.diagnostics(samples) for name, part in self._parts()}
        inputs = [of_part.pop("input") for of_part in found.values()]
        return {"input": inputs[0], **_named(found)}

    def after_optimizer_step(self) -> None:
        for _, part in self._parts():
            part.after_optimizer_step()

    def _parts(self) -> Iterator[tuple[str, Objective]]:
        return zip(self.names, cast(Iterable[Objective], self.parts), strict=True)


def _named(found: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What the parts have, by its name, or by `part.name` where several have it."""
    owners = Counter(key for of_part in found.values() for key in of_part)
    return {
        key if owners[key] == 1 else f"{name}.{key}": value
        for name, of_part in found.items()
        for key, value in of_part.items()
    }
