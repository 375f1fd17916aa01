"""Sound of a log-mel, for who wants to hear what a decoder has rebuilt."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_tt.encoder.logmel import LogMel

ITERATIONS = 64
MOMENTUM = 0.99


def griffin_lim(front_end: LogMel, log_mel: Tensor, seed: int = 0) -> Tensor:
    """Samples [B, T * hop] whose normalised log-mel is near to log_mel [B, T, M].

    The mel filters are inverted by least squares, and phases that fit the magnitudes are looked for from random ones,
    a function of the seed (Griffin and Lim 1984; with the momentum of Perraudin et al. 2013). What the mel bands have
    merged stays lost, so that even the log-mel of real speech comes back with a metallic ring.
    """
    from torchaudio.functional import griffinlim
    from torchaudio.transforms import InverseMelScale

    config = front_end.config
    window, hop = config.window_samples, config.hop_samples
    # torch's frames stand in the middle of their windows, ours at their end: frame t has the middle (t + 1) * hop -
    # window / 2 here and t * hop there.
    later = window // 2 - hop
    # Enough frames after the last for every sample to lie under a whole window.
    log_mel = F.pad(log_mel.transpose(1, 2), (0, 2 + max(0, later) // hop), mode="replicate")
    mel = (log_mel * front_end.std[:, None] + front_end.mean[:, None]).exp()
    inverse = InverseMelScale(front_end.n_fft // 2 + 1, config.mel_bands, config.sample_rate_hz, driver="gelsd")
    inverse.fb.copy_(front_end.filterbank)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sound = griffinlim(
            inverse(mel.cpu()),
            front_end.window.cpu(),
            n_fft=front_end.n_fft,
            hop_length=hop,
            win_length=window,
            power=2.0,
            n_iter=ITERATIONS,
            momentum=MOMENTUM,
            length=None,
            rand_init=True,
        )
    n_samples = (mel.shape[2] - 2 - max(0, later) // hop) * hop
    return F.pad(sound, (-later, 0))[:, :n_samples]
