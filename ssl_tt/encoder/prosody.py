"""Extracted features, causal: F0, voicing, periodicity, intensity and speaking rate of every frame.

F0 is the autocorrelation method of Boersma (1993), "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", Praat's own: the autocorrelation of a window, divided by that of the
window function, has its highest peak at the period. Praat then looks for the best path through the peaks of the whole
recording, which sees the future; here each frame stands by itself, and the price is an octave error in one or two of
a hundred voiced frames.

Speaking rate is a moment of the envelope, after the spectral moment of Morgan, Fosler and Mirghafori (1997),
"Speech recognition using on-line estimation of speaking rate", Eurospeech: syllables come 3 to 8 times a second.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.encoder.config import HIGHEST_MODULATION_HZ, PROSODY, ProsodyConfig
from ssl_tt.encoder.normalised import Normalised

# Least mean square of a frame, 90 dB below full scale: above the rounding of 16-bit audio (-101 dB), which is silence.
POWER_FLOOR = 1e-9
# What a peak loses for each octave below the highest F0, so that a period is not taken for its double, whose peak is as
# high. Praat's 0.01 leans on the path search; of 0.01, 0.03 and 0.06 this came closest to Praat on LibriSpeech.
OCTAVE_COST = 0.03
# Modulations that are a smaller share of the mean envelope are taken for noise, and the speaking rate falls to 0.
FLAT_SHARE = 0.05
# Frames whose spectra are worked on together: more would leave the cache.
BLOCK_FRAMES = 128


class ProsodyState(NamedTuple):
    """Samples that later windows still need [B, n], and the envelope of the last frames [B, rate_window_frames - 1]."""

    samples: Tensor
    envelope: Tensor


class Prosody(Normalised):
    """Features of each frame, in the order of `PROSODY`, normalised: [B, N] -> [B, N // hop, 5]. No gradient.

    log_f0            logarithm of F0 in Hz; statistics are of voiced frames, an unvoiced frame has 0 after them
    voiced            1 where periodicity reaches the threshold, 0 elsewhere
    periodicity       height of the autocorrelation's peak, from 0 (noise, silence) to 1 (a tone)
    intensity_db      mean square under a squared Hann window, dB to full scale, at least -90
    speaking_rate_hz  mean frequency of the envelope's modulations from 1 to 16 Hz, weighted by their power, under a
                      Hann window over the last rate_window_frames; towards 0 where the envelope is flat. The envelope
                      is the root of that mean square

    The first four see the window that ends at (t + 1) * hop, the last one those of the last rate_window_frames.
    Computed in double precision whatever the precision around it, so that rounding, which differs with the size of a
    chunk, picks no other peak.
    """

    differentiable = False

    window: Tensor
    window_autocorrelation: Tensor
    modulations: Tensor
    moments: Tensor

    def __init__(self, config: ProsodyConfig) -> None:
        super().__init__(config.feature_count)
        self.config = config
        rate = config.sample_rate_hz
        self.least_lag = math.floor(rate / config.highest_hz)
        self.most_lag = math.ceil(rate / config.lowest_hz)
        self.n_fft = 1 << (config.window_samples + self.most_lag).bit_length()
        window = _hann(config.window_samples)
        spectrum = torch.fft.rfft(window, n=self.n_fft)
        autocorrelation = torch.fft.irfft(spectrum.abs().square())[: self.most_lag + 2]
        rate_window = _hann(config.rate_window_frames)
        modulations_hz = torch.arange(2, 2 * HIGHEST_MODULATION_HZ + 1, dtype=torch.float64) / 2
        time = torch.arange(config.rate_window_frames, dtype=torch.float64) * config.hop_samples / rate
        waves = torch.cat([f(2 * math.pi * time[:, None] * modulations_hz) for f in (torch.cos, torch.sin)], dim=1)
        # Less their windowed mean, so that a constant envelope has no modulations.
        waves = (waves - rate_window @ waves / rate_window.sum()) * rate_window[:, None]
        of_the_mean = FLAT_SHARE * rate_window[:, None]
        self._exact = {
            "window": window,
            "window_autocorrelation": autocorrelation / autocorrelation[0],
            "modulations": torch.cat([waves, of_the_mean], dim=1),
            "moments": torch.stack([modulations_hz, torch.ones_like(modulations_hz)], dim=1),
        }
        self._apply(lambda tensor: tensor)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As in nn.Module; what is derived from the config follows to a device and stays in double precision."""
        super()._apply(fn, recurse)
        for name, value in self._exact.items():
            setattr(self, name, value.to(self.mean.device))
        return self

    def forward(self, samples: Tensor, state: ProsodyState | None = None) -> tuple[Tensor, ProsodyState]:
        features, state = super().forward(samples, state)
        log_f0 = torch.where(features[..., 0].isnan(), 0.0, features[..., 0])
        return torch.cat([log_f0[..., None], features[..., 1:]], dim=-1), state

    @torch.no_grad()
    def raw(self, samples: Tensor, state: ProsodyState | None = None) -> tuple[Tensor, ProsodyState]:
        """Features before normalisation; log_f0 is NaN where a frame is unvoiced."""
        window, hop = self.config.window_samples, self.config.hop_samples
        samples = samples.to(self.mean.dtype)
        if state is None:
            silence = math.sqrt(POWER_FLOOR)
            envelope = self.window.new_full((samples.shape[0], self.config.rate_window_frames - 1), silence)
            samples = F.pad(samples, (window - hop, 0))
        else:
            envelope = state.envelope
            samples = torch.cat((state.samples, samples), dim=-1)
        n_frames = max(0, (samples.shape[-1] - (window - hop)) // hop)
        rest = samples[..., n_frames * hop :]
        if n_frames == 0:
            return samples.new_zeros(samples.shape[0], 0, len(PROSODY)), ProsodyState(rest, envelope)
        with torch.autocast(samples.device.type, enabled=False):
            frames = samples.unfold(-1, window, hop)
            f0_hz, periodicity, power = self._pitch_of(frames)
            power = power.clamp(min=POWER_FLOOR)
            voiced = (periodicity >= self.config.voicing_threshold) & (power > POWER_FLOOR)
            envelope = torch.cat([envelope, power.sqrt()], dim=1)
            features = [
                torch.where(voiced, f0_hz.log(), torch.nan),
                voiced.double(),
                periodicity,
                10 * power.log10(),
                self._speaking_rate_hz(envelope),
            ]
        past = envelope[:, n_frames:].clone()
        return torch.stack(features, dim=-1).to(samples.dtype), ProsodyState(rest, past)

    def _pitch_of(self, frames: Tensor) -> Sequence[Tensor]:
        """F0 in Hz, periodicity and mean square of frames [B, T, window_samples], each [B, T]; block by block."""
        if torch.compiler.is_exporting():  # the number of blocks would be fixed
            return self._pitch(frames.double())
        blocks = frames.reshape(-1, frames.shape[-1]).split(BLOCK_FRAMES)
        found = zip(*(self._pitch(block.double()) for block in blocks), strict=True)
        return [torch.cat(each).unflatten(0, frames.shape[:2]) for each in found]

    def _pitch(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F0 in Hz, periodicity and mean square of frames [..., window_samples], each [...]."""
        frames = (frames - frames.mean(dim=-1, keepdim=True)) * self.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=self.n_fft)).square().sum(dim=-1)
        autocorrelation = torch.fft.irfft(spectrum)[..., : self.most_lag + 2]
        energy = autocorrelation[..., :1]
        r = autocorrelation / (energy.clamp(min=1e-30) * self.window_autocorrelation)

        # A parabola through each point and its neighbours: where its top lies and how high.
        left, middle, right = (
            r[..., self.least_lag - 1 : -2],
            r[..., self.least_lag : -1],
            r[..., self.least_lag + 1 :],
        )
        is_peak = (middle >= left) & (middle > right)
        offset = torch.where(is_peak, (right - left) / 2 / (2 * middle - left - right), 0.0)
        height = middle + (right - left) / 4 * offset
        lag = torch.arange(self.least_lag, self.most_lag + 1, device=r.device) + offset
        score = torch.where(is_peak, height - OCTAVE_COST * lag.log2(), -torch.inf)
        best = score.argmax(dim=-1, keepdim=True)
        periodicity = torch.where(is_peak.any(dim=-1), height.gather(-1, best)[..., 0], 0.0)
        f0_hz = self.config.sample_rate_hz / lag.gather(-1, best)[..., 0]
        return f0_hz, periodicity.clamp(0, 1), energy[..., 0] / self.window.square().sum()

    def _speaking_rate_hz(self, envelope: Tensor) -> Tensor:
        """Spectral moment of the envelope [B, T + rate_window_frames - 1] -> [B, T]."""
        found = envelope.unfold(-1, self.config.rate_window_frames, 1) @ self.modulations
        (cosine, sine), flat = found[..., :-1].chunk(2, dim=-1), found[..., -1]
        first_moment, power = ((cosine.square() + sine.square()) @ self.moments).unbind(dim=-1)
        return first_moment / (power + flat.square())

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates of the modulations for a second of one channel, not those of the FFT (about 1e7)."""
        per_frame = self.modulations.numel() + self.moments.numel()
        return per_frame * self.config.sample_rate_hz / self.config.hop_samples


def _hann(length: int) -> Tensor:
    """Hann window without its zeros, so that every sample counts."""
    return torch.hann_window(length + 2, periodic=False, dtype=torch.float64)[1:-1]
