"""Causal log-mel front end: the window of frame t ends at (t + 1) * hop, so no frame sees past its own hop.

A centred STFT looks half a window ahead, and `center=False` alone still starts frame t at t * hop and looks a window
minus a hop ahead. Here window - hop samples of left padding put the window's end at the hop's end; that padding is the
initial state.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.encoder.config import LogMelConfig
from ssl_tt.encoder.normalised import Normalised
from ssl_tt.errors import InputError

# Least power in a band. A full-scale sine has 1e4 under the default window, so this lies 100 dB below it; the rounding
# noise of 16-bit audio (at most 1e-7 in a band) lies below the floor, so that digital silence and the quietest dither
# look alike, and neither gives the logarithm of zero.
POWER_FLOOR = 1e-6


def mel_filterbank(n_fft: int, mel_bands: int, low_hz: float, high_hz: float, sample_rate_hz: int) -> Tensor:
    """Triangular mel filters [n_fft // 2 + 1, M], float64: HTK's mel scale, peaks of one.

    Equal to `torchaudio.functional.melscale_fbanks(norm=None, mel_scale="htk")`. No area normalisation: it would only
    add a constant to each log band, which the corpus statistics take away again.
    """

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    def spaced(first: float, last: float, count: int) -> Tensor:
        # On the CPU whatever the default device, which may be one without memory.
        return torch.linspace(first, last, count, dtype=torch.float64, device="cpu")

    edges_hz = 700 * (10 ** (spaced(mel(low_hz), mel(high_hz), mel_bands + 2) / 2595) - 1)
    bins_hz = spaced(0, sample_rate_hz / 2, n_fft // 2 + 1)[:, None]
    left, peak, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    return torch.minimum((bins_hz - left) / (peak - left), (right - bins_hz) / (right - peak)).clamp(min=0)


class LogMel(Normalised):
    """Log-mel spectrogram, normalised by fixed statistics of the training corpus: [B, N] -> [B, N // hop, M].

    Always computed in the precision of its buffers (fp32), autocast or not. Samples that do not fill a hop wait in the
    state. Raises InputError where a mel band is too narrow to hold a bin of the Fourier transform.
    """

    differentiable = True

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__(config.mel_bands)
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
        # Derived from the config, so not part of a checkpoint.
        self.register_buffer("window", torch.hann_window(config.window_samples, periodic=True), persistent=False)
        self.register_buffer("filterbank", filterbank.float(), persistent=False)

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates of the mel filters for a second of one channel, not those of the FFT (about 1e6)."""
        return self.filterbank.numel() * self.config.sample_rate_hz / self.config.hop_samples

    def raw(self, samples: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-mel in nats before normalisation."""
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
