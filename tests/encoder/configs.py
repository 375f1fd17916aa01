"""Small encoders that the tests of this folder share."""

import torch
from hypothesis import strategies as st

from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder

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
        stride=3,
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
}


def build(config: EncoderConfig, seed: int = 0) -> Encoder:
    """Encoder in eval mode with weights of a seed, and with statistics other than 0 and 1."""
    torch.manual_seed(seed)
    encoder = Encoder(config).eval()
    bands = config.frontend.mel_bands
    encoder.frontend.set_statistics(torch.linspace(-3, 1, bands), torch.linspace(0.5, 2, bands))
    return encoder


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Audio of a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def stack_configs() -> st.SearchStrategy[StackConfig]:
    return st.builds(
        StackConfig,
        kernel=st.integers(1, 4),
        dilations=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    )


@st.composite
def encoder_configs(draw: st.DrawFn) -> EncoderConfig:
    """Any small encoder: windows, hops, strides, stacks, combination and norm."""
    hop = draw(st.integers(8, 24))
    stride = draw(st.integers(1, 3))
    return EncoderConfig(
        frontend=LogMelConfig(
            sample_rate_hz=draw(st.sampled_from([8000, 16000])),
            window_samples=draw(st.integers(max(16, hop + 1), 3 * hop)),
            hop_samples=hop,
            mel_bands=4,
        ),
        channels=3,
        output_channels=2,
        prelayer_kernel=draw(st.integers(stride, 5)),
        stride=stride,
        stacks=tuple(draw(st.lists(stack_configs(), min_size=1, max_size=3))),
        combine=draw(st.sampled_from(["add", "concat"])),
        normalisation=draw(st.sampled_from(["none", "channel"])),
    )
