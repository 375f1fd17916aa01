"""Causal log-mel front end: the window of frame t ends at (t + 1) * hop, so no frame sees past its own hop.

A centred STFT looks half a window ahead, and `center=False` alone still starts frame t at t * hop and looks a window
minus a hop ahead. Here window - hop samples of left padding put the window's end at the hop's end; that padding is the
initial state.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.encoder.config import LogMelConfig
from ssl_tt.errors import InputError

# Least power in a band. A full-scale sine has 1e4 under the default window, so this lies 100 dB below it; the rounding
# noise of 16-bit audio (at most 1e-7 in a band) lies below the floor, so that digital silence and the quietest dither
# look alike, and neither gives the logarithm of zero.
POWER_FLOOR = 1e-6
# Least standard deviation to divide by, nats: a band that never rises above the floor (telephone speech at 16 kHz)
# stays a constant and is not blown up.
LEAST_STD = 0.1


def mel_filterbank(n_fft: int, mel_bands: int, low_hz: float, high_hz: float, sample_rate_hz: int) -> Tensor:
    """Triangular mel filters [n_fft // 2 + 1, M], float64: HTK's mel scale, peaks of one.

    Equal to `torchaudio.functional.melscale_fbanks(norm=None, mel_scale="htk")`. No area normalisation: it would only
    add a constant to each log band, which the corpus statistics take away again.
    """

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    edges_hz = 700 * (10 ** (torch.linspace(mel(low_hz), mel(high_hz), mel_bands + 2, dtype=torch.float64) / 2595) - 1)
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    left, peak, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    return torch.minimum((bins_hz - left) / (peak - left), (right - bins_hz) / (right - peak)).clamp(min=0)


class LogMel(nn.Module):
    """Log-mel spectrogram, normalised by fixed statistics of the training corpus: [B, N] -> [B, N // hop, M].

    Always computed in the precision of its buffers (fp32), autocast or not. Samples that do not fill a hop wait in the
    state. Raises InputError where a mel band is too narrow to hold a bin of the Fourier transform.
    """

    window: Tensor
    filterbank: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.n_fft = 1 << (config.window_samples - 1).bit_length()
        filterbank = mel_filterbank(
            self.n_fft, config.mel_bands, config.low_hz, config.highest_hz, config.sample_rate_hz
        )
        empty = int((filterbank.sum(dim=0) == 0).sum())
        if empty:
            raise InputError(
                f"mel_bands {config.mel_bands} is too many for window_samples {config.window_samples}: {empty} bands "
                f"hold none of the {self.n_fft // 2 + 1} frequencies; use fewer bands or a longer window"
            )
        # Derived from the config, so not part of a checkpoint; the statistics are.
        self.register_buffer("window", torch.hann_window(config.window_samples, periodic=True), persistent=False)
        self.register_buffer("filterbank", filterbank.float(), persistent=False)
        self.register_buffer("mean", torch.zeros(config.mel_bands))
        self.register_buffer("std", torch.ones(config.mel_bands))

    def forward(self, samples: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_mel, state = self.raw(samples, state)
        return (log_mel - self.mean) / self.std, state

    def raw(self, samples: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-mel in nats before normalisation; what the statistics are taken of."""
        window, hop = self.config.window_samples, self.config.hop_samples
        past = window - hop
        samples = samples.to(self.window.dtype)
        samples = F.pad(samples, (past, 0)) if state is None else torch.cat((state, samples), dim=-1)
        n_frames = (samples.shape[-1] - past) // hop
        state = samples[..., n_frames * hop :]
        if n_frames == 0:
            return samples.new_zeros(*samples.shape[:-1], 0, self.config.mel_bands), state
        with torch.autocast(samples.device.type, enabled=False):
            # Unfold and rfft is 1.4 times as fast as torch.stft on a CPU.
            spectrum = torch.fft.rfft(samples.unfold(-1, window, hop) * self.window, n=self.n_fft)
            power = spectrum.real.square() + spectrum.imag.square()
            return (power @ self.filterbank).clamp(min=POWER_FLOOR).log(), state

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix mean and standard deviation [M] of the training corpus, nats; a ValueError unless finite and std > 0."""
        if mean.shape != self.mean.shape or std.shape != self.std.shape:
            raise ValueError(f"statistics of shape {tuple(mean.shape)} and {tuple(std.shape)}, not {self.mean.shape}")
        if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
            raise ValueError("statistics must be finite, and the standard deviation above zero")
        self.mean.copy_(mean)
        self.std.copy_(std)


@torch.no_grad()
def log_mel_statistics(frontend: LogMel, audio: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [M] of the raw log-mel over every frame of samples [B, N], summed in float64.

    Raises InputError if there is not a single frame.
    """
    count = 0
    total = torch.zeros(frontend.config.mel_bands, dtype=torch.float64)
    square = torch.zeros_like(total)
    for samples in audio:
        log_mel = frontend.raw(samples.to(frontend.mean.device))[0].flatten(0, -2).double().cpu()
        count += len(log_mel)
        total += log_mel.sum(dim=0)
        square += log_mel.square().sum(dim=0)
    if count == 0:
        raise InputError("no audio for the statistics of the log-mel: expected at least one frame; give longer audio")
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt().clamp(min=LEAST_STD)
    return mean, std
