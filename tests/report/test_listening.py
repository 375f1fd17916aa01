"""How far a reconstruction is from what was heard."""

import torch

from ssl_tt.encoder.config import LogMelConfig
from ssl_tt.encoder.logmel import LogMel
from ssl_tt.report.listening import log_spectral_distance


def test_the_distance_of_a_sound_ten_times_as_loud_is_20_decibels_and_of_itself_none():
    front_end = LogMel(LogMelConfig())
    quiet = 0.01 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    log_mels = [front_end.raw(samples)[0] for samples in (quiet, torch.stack([10 * quiet[0], quiet[1]]))]
    torch.testing.assert_close(log_spectral_distance(*log_mels), torch.tensor([20.0, 0.0]), rtol=0, atol=1e-3)
