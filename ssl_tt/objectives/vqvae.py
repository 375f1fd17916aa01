"""Vector-quantised autoencoder: rebuild the log-mel from one code a frame."""

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.config import VQVAEConfig
from ssl_tt.objectives.decoder import Decoder
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.quantizer import Quantized, Quantizer


class VQVAE(Objective):
    """Vector-quantised autoencoder (van den Oord et al. 2017, arXiv 1711.00937) of the normalised log-mel.

    The log-mel is what is rebuilt whatever the encoder's input, so that losses of different inputs can be compared.
    The loss is the mean squared error of the log-mel (in its standard deviations) plus the weighted commitment, plus
    the codebook's own loss where it does not follow by moving averages (the paper's equation 3).
    """

    def __init__(self, config: VQVAEConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.project = nn.Linear(encoder.output_channels, config.code_channels)
        self.quantizer = Quantizer(config)
        self.decoder = Decoder(encoder.config, config.code_channels, config.decoder_channels or encoder.config.channels)

    def forward(self, batch: Batch) -> Loss:
        log_mel, quantized, reconstruction = self._reconstruct(rearrange(batch.samples, "b s n -> (b s) n"))
        error = F.mse_loss(reconstruction, log_mel)
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
        """Of samples [B, N]: `input` and `reconstruction`, normalised log-mel [B, T * stride, M], and `codes`.

        The codes are [B, T], with several groups [B, T, G].
        """
        log_mel, quantized, reconstruction = self._reconstruct(samples)
        return {"input": log_mel, "reconstruction": reconstruction, "codes": quantized.codes}

    def after_optimizer_step(self) -> None:
        self.quantizer.update()

    def _reconstruct(self, samples: Tensor) -> tuple[Tensor, Quantized, Tensor]:
        features, _ = self.encoder.features(samples)
        log_mel = self.encoder.log_mel_of(samples, features)
        z, _ = self.encoder.encode_features(features)
        quantized = self.quantizer(self.project(z))
        reconstruction = self.decoder(quantized.vectors).float()
        # Feature frames at the end that do not fill the encoder's stride have no code.
        return log_mel[:, : reconstruction.shape[1]], quantized, reconstruction
