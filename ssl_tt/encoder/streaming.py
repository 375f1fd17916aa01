"""Live use: chunks of any length in, the frames they complete out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ssl_tt.errors import InputError

Frames = TypeVar("Frames", covariant=True)


class Streamable(Protocol[Frames]):
    """What can be streamed: an encoder, or a module that owns one as `encoder`.

    One that hears several channels together, such as the two speakers of a call, says how many as `channels_together`:
    rows 0 to n - 1 of the streams are the first such group, and so on. One that is told who speaks beside what is heard
    says so as `reads_activity`; its `advance` takes the voice activity [B, T] of the frames that are completed too.
    """

    def modules(self) -> Iterator[nn.Module]: ...

    @property
    def cycle_samples(self) -> int:
        """Samples after which the state has the shapes it began with: a frame, or that of the slowest level."""
        ...

    def advance(self, samples: Tensor, state: Any = None) -> tuple[Frames, Any]:
        """Frames that samples [B, N] complete after those of a state, and the state after them; N may be anything.

        Frames and state are tensors or nested tuples and dicts of them, the streams B along their first axis.
        """
        ...


class Stream(Generic[Frames]):
    """Runs a model as audio arrives; all frames together are those of all chunks together.

    The model is an encoder, whose frames are [S, T, C], or an objective, whose frames are its representations by name,
    {"encoder": [S, T, C], "context": ..., "codes": ...}, or an encoder with a head of turn-taking, whose frames are
    logits [S, T, K]. The channels of a chunk are side by side: two speakers, or a batch of calls, which share each read
    of the weights; but for a head, which hears both speakers of a call, each is a stream of its own. Work and memory a
    frame do not grow. Raises InputError for another sample rate than the encoder's.
    """

    def __init__(self, model: Streamable[Frames], sample_rate_hz: int | None = None) -> None:
        self.model = model
        self.encoder: Any = getattr(model, "encoder", model)
        self._together: int = getattr(model, "channels_together", 1)
        self._reads_activity: bool = getattr(model, "reads_activity", False)
        if sample_rate_hz is not None:
            self.encoder.check_sample_rate(sample_rate_hz)
        self.state: Any = None
        self._n_streams: int | None = None
        self._n_samples = 0
        self._like = next(self.encoder.parameters())
        self._modules = tuple(model.modules())  # walking through them takes a quarter of the time of a short chunk

    def push(self, chunk: Tensor | np.ndarray, activity: Tensor | np.ndarray | None = None) -> Frames:
        """Frames that a chunk [S, n] or [n] completes: T may be 0; a lone [n] is one speaker. Without gradient.

        activity: bool [S, T], who speaks in each of these frames, for a head that reads voice-activity history. Raises
        InputError for NaN, for another number of channels than before, and for activity of other frames, missing, or
        given to a model that reads none.
        """
        samples = self.encoder.check_audio(chunk[None] if chunk.ndim == 1 else chunk)
        if self._n_streams not in (None, len(samples)):
            raise InputError(
                f"chunk of {len(samples)} channels, expected {self._n_streams} as in the stream so far; "
                "reset the stream first"
            )
        if activity is not None and not self._reads_activity:
            raise InputError("voice activity given to a model that reads none: leave it out")
        frames, self.state = self._advanced(samples, self.state, activity)
        self._n_streams = len(samples)
        self._n_samples += samples.shape[1]
        return frames

    def reset(self, rows: int | Sequence[int] | None = None) -> None:
        """Start anew: nothing of the chunks so far is left; with `rows`, of those channels alone, and others go on.

        All channels share one clock: if a frame is under way, a new channel's first frame begins with zeros up to now;
        where a model has levels of several frame rates, that is a frame of the slowest. Raises InputError for rows that
        the stream does not have, and for some rows but not all of those that the model hears together: what it
        remembers of a call would be half forgotten.
        """
        if rows is None:
            self.state, self._n_streams, self._n_samples = None, None, 0
            return
        rows = [rows] if isinstance(rows, int) else sorted(set(rows))
        if unknown := [row for row in rows if not 0 <= row < (self._n_streams or 0)]:
            raise InputError(f"reset of row {unknown[0]}, expected rows of the {self._n_streams or 0} in the stream")
        for row in rows:
            first = row - row % self._together
            last = first + self._together - 1
            if not set(range(first, last + 1)) <= set(rows):
                raise InputError(
                    f"reset of row {row}, expected rows {first} to {last} together: the model hears them as one call, "
                    "so reset all of them"
                )
        under_way = self._n_samples % self.model.cycle_samples
        silence = torch.zeros(len(rows), under_way // self.encoder.hop_samples, dtype=torch.bool)
        _, fresh = self._advanced(torch.zeros(len(rows), under_way), None, silence)
        with torch.inference_mode():
            self.state = mapped(lambda old, new: old.index_copy(0, _index(rows, old), new), self.state, fresh)

    def _advanced(self, samples: Tensor, state: Any, activity: Tensor | np.ndarray | None = None) -> tuple[Frames, Any]:
        device, dtype = self._like.device, self._like.dtype
        spoken = () if activity is None or not self._reads_activity else (torch.as_tensor(activity, device=device),)
        with evaluating(self._modules), torch.inference_mode(), torch.autocast(device.type, enabled=False):
            frames, state = self.model.advance(samples.to(device, dtype), state, *spoken)
        return mapped(Tensor.clone, frames), state  # inference tensors would be refused where a head is trained on them


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Evaluation mode for a while; the mode of every module is put back."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def mapped(change: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    """`change` of the tensors of equal nested tuples, lists and dicts, in the same nest; None stays None."""
    if isinstance(first, Tensor):
        return change(first, *others)
    if isinstance(first, dict):
        return {name: mapped(change, value, *(other[name] for other in others)) for name, value in first.items()}
    if first is None:
        return None
    values = [mapped(change, *those) for those in zip(first, *others, strict=True)]
    return type(first)(*values) if hasattr(first, "_fields") else type(first)(values)


def _index(rows: list[int], like: Tensor) -> Tensor:
    return torch.tensor(rows, device=like.device)
