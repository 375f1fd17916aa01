"""Audio made different without being moved: sample n of what comes out depends on no sample after n that went in.

That excludes more than filters that look ahead. Noise whose level follows the whole window would tell the beginning how
loud the end will be; here it follows what was heard so far. And a filter of linear phase, made causal, would delay;
these have minimum phase.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.signal import butter, sosfilt, unit_impulse
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.data.companding import compress, expand
from ssl_tt.data.config import AugmentationConfig
from ssl_tt.timebase import samples as samples_of

TELEPHONE_HZ = (300.0, 3400.0)

# The response of the telephone band has fallen by 80 dB after this.
_BAND_SECONDS = 0.03

# Samples that `filtered` computes in one row of its product: fewer cost copies, more cost products with zeros.
_BLOCK = 128


def augment(
    samples: Tensor, config: AugmentationConfig, sample_rate_hz: int, generators: Sequence[torch.Generator]
) -> Tensor:
    """Samples [B, N] augmented, each row by draws from its own generator [B]: [B, N] float32.

    Nothing is drawn for what has no probability. A row is the same whatever the others are.
    """

    def drawn(bounds: tuple[float, float], own: Sequence[torch.Generator]) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * uniform(own, samples.device)

    def room(x: Tensor, own: Sequence[torch.Generator]) -> Tensor:
        longest = samples_of(config.reverberation_seconds[1], sample_rate_hz)
        decay = drawn(config.reverberation_seconds, own) * sample_rate_hz
        ratio_db = drawn(config.direct_to_reverberant_db, own)
        return filtered(x, room_response(decay, ratio_db, normal(own, longest - 1, x.device)))

    def noisy(x: Tensor, own: Sequence[torch.Generator]) -> Tensor:
        return with_noise(x, normal(own, x.shape[1], x.device), drawn(config.noise_snr_db, own))

    def lost(x: Tensor, own: Sequence[torch.Generator]) -> Tensor:
        length = drawn(config.dropout_seconds, own) * sample_rate_hz
        start = uniform(own, x.device) * (x.shape[1] - length).clamp(min=0)
        return without(x, start.long(), length.long())

    effects: list[tuple[float, Callable[[Tensor, Sequence[torch.Generator]], Tensor]]] = [
        (config.reverberation_probability, room),
        (config.noise_probability, noisy),
        (config.gain_probability, lambda x, own: x * 10 ** (drawn(config.gain_db, own)[:, None] / 20)),
        (
            config.band_probability,
            lambda x, own: filtered(x, telephone_response(sample_rate_hz).to(x).expand(len(x), -1)),
        ),
        (config.mu_law_probability, lambda x, own: mu_law(x)),
        (config.dropout_probability, lost),
    ]
    with torch.autocast(samples.device.type, enabled=False):
        for probability, effect in effects:
            if probability > 0:
                chosen = (uniform(generators, samples.device) < probability).nonzero().flatten()
                if len(chosen):
                    own = [generators[row] for row in chosen.tolist()]
                    samples = samples.index_copy(0, chosen, effect(samples[chosen], own))
    return samples


def row_generators(seeds: Tensor, speakers: int, stream: int) -> list[torch.Generator]:
    """Generators of the channels of windows in the order "(b s)", from the windows' seeds [B]; `stream` tells apart
    what is drawn for them several times."""
    return [
        torch.Generator().manual_seed(int(np.random.SeedSequence((seed, speaker, stream)).generate_state(1)[0]))
        for seed in seeds.tolist()
        for speaker in range(speakers)
    ]


def uniform(generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """A number from 0 to 1 of each generator [B]."""
    return torch.cat([torch.rand(1, generator=generator) for generator in generators]).to(device)


def normal(generators: Sequence[torch.Generator], n: int, device: torch.device) -> Tensor:
    """Gaussian noise of each generator [B, n]."""
    return torch.stack([torch.randn(n, generator=generator) for generator in generators]).to(device)


def with_noise(samples: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Samples [B, N] with noise [B, N] at a ratio [B], dB, to the mean power of the samples up to each."""
    power = samples.square().cumsum(dim=1) / torch.arange(1, samples.shape[1] + 1, device=samples.device)
    noise = noise / noise.square().mean(dim=1, keepdim=True).sqrt()
    # No square root of zero, whose gradient is infinite.
    return samples + noise * power.clamp(min=1e-20).sqrt() * 10 ** (-snr_db[:, None] / 20)


def mu_law(samples: Tensor) -> Tensor:
    """Samples in [-1, 1] as 8 bits of mu-law tell them: 127 magnitudes beside zero, fine where it is soft (G.711)."""
    return expand((compress(samples) * 127).round() / 127)


def without(samples: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Samples [B, N] with zeros in a stretch of each row, from sample start [B] on, length [B]."""
    time = torch.arange(samples.shape[1], device=samples.device)
    return samples.masked_fill((time >= start[:, None]) & (time < (start + length)[:, None]), 0.0)


def room_response(decay_samples: Tensor, direct_to_reverberant_db: Tensor, noise: Tensor) -> Tensor:
    """Impulse responses [B, 1 + L] of made-up rooms: 1, then noise [B, L] that decays by 60 dB in decay_samples [B]."""
    time = torch.arange(1, noise.shape[1] + 1, device=decay_samples.device)
    tail = noise * 10 ** (-3 * time / decay_samples[:, None])
    tail = tail / tail.norm(dim=1, keepdim=True) * 10 ** (-direct_to_reverberant_db[:, None] / 20)
    return torch.cat([torch.ones_like(tail[:, :1]), tail], dim=1)


@lru_cache
def telephone_response(sample_rate_hz: int) -> Tensor:
    """Impulse response [1, L] of a Butterworth filter of order 4 for 300 to 3,400 Hz, of minimum phase."""
    sections = butter(4, TELEPHONE_HZ, "bandpass", fs=sample_rate_hz, output="sos")
    response = sosfilt(sections, unit_impulse(samples_of(_BAND_SECONDS, sample_rate_hz)))
    return torch.from_numpy(response).float()[None]


def filtered(samples: Tensor, responses: Tensor) -> Tensor:
    """Each row convolved with its impulse response: [B, N], [B, L] -> [B, N], causal to the bit.

    As products of blocks with Toeplitz matrices: a Fourier transform would let what comes later change the rounding of
    what comes before.
    """
    length, (_, n_samples) = responses.shape[1], samples.shape
    blocks = -(-n_samples // _BLOCK)
    padded = F.pad(samples, (length - 1, blocks * _BLOCK - n_samples))
    heard = padded.unfold(1, length - 1 + _BLOCK, _BLOCK)  # [B, blocks, L - 1 + _BLOCK]: a block and what it rests on
    # Column f has the response backwards, ending at the block's sample f.
    toeplitz = F.pad(responses.flip(1), (_BLOCK - 1, _BLOCK - 1)).unfold(1, _BLOCK, 1).flip(2)
    return (heard @ toeplitz).flatten(1)[:, :n_samples]
