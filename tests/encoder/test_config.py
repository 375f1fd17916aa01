import subprocess
import sys

import pytest
from pydantic import ValidationError

from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig


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
        (StackConfig, {"kernal": 3}, "kernal"),
    ],
)
def test_wrong_settings_are_refused_and_named(config, wrong, message):
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
