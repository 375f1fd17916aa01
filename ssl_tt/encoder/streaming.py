"""Live use of an encoder: chunks of any length in, the frames they complete out."""

import numpy as np
import torch
from torch import Tensor

from ssl_tt.encoder.encoder import Encoder, EncoderState
from ssl_tt.errors import InputError


class Stream:
    """Encodes audio as it arrives; all frames together equal `encoder.encode` of all chunks together.

    The channels of a chunk are streams of their own side by side: two speakers, or a batch of calls. Raises InputError
    for another sample rate than the encoder's.
    """

    def __init__(self, encoder: Encoder, sample_rate_hz: int | None = None) -> None:
        if sample_rate_hz is not None:
            encoder.check_sample_rate(sample_rate_hz)
        self.encoder = encoder
        self.state: EncoderState | None = None
        self._channels = 0

    def push(self, chunk: Tensor | np.ndarray) -> Tensor:
        """Frames that a chunk [S, n] or [n] completes: [S, T_new, C], T_new may be 0; a lone [n] is one speaker.

        Raises InputError for NaN, and for another number of channels than before.
        """
        chunk = torch.as_tensor(chunk)
        samples = self.encoder.check_audio(chunk[None] if chunk.ndim == 1 else chunk)
        if self.state is not None and len(samples) != self._channels:
            raise InputError(
                f"chunk of {len(samples)} channels, expected {self._channels} as in the stream so far; "
                "reset the stream first"
            )
        self._channels = len(samples)
        frames, self.state = self.encoder.advance(samples, self.state)
        return frames

    def reset(self) -> None:
        """Start anew: nothing of the chunks so far is left."""
        self.state = None
