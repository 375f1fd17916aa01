"""Small front ends of every kind that the tests share, and audio with something for each to hear."""

import math

import torch

from ssl_tt.encoder.config import (
    EncoderConfig,
    FrontEndConfig,
    JoinedConfig,
    LogMelConfig,
    ProsodyConfig,
    StackConfig,
    WaveformConfig,
)
from ssl_tt.encoder.encoder import Encoder
from tests.encoder.configs import SMALL_FRONTEND, build

LOGMEL = SMALL_FRONTEND
WAVEFORM = WaveformConfig(sample_rate_hz=8000, channels=8, strides=(4, 2, 2), kernels=(7, 2, 5))
FEATURES = ProsodyConfig(
    sample_rate_hz=8000, window_samples=120, hop_samples=16, lowest_hz=200.0, highest_hz=900.0, rate_window_frames=9
)

SMALL_FRONTENDS: dict[str, FrontEndConfig] = {
    "logmel": LOGMEL,
    "waveform": WAVEFORM,
    "features": FEATURES,
    "logmel and features": JoinedConfig(parts=(LOGMEL, FEATURES)),
    "waveform and logmel": JoinedConfig(parts=(WAVEFORM, LOGMEL)),
    "features and waveform": JoinedConfig(parts=(FEATURES, WAVEFORM)),
    "waveform of CPC": WaveformConfig(channels=6),
    "all at 16 kHz": JoinedConfig(
        parts=(LogMelConfig(mel_bands=8), WaveformConfig(channels=6), ProsodyConfig(rate_window_frames=20))
    ),
}


def hearing(frontend: FrontEndConfig, seed: int = 0, stride: int = 2) -> Encoder:
    """Small encoder with this front end in eval mode, with weights of a seed and statistics other than 0 and 1."""
    stack = StackConfig(dilations=(1, 3))
    return build(EncoderConfig(frontend=frontend, channels=6, output_channels=5, stride=stride, stacks=(stack,)), seed)


def voices(*shape: int, sample_rate_hz: int = 8000, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Gliding harmonic tones of 220 to 440 Hz that come and go over noise: voiced, unvoiced and in between."""
    draw = torch.Generator().manual_seed(seed)
    seconds = torch.arange(shape[-1], dtype=torch.float64) / sample_rate_hz
    start, beat = (torch.rand(*shape[:-1], 1, generator=draw, dtype=torch.float64) for _ in range(2))
    phase = 2 * math.pi * (220 * (1 + start) * seconds + 40 * torch.sin(3 * seconds))
    tone = sum((torch.sin(k * phase) / k for k in range(1, 6)), start=torch.zeros(()))
    loudness = torch.sin(2 * math.pi * (3 + 3 * beat) * seconds).clamp(min=0)
    noise = torch.randn(*shape, generator=draw, dtype=torch.float64)
    return (0.1 * loudness * tone + 0.003 * noise).to(dtype)
