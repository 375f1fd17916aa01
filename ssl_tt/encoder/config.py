"""Settings of the front end and the encoder; free of torch."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_tt.recipe import Settings


class LogMelConfig(Settings):
    """Causal log-mel spectrogram: the window of frame t ends at (t + 1) * hop."""

    kind: Literal["logmel"] = "logmel"
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

    @property
    def feature_count(self) -> int:
        """Features M of a frame."""
        return self.mel_bands


class WaveformConfig(Settings):
    """Causal strided convolutions on samples; by default with CPC's strides and kernels (arXiv 1807.03748).

    At 8 kHz, `strides = [5, 4, 2, 2]` with `kernels = [10, 8, 4, 4]` keep the hop of 10 ms.
    """

    kind: Literal["waveform"] = "waveform"
    sample_rate_hz: Literal[8000, 16000] = 16000
    """Sample rate that the encoder expects, Hz."""
    channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of every layer (512 in CPC, 256 in CPC_audio)."""
    strides: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)] = (
        5,
        4,
        2,
        2,
        2,
    )
    """Stride of each layer, frames of the one below; their product is the hop in samples."""
    kernels: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], Field(min_length=1, max_length=16)] = (
        10,
        8,
        4,
        4,
        4,
    )
    """Kernel of each layer, frames of the one below; at least its stride."""

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        if len(self.kernels) != len(self.strides):
            raise ValueError(
                f"{len(self.kernels)} kernels for {len(self.strides)} strides, expected one of each for every layer"
            )
        for number, (kernel, stride) in enumerate(zip(self.kernels, self.strides, strict=True), start=1):
            if kernel < stride:
                raise ValueError(
                    f"the kernel {kernel} of layer {number} must be at least its stride {stride}: frames between the "
                    "kernels would be seen by no frame"
                )
        if not 8 <= self.hop_samples <= 1600:
            raise ValueError(
                f"strides multiply to a hop of {self.hop_samples} samples, expected 8 to 1600: choose other strides"
            )
        return self

    @property
    def hop_samples(self) -> int:
        """Step between frames, samples."""
        return math.prod(self.strides)

    @property
    def feature_count(self) -> int:
        """Features M of a frame."""
        return self.channels


PROSODY = ("log_f0", "voiced", "periodicity", "intensity_db", "speaking_rate_hz")
"""What the front end of extracted features tells of each frame, in this order."""

# The envelope of speech is looked at up to 16 Hz, which takes 32 frames a second.
HIGHEST_MODULATION_HZ = 16


class ProsodyConfig(Settings):
    """Extracted features: F0, voicing, periodicity, intensity and speaking rate; windows end at (t + 1) * hop."""

    kind: Literal["features"] = "features"
    sample_rate_hz: Literal[8000, 16000] = 16000
    """Sample rate that the encoder expects, Hz."""
    window_samples: Annotated[int, Field(ge=16, le=4096)] = 640
    """Length of the analysis window, samples; three periods of lowest_hz or more (640 at 16 kHz is 40 ms)."""
    hop_samples: Annotated[int, Field(ge=8, le=500)] = 160
    """Step between frames, samples (160 at 16 kHz is 10 ms)."""
    lowest_hz: Annotated[float, Field(ge=20)] = 75.0
    """Lowest F0 that is looked for, Hz."""
    highest_hz: Annotated[float, Field(gt=0)] = 500.0
    """Highest F0 that is looked for, Hz."""
    voicing_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Least periodicity of a voiced frame, from 0 (noise) to 1 (a tone); Praat's is 0.45, with a path search behind."""
    rate_window_frames: Annotated[int, Field(ge=8, le=1000)] = 100
    """Frames of the intensity envelope in which speaking rate is measured (100 at a hop of 10 ms is 1 s)."""

    @model_validator(mode="after")
    def _window_and_pitch_fit(self) -> Self:
        if self.window_samples < self.hop_samples:
            raise ValueError(
                f"window_samples {self.window_samples} must be at least hop_samples {self.hop_samples}: samples "
                "between the windows would be seen by no frame"
            )
        if not self.lowest_hz < self.highest_hz <= self.sample_rate_hz / 8:
            raise ValueError(
                f"F0 from lowest_hz {self.lowest_hz:g} to highest_hz {self.highest_hz:g} must rise and end by an "
                f"eighth of sample_rate_hz, {self.sample_rate_hz / 8:g}"
            )
        three_periods = math.ceil(3 * self.sample_rate_hz / self.lowest_hz)
        if self.window_samples < three_periods:
            raise ValueError(
                f"window_samples {self.window_samples} must hold three periods of lowest_hz {self.lowest_hz:g}: make "
                f"it {three_periods} or raise lowest_hz"
            )
        if self.sample_rate_hz < 2 * HIGHEST_MODULATION_HZ * self.hop_samples:
            raise ValueError(
                f"hop_samples {self.hop_samples} leaves too few frames a second to see syllables: make it "
                f"{self.sample_rate_hz // (2 * HIGHEST_MODULATION_HZ)} or less"
            )
        return self

    @property
    def feature_count(self) -> int:
        """Features M of a frame."""
        return len(PROSODY)


SingleFrontEnd = Annotated[LogMelConfig | WaveformConfig | ProsodyConfig, Field(discriminator="kind")]


class JoinedConfig(Settings):
    """Several front ends side by side, their features joined: parts = [{ kind = "logmel" }, { kind = "features" }]."""

    kind: Literal["joined"] = "joined"
    parts: Annotated[tuple[SingleFrontEnd, ...], Field(min_length=2, max_length=8)]
    """The front ends, of one hop and one sample rate."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        first = self.parts[0]
        for number, part in enumerate(self.parts[1:], start=2):
            if part.sample_rate_hz != first.sample_rate_hz:
                raise ValueError(
                    f"part {number} is at {part.sample_rate_hz} Hz and part 1 at {first.sample_rate_hz} Hz: give all "
                    "parts one sample_rate_hz"
                )
            if part.hop_samples != first.hop_samples:
                field = "its strides multiply to" if isinstance(part, WaveformConfig) else "its hop_samples"
                raise ValueError(
                    f"part {number} has a hop of {part.hop_samples} samples and part 1 of {first.hop_samples}, and "
                    f"frames are joined one by one: make {field} {first.hop_samples}"
                )
        return self

    @property
    def sample_rate_hz(self) -> Literal[8000, 16000]:
        """Sample rate that the encoder expects, Hz."""
        return self.parts[0].sample_rate_hz

    @property
    def hop_samples(self) -> int:
        """Step between frames, samples."""
        return self.parts[0].hop_samples

    @property
    def feature_count(self) -> int:
        """Features M of a frame, of all parts together."""
        return sum(part.feature_count for part in self.parts)


FrontEndConfig = LogMelConfig | WaveformConfig | ProsodyConfig | JoinedConfig


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

    frontend: Annotated[FrontEndConfig, Field(discriminator="kind", json_schema_extra={"default_kind": "logmel"})] = (
        LogMelConfig()
    )
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

    @property
    def feature_channels(self) -> int:
        """Features M of a front-end frame."""
        return self.frontend.feature_count

    @property
    def log_mel(self) -> LogMelConfig:
        """The log-mel that a decoder rebuilds and a report draws: the front end, or its part, or one at its hop."""
        frontend = self.frontend
        for part in frontend.parts if isinstance(frontend, JoinedConfig) else (frontend,):
            if isinstance(part, LogMelConfig):
                return part
        window_samples = max(16, 5 * frontend.hop_samples // 2)
        return LogMelConfig(
            sample_rate_hz=frontend.sample_rate_hz,
            window_samples=window_samples,
            hop_samples=frontend.hop_samples,
            mel_bands=max(4, min(80, window_samples // 5)),  # no more, so that each holds a frequency of the transform
        )
