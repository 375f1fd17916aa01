"""Small encoders that the tests of this folder share."""

import torch
from hypothesis import strategies as st

from ssl_tt.encoder.config import (
    DilationSchedule,
    EncoderConfig,
    FrontEndConfig,
    JoinedConfig,
    LogMelConfig,
    PrelayerConfig,
    ProsodyConfig,
    StackConfig,
    WaveformConfig,
)
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.normalised import normalised

SMALL_FRONTEND = LogMelConfig(sample_rate_hz=8000, window_samples=40, hop_samples=16, mel_bands=6)

SMALL = {
    "one stack": EncoderConfig(
        frontend=SMALL_FRONTEND, channels=6, output_channels=5, stacks=(StackConfig(dilations=(1, 3)),)
    ),
    "no norm, no stride": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=5,
        prelayer_kernel=1,
        stride=1,
        stacks=(StackConfig(dilations=(2, 1)),),
        normalisation="none",
    ),
    "two stacks added": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=5,
        stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=2, dilations=(1, 2, 4))),
        dropout=0.5,
    ),
    "three stacks joined": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=4,
        prelayer_kernel=5,
        stride=4,
        stacks=(StackConfig(kernel=1, dilations=(1,)), StackConfig(dilations=(2,)), StackConfig(kernel=5)),
        combine="concat",
    ),
    "two stacks joined, no norm": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=4,
        stacks=(StackConfig(dilations=(1,)), StackConfig(dilations=(2,))),
        combine="concat",
        normalisation="none",
    ),
    "wavenet": EncoderConfig(
        frontend=SMALL_FRONTEND,
        block="wavenet",
        channels=6,
        output_channels=5,
        stacks=(StackConfig(kernel=2, dilations=DilationSchedule(schedule="doubling", depth=3)), StackConfig()),
        normalisation="none",
        dropout=0.2,
    ),
    "separable, weight norm": EncoderConfig(
        frontend=SMALL_FRONTEND,
        separable=True,
        channels=6,
        output_channels=5,
        stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=1, dilations=(1,))),
        normalisation="weight",
    ),
    "pre-layers of two and of one": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=5,
        stride=4,
        stacks=(
            StackConfig(prelayers=(PrelayerConfig(), PrelayerConfig()), dilations=(1, 3)),
            StackConfig(prelayers=(PrelayerConfig(kernel=7, stride=4),), dilations=(2,)),
        ),
    ),
    "mean at every layer": EncoderConfig(
        frontend=SMALL_FRONTEND,
        channels=6,
        output_channels=5,
        stacks=(StackConfig(dilations=(1, 1, 1)), StackConfig(dilations=(3, 3, 3))),
        combine_at="every_layer",
    ),
    "wavenets joined at every layer": EncoderConfig(
        frontend=SMALL_FRONTEND,
        block="wavenet",
        separable=True,
        channels=6,
        output_channels=5,
        stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=5, dilations=(1, 3))),
        combine="concat",
        combine_at="every_layer",
        normalisation="weight",
    ),
    "2d": EncoderConfig(
        frontend=SMALL_FRONTEND,
        convolution="2d",
        frequency_stride=2,
        channels=4,
        output_channels=5,
        stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=2, dilations=(4,))),
    ),
    "2d, wavenets joined at every layer": EncoderConfig(
        frontend=SMALL_FRONTEND,
        convolution="2d",
        frequency_kernel=5,
        block="wavenet",
        separable=True,
        channels=4,
        output_channels=5,
        stride=4,
        stacks=(
            StackConfig(prelayers=(PrelayerConfig(), PrelayerConfig()), dilations=(1, 2)),
            StackConfig(dilations=(3, 1)),
        ),
        combine="concat",
        combine_at="every_layer",
        dropout=0.1,
    ),
}


def build(config: EncoderConfig, seed: int = 0) -> Encoder:
    """Encoder in eval mode with weights of a seed, and with statistics other than 0 and 1."""
    torch.manual_seed(seed)
    encoder = Encoder(config).eval()
    for each in normalised(encoder):
        count = len(each.mean)
        each.set_statistics(torch.linspace(-3, 1, count), torch.linspace(0.5, 2, count))
    return encoder


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Audio of a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dilations(depth: int) -> st.SearchStrategy[tuple[int, ...] | DilationSchedule]:
    lists = st.lists(st.integers(1, 5), min_size=depth, max_size=depth).map(tuple)
    return lists | st.builds(
        DilationSchedule, schedule=st.sampled_from(["constant", "doubling", "hole_free"]), depth=st.just(depth)
    )


def prelayers(stride: int) -> st.SearchStrategy[tuple[PrelayerConfig, ...] | None]:
    """None, or one to three pre-layers of so much stride in all."""
    splits = [(stride,), (1, stride), (stride, 1), *([(2, 2), (2, 1, 2)] if stride == 4 else [])]

    def layer(stride: int) -> st.SearchStrategy[PrelayerConfig]:
        return st.builds(PrelayerConfig, kernel=st.integers(stride, stride + 2), stride=st.just(stride))

    return st.none() | st.sampled_from(splits).flatmap(lambda split: st.tuples(*map(layer, split)))


FRONT_ENDS = ("logmel", "waveform", "features", "waveform and logmel", "logmel and features")


@st.composite
def frontend_configs(draw: st.DrawFn, kind: str, sample_rate_hz: int, hop: int) -> FrontEndConfig:
    """A small front end of one of `FRONT_ENDS`, at this rate and hop."""
    common = {"sample_rate_hz": sample_rate_hz, "hop_samples": hop}
    match kind:
        case "logmel":
            return LogMelConfig(**common, window_samples=draw(st.integers(max(16, hop + 1), 3 * hop)), mel_bands=4)
        case "waveform":
            first = draw(st.sampled_from([stride for stride in range(1, hop + 1) if hop % stride == 0]))
            strides = (first, hop // first)
            kernels = tuple(stride + draw(st.integers(0, 3)) for stride in strides)
            return WaveformConfig(sample_rate_hz=sample_rate_hz, channels=3, strides=strides, kernels=kernels)
        case "features":
            three_periods = 3 * sample_rate_hz // 200
            return ProsodyConfig(
                **common, window_samples=three_periods, lowest_hz=200.0, highest_hz=900.0, rate_window_frames=8
            )
    return JoinedConfig(parts=tuple(draw(frontend_configs(part, sample_rate_hz, hop)) for part in kind.split(" and ")))


@st.composite
def encoder_configs(draw: st.DrawFn, front_ends: tuple[str, ...] = FRONT_ENDS) -> EncoderConfig:
    """Any small encoder: front end, hops, strides, pre-layers, stacks, blocks, convolution, combination and norm."""
    sample_rate_hz = draw(st.sampled_from([8000, 16000]))
    hop = draw(st.integers(8, 24))
    over_frequency = {}
    if draw(st.booleans()):
        band_stride = draw(st.sampled_from([None, 1, 2]))
        kernels = [kernel for kernel in (None, 1, 3, 5) if (kernel or 3) >= 2 * (band_stride or 1) - 1]
        over_frequency = {
            "convolution": "2d",
            "frequency_stride": band_stride,
            "frequency_kernel": draw(st.sampled_from(kernels)),
        }
    kind = "logmel" if over_frequency else draw(st.sampled_from(front_ends))
    frame_rate_hz, rest = divmod(sample_rate_hz, hop)
    stride = draw(st.sampled_from([n for n in (1, 2, 3, 4) if rest or frame_rate_hz % n == 0]))
    combine_at = draw(st.sampled_from(["end", "every_layer"]))
    depths = st.integers(1, 3)
    depth = draw(depths)
    stacks = tuple(
        StackConfig(
            kernel=draw(st.integers(1, 4)),
            dilations=draw(dilations(depth if combine_at == "every_layer" else draw(depths))),
            prelayers=draw(prelayers(stride)),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    return EncoderConfig(
        frontend=draw(frontend_configs(kind, sample_rate_hz, hop)),
        block=draw(st.sampled_from(["resnet", "wavenet"])),
        separable=draw(st.booleans()),
        channels=3,
        output_channels=2,
        prelayer_kernel=None if all(stack.prelayers for stack in stacks) else draw(st.integers(stride, 5)),
        stride=stride,
        stacks=stacks,
        combine=draw(st.sampled_from(["add", "concat"])),
        combine_at=combine_at,
        normalisation=draw(st.sampled_from(["none", "channel", "weight"])),
        **over_frequency,
    )
