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


# Beyond this a single layer would span minutes.
LARGEST_DILATION = 4096

Dilation = Annotated[int, Field(ge=1, le=LARGEST_DILATION)]


class DilationSchedule(Settings):
    """Dilations by rule instead of one by one."""

    schedule: Literal["constant", "doubling", "hole_free"]
    """`constant`: the first one throughout; `doubling`: twice the one before (WaveNet, arXiv 1609.03499); `hole_free`:
    the span so far, the fastest growth that leaves no holes: powers of the kernel."""
    depth: Annotated[int, Field(ge=1, le=64)]
    """Number of blocks."""
    first: Dilation = 1
    """Dilation of the first block, frames; 1 for `hole_free`."""

    @model_validator(mode="after")
    def _no_hole_at_once(self) -> Self:
        if self.schedule == "hole_free" and self.first > 1:
            raise ValueError(
                f"first {self.first} leaves holes in the first block: schedule hole_free starts from 1; leave first out"
            )
        return self

    def dilations(self, kernel: int) -> tuple[int, ...]:
        """Dilation of each block, for blocks of this kernel."""
        growth = {"constant": 1, "doubling": 2, "hole_free": kernel}[self.schedule]
        return tuple(self.first * growth**block for block in range(self.depth))


class PrelayerConfig(Settings):
    """A strided layer below the blocks."""

    kernel: Annotated[int, Field(ge=1, le=64)] = 4
    """Kernel, frames of its input; at least the stride."""
    stride: Annotated[int, Field(ge=1, le=64)] = 2
    """Frames of its input for each frame out."""

    @model_validator(mode="after")
    def _kernel_covers_stride(self) -> Self:
        if self.kernel < self.stride:
            raise ValueError(
                f"kernel {self.kernel} must be at least the stride {self.stride}: frames between the kernels would be "
                "seen by no frame"
            )
        return self


class StackConfig(Settings):
    """One stack: strided pre-layers, blocks of growing dilation, an output layer; all causal."""

    kernel: Annotated[int, Field(ge=1, le=64)] = 3
    """Kernel of the dilated layer of each block, frames."""
    dilations: Annotated[tuple[Dilation, ...], Field(min_length=1, max_length=64)] | DilationSchedule = (1, 3, 9, 27)
    """Dilation of each block, frames, or a schedule such as { schedule = "hole_free", depth = 4 }; a next one of at
    most the span so far leaves no holes."""
    prelayers: Annotated[tuple[PrelayerConfig, ...], Field(min_length=1, max_length=8)] | None = None
    """Pre-layers of this stack alone, whose strides multiply to the encoder's, such as two of kernel 4 and stride 2
    (VQ-VAE, arXiv 1711.00937); one of the encoder's `prelayer_kernel` and `stride` if not given."""

    @model_validator(mode="after")
    def _dilations_end_somewhere(self) -> Self:
        if max(self.block_dilations) > LARGEST_DILATION:
            raise ValueError(
                f"dilations grow to {max(self.block_dilations)} frames, expected at most {LARGEST_DILATION}: lower the "
                "depth of the schedule"
            )
        return self

    @property
    def block_dilations(self) -> tuple[int, ...]:
        """Dilation of each block, frames, the schedule worked out."""
        if isinstance(self.dilations, DilationSchedule):
            return self.dilations.dilations(self.kernel)
        return self.dilations


class EncoderConfig(Settings):
    """Front end and stacks. At the default 16 kHz, hop 160 and stride 2 give 50 frames a second."""

    frontend: Annotated[FrontEndConfig, Field(discriminator="kind", json_schema_extra={"default_kind": "logmel"})] = (
        LogMelConfig()
    )
    convolution: Literal["1d", "2d"] = "1d"
    """`1d`: over time, the features are channels; `2d`: over time and the bands of `logmel`, causal in time alone."""
    frequency_kernel: Annotated[int, Field(ge=1, le=63)] | None = None
    """Kernel along frequency of pre-layers and blocks, bands; odd, 3 if not given; with `2d` alone."""
    frequency_stride: Annotated[int, Field(ge=1, le=32)] | None = None
    """Stride of the first pre-layer along frequency: bands of the front end for each that the blocks see; 1 if not
    given; with `2d` alone."""
    block: Literal["resnet", "wavenet"] = "resnet"
    """`resnet`: two weight layers and a skip (arXiv 1603.05027); `wavenet`: tanh times sigmoid, residual and skip
    (arXiv 1609.03499)."""
    separable: bool = False
    """Make the dilated layer of each block of two: one over time (and frequency) a channel, one over channels."""
    channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels inside every stack; with `2d` in each band."""
    output_channels: Annotated[int, Field(ge=1, le=4096)] = 256
    """Channels of the representation that leaves the encoder (of each stack; concatenation at the end joins them)."""
    prelayer_kernel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Kernel of the strided pre-layer, front-end frames; at least the stride, 4 if not given; for stacks without
    `prelayers` of their own."""
    stride: Annotated[int, Field(ge=1, le=64)] = 2
    """Front-end frames for each frame out, of every stack; divides the front end's frame rate."""
    stacks: Annotated[tuple[StackConfig, ...], Field(min_length=1, max_length=32)] = (StackConfig(),)
    """The stacks, side by side on the same input."""
    combine: Literal["add", "concat"] = "add"
    """How the outputs of the stacks become one."""
    combine_at: Literal["end", "every_layer"] = "end"
    """`end`: each stack by itself, then combined; `every_layer`: combined after each block, and the combination is what
    the next block of every stack sees (by `add` their mean, by `concat` a 1x1 layer back to `channels`)."""
    normalisation: Literal["none", "channel", "weight"] = "channel"
    """`channel`: layer normalisation over the channels of each frame alone (with `2d`, of each of its bands), so that
    nothing leaks over time; `weight`: weight normalisation (arXiv 1602.07868)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout inside blocks."""

    @model_validator(mode="after")
    def _kernel_covers_stride(self) -> Self:
        if all(stack.prelayers for stack in self.stacks):
            if self.prelayer_kernel is not None:
                raise ValueError("prelayer_kernel is not read where every stack has prelayers of its own: leave it out")
        elif (kernel := self.prelayer_kernel or 4) < self.stride:
            raise ValueError(
                f"prelayer_kernel {kernel} must be at least the stride {self.stride}: front-end frames between the "
                "kernels would be seen by no frame"
            )
        return self

    @model_validator(mode="after")
    def _stride_divides_the_frame_rate(self) -> Self:
        rate, rest = divmod(self.frontend.sample_rate_hz, self.frontend.hop_samples)
        if rest == 0 and rate % self.stride:
            near = [stride for stride in range(1, 65) if rate % stride == 0]
            near.sort(key=lambda stride: abs(stride - self.stride))
            raise ValueError(
                f"stride {self.stride} does not divide the {rate} frames a second of the front end: take "
                f"{' or '.join(map(str, sorted(near[:2])))}"
            )
        return self

    @model_validator(mode="after")
    def _stacks_agree(self) -> Self:
        for number, stack in enumerate(self.stacks, start=1):
            total = math.prod(layer.stride for layer in self.prelayers(stack))
            if total != self.stride:
                raise ValueError(
                    f"the pre-layers of stack {number} have a stride of {total} in all, expected the encoder's, "
                    f"{self.stride}: stacks of different rates cannot be combined; let their strides multiply to it"
                )
        depths = [len(stack.block_dilations) for stack in self.stacks]
        if self.combine_at == "every_layer" and len(set(depths)) > 1:
            raise ValueError(
                f"stacks of {', '.join(map(str, depths))} blocks cannot be combined at every layer: give all the same "
                'number of dilations, or combine_at "end"'
            )
        return self

    @model_validator(mode="after")
    def _frequency_is_seen_whole(self) -> Self:
        if self.convolution == "1d":
            for name in ("frequency_kernel", "frequency_stride"):
                if getattr(self, name) is not None:
                    raise ValueError(f'{name} is read by convolution "2d" alone: leave it out, or choose "2d"')
            return self
        if not isinstance(self.frontend, LogMelConfig):
            raise ValueError(
                f'convolution "2d" needs mel bands to go over, and frontend.kind "{self.frontend.kind}" does not give '
                'them alone: choose convolution "1d" or frontend.kind "logmel"'
            )
        kernel, stride = self.band_kernel, self.band_stride
        if kernel % 2 == 0:
            raise ValueError(
                f"frequency_kernel {kernel} is even and has no middle band: take {kernel - 1} or {kernel + 1}"
            )
        if kernel < 2 * stride - 1:
            raise ValueError(
                f"frequency_kernel {kernel} is too short for frequency_stride {stride}, which leaves out bands: take "
                f"at least {2 * stride - 1}"
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

    @property
    def band_kernel(self) -> int:
        """Kernel along frequency over time and frequency, bands."""
        return self.frequency_kernel or 3

    @property
    def band_stride(self) -> int:
        """Bands of the front end for each that the blocks see, over time and frequency."""
        return self.frequency_stride or 1

    @property
    def bands(self) -> int:
        """Bands F that the blocks see; 1 where the bands are channels."""
        return 1 if self.convolution == "1d" else -(-self.feature_channels // self.band_stride)

    def prelayers(self, stack: StackConfig) -> tuple[PrelayerConfig, ...]:
        """The pre-layers of a stack: its own, or the encoder's one."""
        kernel = self.prelayer_kernel or 4
        return stack.prelayers or (PrelayerConfig.model_construct(kernel=kernel, stride=self.stride),)
