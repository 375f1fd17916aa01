import subprocess
import sys

import pytest
from pydantic import ValidationError

from ssl_tt.encoder.config import (
    DilationSchedule,
    EncoderConfig,
    JoinedConfig,
    LogMelConfig,
    PrelayerConfig,
    ProsodyConfig,
    StackConfig,
    WaveformConfig,
)

SHALLOW, DEEP = StackConfig(dilations=(1,)), StackConfig(dilations=(1, 3))
HALVED_TWICE = StackConfig(prelayers=(PrelayerConfig(), PrelayerConfig()))


@pytest.mark.parametrize(
    ("config", "wrong", "message"),
    [
        (LogMelConfig, {"window_samples": 160, "hop_samples": 160}, "must exceed hop_samples"),
        (LogMelConfig, {"low_hz": 4000.0, "high_hz": 4000.0}, "must rise"),
        (LogMelConfig, {"sample_rate_hz": 8000, "high_hz": 8000.0}, "half of sample_rate_hz, 4000"),
        (LogMelConfig, {"sample_rate_hz": 44100}, "8000 or 16000"),
        (EncoderConfig, {"prelayer_kernel": 1, "stride": 2}, "at least the stride 2"),
        (EncoderConfig, {"stacks": ()}, "at least 1 item"),
        (StackConfig, {"dilations": (0,)}, "greater than or equal to 1"),
        (
            EncoderConfig,
            {"stride": 3},
            "does not divide the 100 frames a second of the front end: take 2 or 4",
        ),
        (
            EncoderConfig,
            {"stacks": (SHALLOW, DEEP), "combine_at": "every_layer"},
            "stacks of 1, 2 blocks cannot be",
        ),
        (
            EncoderConfig,
            {"stacks": (DEEP, HALVED_TWICE)},
            "stack 2 have a stride of 4 in all, expected .* 2: ",
        ),
        (EncoderConfig, {"stacks": (HALVED_TWICE,), "stride": 4, "prelayer_kernel": 5}, "prelayer_kernel is not read"),
        (EncoderConfig, {"convolution": "2d", "frequency_kernel": 4}, "no middle band: take 3 or 5"),
        (EncoderConfig, {"convolution": "2d", "frequency_stride": 3}, "leaves out bands: take at least 5"),
        (EncoderConfig, {"frequency_kernel": 3}, 'frequency_kernel is read by convolution "2d" alone'),
        (EncoderConfig, {"frequency_stride": 1}, 'frequency_stride is read by convolution "2d" alone'),
        (StackConfig, {"kernal": 3}, "kernal"),
        (StackConfig, {"dilations": ()}, "at least 1 item"),
        (
            StackConfig,
            {"dilations": DilationSchedule(schedule="doubling", depth=14)},
            "grow to 8192 .* lower the",
        ),
        (DilationSchedule, {"schedule": "constant", "depth": 0}, "greater than or equal to 1"),
        (DilationSchedule, {"schedule": "hole_free", "depth": 3, "first": 2}, "first 2 leaves holes"),
        (PrelayerConfig, {"kernel": 1, "stride": 2}, "kernel 1 must be at least the stride 2"),
    ],
)
def test_wrong_settings_are_refused_and_named(config, wrong, message):
    with pytest.raises(ValidationError, match=message):
        config(**wrong)


@pytest.mark.parametrize(
    ("config", "right"),
    [
        (EncoderConfig, {"prelayer_kernel": 2, "stride": 2}),
        (EncoderConfig, {"stride": 4}),
        (
            EncoderConfig,
            {"stride": 3, "frontend": LogMelConfig(hop_samples=150)},
        ),  # 106.7 a second: no such rule
        (EncoderConfig, {"stacks": (SHALLOW, DEEP)}),
        (EncoderConfig, {"stacks": (DEEP, DEEP), "combine_at": "every_layer"}),
        (EncoderConfig, {"stacks": (DEEP, HALVED_TWICE), "stride": 4, "prelayer_kernel": 5}),
        (EncoderConfig, {"convolution": "2d", "frequency_kernel": 5, "frequency_stride": 3}),
        (StackConfig, {"dilations": DilationSchedule(schedule="doubling", depth=13)}),
        (DilationSchedule, {"schedule": "doubling", "depth": 3, "first": 2}),
        (PrelayerConfig, {"kernel": 2, "stride": 2}),
    ],
)
def test_their_nearest_right_neighbours_are_taken(config, right):
    config(**right)


@pytest.mark.parametrize(
    ("schedule", "kernel", "dilations"),
    [
        ({"schedule": "constant", "depth": 3, "first": 2}, 3, (2, 2, 2)),
        ({"schedule": "doubling", "depth": 4}, 3, (1, 2, 4, 8)),
        ({"schedule": "doubling", "depth": 3, "first": 3}, 2, (3, 6, 12)),
        ({"schedule": "hole_free", "depth": 4}, 2, (1, 2, 4, 8)),
        ({"schedule": "hole_free", "depth": 4}, 3, (1, 3, 9, 27)),
        ({"schedule": "hole_free", "depth": 3}, 5, (1, 5, 25)),
        ({"schedule": "hole_free", "depth": 2}, 1, (1, 1)),
    ],
)
def test_schedules_give_these_dilations(schedule, kernel, dilations):
    stack = StackConfig(kernel=kernel, dilations=DilationSchedule(**schedule))
    assert stack.block_dilations == dilations
    assert stack.model_dump()["dilations"] == {"first": 1, **schedule}  # as it was given


@pytest.mark.parametrize(
    ("config", "valid", "wrong", "message"),
    [
        (WaveformConfig, {"strides": (5, 4, 8), "kernels": (5, 4, 8)}, {"strides": (5, 4, 8)}, "5 kernels for 3 str"),
        (
            WaveformConfig,
            {"strides": (4, 4), "kernels": (4, 4)},
            {"strides": (4, 4), "kernels": (4, 3)},
            "the kernel 3 of layer 2 must be at least its stride 4",
        ),
        (WaveformConfig, {"strides": (8,), "kernels": (8,)}, {"strides": (7,), "kernels": (8,)}, "a hop of 7 samples"),
        (
            WaveformConfig,
            {"strides": (40, 40), "kernels": (40, 40)},
            {"strides": (41, 40), "kernels": (41, 40)},
            "a hop of 1640 samples, expected 8 to 1600",
        ),
        (WaveformConfig, {"channels": 1}, {"channels": 0}, "greater than or equal to 1"),
        (
            ProsodyConfig,
            {"window_samples": 700, "hop_samples": 500},
            {"window_samples": 499, "hop_samples": 500},
            "window_samples 499 must be at least hop_samples 500",
        ),
        (ProsodyConfig, {}, {"window_samples": 639}, "must hold three periods of lowest_hz 75: make it 640 or raise"),
        (ProsodyConfig, {"highest_hz": 2000.0}, {"highest_hz": 2001.0}, "an eighth of sample_rate_hz, 2000"),
        (ProsodyConfig, {"highest_hz": 76.0}, {"highest_hz": 75.0}, "must rise"),
        (
            ProsodyConfig,
            {"sample_rate_hz": 8000, "hop_samples": 250},
            {"sample_rate_hz": 8000, "hop_samples": 251},
            "make it 250 or less",
        ),
        (ProsodyConfig, {"voicing_threshold": 0.99}, {"voicing_threshold": 1.0}, "less than 1"),
        (JoinedConfig, {"parts": (LogMelConfig(), WaveformConfig())}, {"parts": (LogMelConfig(),)}, "at least 2 items"),
        (
            JoinedConfig,
            {"parts": (LogMelConfig(), ProsodyConfig())},
            {"parts": (LogMelConfig(hop_samples=80), ProsodyConfig())},
            "part 2 has a hop of 160 samples and part 1 of 80, .* joined one by one: make its hop_samples 80",
        ),
        (
            JoinedConfig,
            {"parts": (LogMelConfig(hop_samples=320), WaveformConfig(strides=(5, 4, 4, 2, 2)))},
            {"parts": (LogMelConfig(hop_samples=320), WaveformConfig())},
            "make its strides multiply to 320",
        ),
        (
            JoinedConfig,
            {"parts": (LogMelConfig(), LogMelConfig(mel_bands=20))},
            {"parts": (LogMelConfig(), LogMelConfig(sample_rate_hz=8000))},
            "part 2 is at 8000 Hz and part 1 at 16000 Hz: give all parts one sample_rate_hz",
        ),
        (
            EncoderConfig,
            {"convolution": "2d", "frontend": LogMelConfig()},
            {"convolution": "2d", "frontend": WaveformConfig()},
            'and frontend.kind "waveform" does not give them alone: choose convolution "1d" or frontend.kind "logmel"',
        ),
        (
            EncoderConfig,
            {"frontend": JoinedConfig(parts=(LogMelConfig(), ProsodyConfig()))},
            {"frontend": JoinedConfig(parts=(LogMelConfig(), ProsodyConfig())), "convolution": "2d"},
            'and frontend.kind "joined" does not give them alone',
        ),
        (
            EncoderConfig,
            {"frontend": ProsodyConfig(hop_samples=320), "stride": 1, "prelayer_kernel": 3},
            {"frontend": ProsodyConfig(hop_samples=320), "stride": 3},
            "stride 3 does not divide the 50 frames a second of the front end: take 1 or 2",
        ),
    ],
)
def test_front_ends_that_cannot_be_are_refused_and_their_neighbours_are_not(config, valid, wrong, message):
    config(**valid)
    with pytest.raises(ValidationError, match=message):
        config(**wrong)


def test_default_gives_fifty_frames_a_second():
    config = EncoderConfig()
    assert config.frontend.sample_rate_hz / (config.frontend.hop_samples * config.stride) == 50


def test_settings_and_receptive_field_do_without_torch():
    code = (
        "import sys, ssl_tt.encoder.receptive_field as r; from ssl_tt.encoder.config import EncoderConfig; "
        "r.receptive_field(EncoderConfig()).table(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
