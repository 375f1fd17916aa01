"""Settings of the front end and the encoder; free of torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.recipe import Settings


class LogMelConfig(Settings):
    """Causal log-mel spectrogram: the window of frame t ends at (t + 1) * hop."""

    sample_rate_hz: Literal[8000, 16000] = 16000
    """Sample rate that the encoder expects, Hz."""
    window_samples: Annotated[int, Field(ge=16, le=4096)] = 400
    """Length of the analysis window, samples (400 at 16 kHz is 25 ms)."""
    hop_samples: Annotated[int, Field(ge=8, le=4096)] = 160
    """Step between frames, samples (160 at 16 kHz is 10 ms)."""
    mel_bands: Annotated[int, Field(ge=4, le=256)] = 80
    """Number of mel bands."""
    low_hz: Annotated[float, Field(ge=0)] = 0.0
    """Lower edge of the lowest band, Hz."""
    high_hz: Annotated[float, Field(gt=0)] | None = None
    """Upper edge of the highest band, Hz; half the sample rate if not given."""

    @model_validator(mode="after")
    def _windows_and_bands_fit(self) -> Self:
        if self.window_samples <= self.hop_samples:
            raise ValueError(
                f"window_samples {self.window_samples} must exceed hop_samples {self.hop_samples}: "
                "samples between the windows would be seen by no frame"
            )
        high_hz = self.highest_hz
        if not self.low_hz < high_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"bands from low_hz {self.low_hz:g} to high_hz {high_hz:g} must rise and end by half of "
                f"sample_rate_hz, {self.sample_rate_hz / 2:g}"
            )
        return self

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest band, Hz."""
        return self.sample_rate_hz / 2 if self.high_hz is None else self.high_hz


class StackConfig(Settings):
    """One stack: a strided pre-layer, residual blocks of growing dilation, an output layer; all causal."""

    kernel: Annotated[int, Field(ge=1, le=64)] = 3
    """Kernel of the dilated layer of each residual block, frames."""
    dilations: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=64)] = (
        1,
        3,
        9,
        27,
    )
    """Dilation of each residual block, frames; a next one of at most the span so far leaves no holes."""


class EncoderConfig(Settings):
    """Front end and stacks. At the default 16 kHz, hop 160 and stride 2 give 50 frames a second."""

    frontend: LogMelConfig = LogMelConfig()
    channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels inside every stack."""
    output_channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of the representation that leaves the encoder (of each stack; concatenation joins them)."""
    prelayer_kernel: Annotated[int, Field(ge=1, le=64)] = 4
    """Kernel of the strided pre-layer, front-end frames; at least the stride."""
    stride: Annotated[int, Field(ge=1, le=64)] = 2
    """Stride of the pre-layer: front-end frames for each frame out."""
    stacks: Annotated[tuple[StackConfig, ...], Field(min_length=1, max_length=32)] = (StackConfig(),)
    """The stacks, side by side on the same input."""
    combine: Literal["add", "concat"] = "add"
    """How the outputs of the stacks become one."""
    normalisation: Literal["none", "channel"] = "channel"
    """`channel`: layer normalisation over the channels of each frame alone, so nothing leaks over time."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout inside residual blocks."""

    @model_validator(mode="after")
    def _kernel_covers_stride(self) -> Self:
        if self.prelayer_kernel < self.stride:
            raise ValueError(
                f"prelayer_kernel {self.prelayer_kernel} must be at least the stride {self.stride}: "
                "front-end frames between the kernels would be seen by no frame"
            )
        return self
