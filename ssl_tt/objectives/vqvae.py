"""Vector-quantised autoencoder: rebuild the log-mel, or the samples, from one code a frame."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.config import VQVAEConfig
from ssl_tt.objectives.decoder import Decoder, build_decoder
from ssl_tt.objectives.griffinlim import griffin_lim
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.quantizer import Quantized, Quantizer


class VQVAE(Objective):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937) of the normalised log-mel.

    The log-mel is what is rebuilt whatever the encoder's input, so that losses of different inputs can be compared.
    The loss is the mean squared error of the log-mel (in its standard deviations) plus the weighted commitment, plus
    the codebook's own loss where it does not follow by moving averages (the paper's equation 3). With a WaveNet for a
    decoder, as in the paper, the samples are rebuilt, and the error is -log p of a sample, in nats.
    """

    code_levels: ClassVar[Mapping[str, str | None]] = {"codes": None}

    def __init__(self, config: VQVAEConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.project = nn.Linear(encoder.output_channels, config.code_channels)
        self.quantizer = Quantizer(config)
        channels = config.decoder_channels or encoder.config.channels
        self.decoder = build_decoder(config.decoder, encoder.config, config.code_channels, channels)

    def forward(self, batch: Batch) -> Loss:
        samples = rearrange(batch.samples, "b s n -> (b s) n")
        log_mel, quantized = self._encode(samples)
        error = self.decoder.error(quantized.vectors, log_mel, samples)
        parts = {
            "reconstruction": error.detach(),
            "commitment": quantized.commitment.detach(),
            "perplexity": quantized.perplexity,
            "used_codes": quantized.used_codes,
        }
        return Loss(error + self.config.commitment * quantized.commitment + quantized.codebook_loss, parts)

    def derived(self, z: Tensor, state: None = None) -> tuple[dict[str, Tensor], None]:
        """`codes`, the vectors of the nearest codes [B, T, code_channels]."""
        _, vectors = self.quantizer.quantize(self.project(z))
        return {"codes": vectors}, state

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """Of samples [B, N]: `input`, normalised log-mel [B, T * stride, M]; `codes`; and `reconstruction`, like
        `input`, where the decoder gives a log-mel.

        The codes are [B, T], with several groups [B, T, G].
        """
        log_mel, quantized = self._encode(samples)
        drawn = {"input": log_mel, "codes": quantized.codes}
        if isinstance(self.decoder, Decoder):
            drawn["reconstruction"] = self.decoder(quantized.vectors).float()
        return drawn

    @torch.inference_mode()
    def sound(self, coded: Mapping[str, Tensor], seed: int, log_mel: Tensor | None = None) -> Tensor:
        """Samples [B, T * hop_samples] that the decoder makes of codes, by a vocoder where it gives a log-mel.

        `coded` holds the codes as `diagnostics` does; log_mel [B, T * stride, M] tells a WaveNet that asks for it who
        speaks.
        """
        vectors = self.quantizer.vectors_of(coded["codes"])
        if isinstance(self.decoder, Decoder):
            return griffin_lim(self.encoder.log_mel, self.decoder(vectors), seed)
        return self.decoder.generate(vectors, torch.Generator().manual_seed(seed), log_mel)

    def after_optimizer_step(self) -> None:
        self.quantizer.update()

    def _encode(self, samples: Tensor) -> tuple[Tensor, Quantized]:
        log_mel, z = self.encoder.log_mel_and_representation(samples)
        return log_mel, self.quantizer(self.project(z))
