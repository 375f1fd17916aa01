"""The decoder of VQ-VAE's paper: the samples themselves, one after another, from the codes and the samples before."""

import torch
from torch import Tensor, nn

from ssl_tt.data import companding
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.objectives.autoregressive import Autoregressive
from ssl_tt.objectives.config import WaveNetConfig
from ssl_tt.objectives.distributions import Categorical, LogisticMixture

LEVELS = 65_536
"""Levels of 16-bit audio, of which the mixture of logistics tells each."""


class WaveNet(nn.Module):
    """-log p of samples given codes (van den Oord et al. 2016, arXiv 1609.03499; as a decoder van den Oord et al. 2017,
    arXiv 1711.00937, section 4.2).

    Codes [B, T, C] are repeated over the samples of their frames. A sample knows the code of its own frame, which is
    known at the end of that frame alone: this decodes what is stored; live it would lag a frame behind. Of the samples
    it knows only those before it, and of the codes none of a later frame.

    With `input_noise` training hears the samples before through noise, as LPCNet's does (Valin and Skoglund 2019, arXiv
    1810.11846): of what it has drawn itself, a decoder of clean samples alone soon makes nothing but noise.

    With `speaker_channels` it also knows the mean log-mel of the window, as a stand-in for who speaks: every sample
    does, as of a label (section 2.5, global conditioning), although the mean is known at the window's end alone.
    """

    def __init__(self, config: WaveNetConfig, encoder: EncoderConfig, in_channels: int, channels: int) -> None:
        super().__init__()
        self.config = config
        self.hop_samples = encoder.frontend.hop_samples * encoder.stride
        self.speaker = (
            nn.Linear(encoder.log_mel.mel_bands, config.speaker_channels) if config.speaker_channels else None
        )
        self.samples = Autoregressive(
            Categorical(companding.CLASSES, channels)
            if config.amplitudes == "mulaw"
            else LogisticMixture(LEVELS, config.mixtures or 10, channels),
            channels,
            config.kernel,
            config.dilations * config.cycles,
            condition_channels=in_channels + config.speaker_channels,
        )

    def forward(self, codes: Tensor, samples: Tensor, log_mel: Tensor | None = None) -> Tensor:
        """-log p of each of samples [B, T * hop], nats [B, T * hop], given codes [B, T, C] and who speaks."""
        heard = self.to_values(self._through_noise(samples)) if self.training and self.config.input_noise else None
        return self.samples(self.to_values(samples), self._condition(codes, log_mel), heard)

    def error(self, codes: Tensor, log_mel: Tensor, samples: Tensor) -> Tensor:
        """Mean -log p of a sample, nats: of a piece of `train_frames` a sequence, which torch's generator draws."""
        n_frames, wanted = codes.shape[1], self.config.train_frames
        samples = samples[:, : n_frames * self.hop_samples].unflatten(1, (n_frames, self.hop_samples))
        if wanted < n_frames:
            starts = torch.randint(n_frames - wanted + 1, (len(codes), 1), device=codes.device)
            frames = starts + torch.arange(wanted, device=codes.device)
            rows = torch.arange(len(codes), device=codes.device).unsqueeze(1)
            codes, samples = codes[rows, frames], samples[rows, frames]
        return self(codes, samples.flatten(1), log_mel).mean()

    @torch.inference_mode()
    def generate(self, codes: Tensor, generator: torch.Generator, log_mel: Tensor | None = None) -> Tensor:
        """Samples [B, T * hop] of codes [B, T, C], drawn one after another."""
        shape = len(codes), codes.shape[1] * self.hop_samples, self.samples.distribution.draws
        noise = torch.rand(shape, generator=generator).to(codes.device)
        return self.to_samples(self.samples.generate(noise, self._condition(codes, log_mel)))

    def to_values(self, samples: Tensor) -> Tensor:
        """Samples as the integers whose distribution is learned."""
        if self.config.amplitudes == "mulaw":
            return companding.to_classes(samples)
        return ((samples.clamp(-1, 1) + 1) / 2 * (LEVELS - 1)).round().long()

    def to_samples(self, values: Tensor) -> Tensor:
        """The sample in the middle of each integer's range."""
        if self.config.amplitudes == "mulaw":
            return companding.from_classes(values)
        return 2 * values / (LEVELS - 1) - 1

    def _through_noise(self, samples: Tensor) -> Tensor:
        """Samples with noise of one level for each sequence, from torch's generator."""
        level = self.config.input_noise * torch.rand(len(samples), 1, device=samples.device)
        return companding.expand((companding.compress(samples) + level * torch.randn_like(samples)).clamp(-1, 1))

    def _condition(self, codes: Tensor, log_mel: Tensor | None) -> Tensor:
        """Codes beside who speaks: [B, T, C + speaker_channels]. Without a log-mel that is the corpus' mean, zero."""
        if self.speaker is None:
            return codes
        if log_mel is None:
            log_mel = codes.new_zeros(len(codes), 1, self.speaker.in_features)
        speaker = self.speaker(log_mel.mean(dim=1, keepdim=True))
        return torch.cat([codes, speaker.expand(-1, codes.shape[1], -1)], dim=-1)
