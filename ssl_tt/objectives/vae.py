"""Variational autoencoder: rebuild the log-mel from a Gaussian latent a frame."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.config import VAEConfig
from ssl_tt.objectives.decoder import Decoder
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective

# A channel whose divergence is below this says next to nothing of its frame.
ACTIVE_NATS = 0.01


class VAE(Objective):
    """Variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) of the normalised log-mel.

    Each frame's posterior is a Gaussian of independent channels, each frame's prior the unit Gaussian. The decoder
    says the mean of a Gaussian of variance 1 (in the log-mel's own variances), so a frame of D values costs D / 2 times
    their mean squared error, nats, and the divergence of its posterior. The loss is that in units of D / 2,

        mean squared error + beta * 2 / D * divergence,

    the evidence lower bound (negative, up to a constant) at beta 1, on the scale of the VQ-VAE's loss. Another beta is
    that of Higgins et al. 2017; with free nats, channels whose divergence is below them cost as much as if it were not
    (Kingma et al. 2016, arXiv 1606.04934, appendix C.8).
    """

    steps: Tensor

    def __init__(self, config: VAEConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.mean = nn.Linear(encoder.output_channels, config.latent_channels)
        self.log_variance = nn.Linear(encoder.output_channels, config.latent_channels)
        self.decoder = Decoder(
            encoder.config, config.latent_channels, config.decoder_channels or encoder.config.channels
        )
        self.register_buffer("steps", torch.tensor(0))  # optimizer steps so far: beta is a function of them

    def forward(self, batch: Batch) -> Loss:
        log_mel, z = self.encoder.log_mel_and_representation(rearrange(batch.samples, "b s n -> (b s) n"))
        mean, log_variance = self.mean(z).float(), self.log_variance(z).float()
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = F.mse_loss(self.decoder(latent).float(), log_mel)
        divergence = divergence_from_unit_gaussian(mean, log_variance).mean(dim=(0, 1))  # [C]
        values = self.encoder.config.stride * log_mel.shape[2]
        parts = {
            "reconstruction": error.detach(),
            "divergence": divergence.detach().sum(),
            "active_channels": (divergence > ACTIVE_NATS).float().sum(),
            "beta": error.new_tensor(self.beta),
        }
        weight = self.beta * 2 / values
        return Loss(error + weight * divergence.clamp(min=self.config.free_nats).sum(), parts)

    def derived(self, z: Tensor, state: None = None) -> tuple[dict[str, Tensor], None]:
        """`latent`, the posterior's mean [B, T, latent_channels]."""
        return {"latent": self.mean(z)}, state

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """Normalised log-mel `input` and, from the posterior's mean, `reconstruction`; [B, T * stride, M]."""
        log_mel, z = self.encoder.log_mel_and_representation(samples)
        return {"input": log_mel, "reconstruction": self.decoder(self.mean(z)).float()}

    @property
    def beta(self) -> float:
        """Weight of the divergence now; all of it in evaluation, so that the losses of all validations compare."""
        if not self.training or self.config.beta_warmup_steps == 0:
            return self.config.beta
        return self.config.beta * min(1.0, int(self.steps) / self.config.beta_warmup_steps)

    @torch.no_grad()
    def after_optimizer_step(self) -> None:
        self.steps += 1


def divergence_from_unit_gaussian(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Gaussians from the unit one, nats, element by element.

    0 for mean 0 and log variance 0; mean^2 / 2 for a shifted unit Gaussian (arXiv 1312.6114, appendix B).
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
