"""The one encoder that every objective trains: causal front end, stacks side by side, one representation."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_tt import timebase
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.frontend import build_frontend
from ssl_tt.encoder.logmel import LogMel
from ssl_tt.encoder.stack import EveryLayer, Stack, StackState, macs_per_frame
from ssl_tt.encoder.streaming import Stream
from ssl_tt.errors import InputError

# `encode` works through long audio in pieces of this length, so that its memory does not grow with the recording.
CHUNK_SECONDS = 60.0


class EncoderState(NamedTuple):
    """Past that the encoder still needs: of the front end, and for each stack the states of its layers."""

    frontend: Any
    stacks: tuple[StackState, ...]


class Encoder(nn.Module):
    """Causal multi-stack convolutional encoder: samples [B, N] -> [B, T, C] with T = N // hop_samples.

    Frame t depends on no sample from (t + 1) * hop_samples on. Channels of audio are encoded each by itself: fold
    [B, S, N] into [B * S, N]. `z, state = encoder(samples, state)` goes on where the last call ended; chunks may have
    any length, and samples that do not fill a hop wait in the state.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = build_frontend(config.frontend)
        self.stacks = nn.ModuleList(Stack(stack, config) for stack in config.stacks)
        self.every_layer = EveryLayer(config) if config.combine_at == "every_layer" else None
        hears_log_mel = any(isinstance(module, LogMel) for module in self.frontend.modules())
        self.log_mel_beside = None if hears_log_mel else LogMel(config.log_mel)

    def forward(self, samples: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        features, frontend = self.features(samples, state.frontend if state else None)
        z, stacks = self.encode_features(features, state.stacks if state else None)
        return z, EncoderState(frontend, stacks)

    def features(self, samples: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the stacks see of samples: [B, N] -> [B, T * stride, M], and the front end's state."""
        return self.frontend(samples, state)

    @property
    def log_mel(self) -> LogMel:
        """The log-mel that a decoder rebuilds, a report draws and a baseline reads, at the front end's hop.

        It is the front end, or the first in it; where there is none, one that only listens, with corpus statistics too.
        """
        return next(module for module in self.modules() if isinstance(module, LogMel))

    def log_mel_of(self, samples: Tensor, features: Tensor) -> Tensor:
        """Normalised log-mel of samples [B, N] whose `features` are there: [B, T * stride, M]; computed once."""
        return features if self.log_mel is self.frontend else self.log_mel(samples)[0]

    def encode_features(
        self, features: Tensor, state: tuple[StackState, ...] | None = None
    ) -> tuple[Tensor, tuple[StackState, ...]]:
        """Representation of features that are there already: [B, T * stride, M] -> [B, T, C]."""
        outputs, states = self._layers(features, state)
        return outputs["encoder"], states

    def log_mel_and_representation(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Of samples [B, N]: the normalised log-mel [B, T * stride, M] and the representation [B, T, C].

        Feature frames at the end that do not fill the encoder's stride have no representation and are left out.
        """
        features, _ = self.features(samples)
        z, _ = self.encode_features(features)
        return self.log_mel_of(samples, features)[:, : z.shape[1] * self.config.stride], z

    def layers(self, samples: Tensor) -> dict[str, Tensor]:
        """Output of every layer by name (`stack1.prelayer`, `stack1.block1`, ..., `encoder`): [B, N] -> [B, T, C]."""
        features, _ = self.features(samples)
        return self.feature_layers(features)

    def feature_layers(self, features: Tensor) -> dict[str, Tensor]:
        """`layers` of features that are there already: [B, T * stride, M] -> [B, T, C] each."""
        return self._layers(features)[0]

    def prelayers(self, layers: dict[str, Tensor]) -> Tensor:
        """The short-sighted first layers of all stacks, joined, out of `layers`: [B, T, prelayer_channels]."""
        return torch.cat([layers[f"stack{i}.prelayer"] for i in range(1, len(self.stacks) + 1)], dim=2)

    def _layers(
        self, features: Tensor, state: tuple[StackState, ...] | None = None
    ) -> tuple[dict[str, Tensor], tuple[StackState, ...]]:
        stacks = list(cast(Iterable[Stack], self.stacks))
        if self.every_layer is not None:
            return self.every_layer(stacks, features, state)
        layers: dict[str, Tensor] = {}
        ends: list[Tensor] = []
        states: list[StackState] = []
        for i, stack in enumerate(stacks):
            outputs, past = stack.layers(features, state[i] if state else None)
            layers |= {f"stack{i + 1}.{name}": h for name, h in outputs.items()}
            ends.append(outputs["output"])
            states.append(past)
        layers["encoder"] = torch.cat(ends, dim=2) if self.config.combine == "concat" else sum(ends[1:], start=ends[0])
        return layers, tuple(states)

    def encode(self, audio: Tensor | np.ndarray, sample_rate_hz: int) -> Tensor:
        """Frozen features of a recording: [S, N] in [-1, 1] -> [S, N // hop_samples, C], float32, without gradient.

        Trailing samples that do not fill a hop are dropped. Long audio is worked through in bounded pieces.
        Raises InputError for another sample rate, shape or dtype, and for NaN.
        """
        self.check_sample_rate(sample_rate_hz)
        audio = self.check_audio(audio)
        stream = Stream(self)
        pieces = audio.split(timebase.samples(CHUNK_SECONDS, self.sample_rate_hz), dim=-1)
        return torch.cat([stream.push(piece) for piece in pieces], dim=1)

    def advance(self, samples: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """`forward`, by the name that a `Stream` calls."""
        return self(samples, state)

    def check_sample_rate(self, sample_rate_hz: int) -> None:
        """Raise InputError unless the rate is the encoder's: reading resamples, encoding refuses."""
        if sample_rate_hz != self.sample_rate_hz:
            raise InputError(
                f"audio at {sample_rate_hz} Hz, expected {self.sample_rate_hz} Hz as the encoder was trained; "
                "resample it as it is read"
            )

    def check_audio(self, audio: Tensor | np.ndarray) -> Tensor:
        """Audio as a tensor [S, N]; raises InputError unless it has that shape, floating point and finite samples."""
        # Reversed views, as of swapped channels, are no tensors until they are copied.
        samples = torch.as_tensor(np.ascontiguousarray(audio) if isinstance(audio, np.ndarray) else audio)
        if samples.ndim != 2 or samples.shape[0] == 0:
            raise InputError(
                f"audio of shape {list(samples.shape)}, expected [S, N]: a row of samples for each speaker"
            )
        if not samples.is_floating_point():
            raise InputError(f"audio of type {samples.dtype}, expected floating point in [-1, 1]; divide by full scale")
        # A sum is finite only if everything in it is, and takes a fifth of the time, which counts for a live chunk.
        if not math.isfinite(samples.sum().item()) and not samples.isfinite().all():
            speaker, sample = (~samples.isfinite()).nonzero()[0].tolist()
            raise InputError(
                f"audio has {samples[speaker, sample].item()} at sample {sample} of channel {speaker}, expected finite "
                "numbers; repair or leave out the recording"
            )
        return samples

    @property
    def sample_rate_hz(self) -> int:
        return self.config.frontend.sample_rate_hz

    @property
    def hop_samples(self) -> int:
        """Samples for each frame out."""
        return self.config.frontend.hop_samples * self.config.stride

    @property
    def cycle_samples(self) -> int:
        """Samples after which the state of a stream has the shapes it began with."""
        return self.hop_samples

    @property
    def frame_rate_hz(self) -> float:
        """Frames out a second."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def output_channels(self) -> int:
        """Channels C of the representation, after the stacks are combined."""
        joined = self.config.combine == "concat" and self.config.combine_at == "end"
        return self.config.output_channels * (len(self.stacks) if joined else 1)

    @property
    def prelayer_channels(self) -> int:
        """Channels of the pre-layers of all stacks together, those of all bands."""
        return self.config.channels * self.config.bands * len(self.stacks)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates for a second of one channel: front end (but for its FFT) and convolutions."""
        convolutions = sum(stack.macs_per_frame for stack in cast(Iterable[Stack], self.stacks))
        if self.every_layer is not None:
            convolutions += macs_per_frame(self.every_layer)
        return self.frontend.macs_per_second + convolutions * self.frame_rate_hz
