"""What the training loop, the probe and the report know of any objective."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder, EncoderState
from ssl_tt.objectives.loss import Loss


class ObjectiveState(NamedTuple):
    """Past of the encoder, and of what an objective makes of its output."""

    encoder: EncoderState
    derived: Any


class Objective(nn.Module, ABC):
    """Owns its encoder and is the one module that is trained, wrapped by Accelerate and saved; can be streamed."""

    code_levels: ClassVar[Mapping[str, str | None]] = {}
    """Sequences of codes among the diagnostics that all of a recording can be rebuilt from, in the order in which they
    are decoded, each with the coarser one that is known before it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """Loss of a batch of windows; every random draw comes from torch's generator, seeded by the loop per step."""

    @abstractmethod
    def derived(self, z: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """Named sequences to probe beside the encoder's output z [B, T, C], of which T may be 0, and their state.

        Every tensor of the state has the B first.
        """

    def representations(
        self, samples: Tensor, state: ObjectiveState | None = None
    ) -> tuple[dict[str, Tensor], ObjectiveState]:
        """Named sequences to probe: samples [B, N] -> ({"encoder": [B, T, C], ...}, state); N may be anything."""
        z, encoder = self.encoder(samples, state.encoder if state else None)
        derived, past = self.derived(z, state.derived if state else None)
        return {"encoder": z, **derived}, ObjectiveState(encoder, past)

    def advance(self, samples: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """`representations`, by the name that a `Stream` calls."""
        return self.representations(samples, state)

    @property
    def cycle_samples(self) -> int:
        """Samples after which the state of a stream has the shapes it began with: a frame of the slowest level."""
        return self.encoder.hop_samples

    @abstractmethod
    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """What a report may draw of samples [B, N], such as `input`, `reconstruction` [B, T, M], `codes` [B, T]."""

    def after_optimizer_step(self) -> None:
        """Called once after each optimizer step, however many batches were accumulated into it."""
