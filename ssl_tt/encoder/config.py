"""Settings of the front end and the encoder; free of torch."""

import math
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

    frontend: LogMelConfig = LogMelConfig()
    convolution: Literal["1d", "2d"] = "1d"
    """`1d`: over time, the bands are channels; `2d`: over time and frequency, causal in time alone."""
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
        """Features of a front-end frame."""
        return self.frontend.mel_bands

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
