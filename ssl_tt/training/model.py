"""Encoder and head as one causal model: from the samples of both speakers to what each of them will do."""

from typing import Any, NamedTuple

from einops import rearrange
from torch import Tensor, nn

from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives.objective import Objective
from ssl_tt.turns.config import HeadConfig
from ssl_tt.turns.heads import Head


class TurnTakingState(NamedTuple):
    """Past of what gives the features, and of the head."""

    source: Any
    head: Any


class TurnTaking(nn.Module):
    """Samples of both speakers [B, 2, N] -> logits [B, 2, T, K]: for each speaker the K `outputs` that a head gives.

    A head with `activity_history` is given the voice activity [B, T, 2] of the same frames too.

    The head reads the encoder's output, or another of the representations of an objective, such as its `context`; of
    an objective whose encoder alone is read, the rest is left behind. Frame t depends on no sample from
    (t + 1) * hop_samples on, of either speaker. Raises InputError for a representation that there is not.
    """

    channels_together = 2

    def __init__(
        self, source: Encoder | Objective, head: HeadConfig, outputs: int, representation: str = "encoder"
    ) -> None:
        super().__init__()
        self.source = source.encoder if isinstance(source, Objective) and representation == "encoder" else source
        self.representation = representation
        z, _ = self._read(next(source.parameters()).new_zeros(1, 0), None)
        self.head = Head(head, z.shape[2], outputs, self.encoder.frame_rate_hz)

    @property
    def encoder(self) -> Encoder:
        return self.source.encoder if isinstance(self.source, Objective) else self.source

    @property
    def reads_activity(self) -> bool:
        """Whether the voice activity of each frame must be given beside the samples."""
        return self.head.history is not None

    @property
    def cycle_samples(self) -> int:
        """Samples after which the state of a stream has the shapes it began with."""
        return self.source.cycle_samples

    def forward(
        self, samples: Tensor, state: TurnTakingState | None = None, activity: Tensor | None = None
    ) -> tuple[Tensor, TurnTakingState]:
        """Logits and state; InputError for windows of other than two channels."""
        z, source = self._read(rearrange(samples, "b s n -> (b s) n"), state.source if state else None)
        z = rearrange(z, "(b s) t c -> b s t c", s=samples.shape[1])
        logits, head = self.head(z, state.head if state else None, activity)
        return logits, TurnTakingState(source, head)

    def advance(
        self, samples: Tensor, state: TurnTakingState | None = None, activity: Tensor | None = None
    ) -> tuple[Tensor, TurnTakingState]:
        """`forward` for a `Stream`, whose rows are channels: [2 * B, n], activity [2 * B, T] -> logits [2 * B, T, K].

        Rows 0 and 1 are the two speakers of a call, 2 and 3 those of the next. InputError for an odd number of rows.
        """
        if len(samples) % 2:
            raise InputError(f"{len(samples)} channels, expected two for each call, one a speaker, side by side")
        spoken = None if activity is None else rearrange(activity, "(b s) t -> b t s", s=2)
        logits, state = self(rearrange(samples, "(b s) n -> b s n", s=2), state, spoken)
        return rearrange(logits, "b s t k -> (b s) t k"), state

    def _read(self, samples: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Features [B, T, C] of samples [B, N], each channel by itself."""
        if isinstance(self.source, Objective):
            found, state = self.source.representations(samples, state)
        else:
            z, state = self.source(samples, state)
            found = {"encoder": z}
        if self.representation not in found:
            raise InputError(
                f"representation {self.representation!r}: there is {', '.join(found)}; choose one of these"
            )
        return found[self.representation], state
