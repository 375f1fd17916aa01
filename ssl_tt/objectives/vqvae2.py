"""VQ-VAE-2: rebuild the log-mel from two levels of codes, a slow one for what lasts and a fast one for the rest."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import VQVAE2Config
from ssl_tt.objectives.decoder import Decoder
from ssl_tt.objectives.griffinlim import griffin_lim
from ssl_tt.objectives.layers import LayerStates
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.quantizer import Quantized, Quantizer
from ssl_tt.objectives.top_level import Hold, top_decoder, top_encoder


class VQVAE2State(NamedTuple):
    """Past of the top level, of what it holds for the frames below, and of its decoder."""

    top: LayerStates
    held: Tensor
    told: LayerStates


class VQVAE2(Objective):
    """Two levels of codes (Razavi et al. 2019, arXiv 1906.00446, section 3.1), both causal, on the normalised log-mel.

    The top level is computed from the encoder's output at a lower frame rate and quantised. Its codes, held until the
    next are known, are decoded and told to the bottom level, which quantises each frame of the encoder given that; the
    log-mel is rebuilt from the codes of both. The loss is that of the VQ-VAE with a commitment for each level.
    """

    code_levels: ClassVar[Mapping[str, str | None]] = {"codes_top": None, "codes_bottom": "codes_top"}

    def __init__(self, config: VQVAE2Config, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        channels = config.top_channels or encoder.config.channels
        self.top = top_encoder(config, encoder.output_channels, channels)
        self.top_quantizer = Quantizer(config)
        self.hold = Hold(config.top_stride)
        self.told = top_decoder(config, channels)
        self.project = nn.Linear(encoder.output_channels + channels, config.code_channels)
        self.bottom_quantizer = Quantizer(config)
        self.decoder = Decoder(
            encoder.config, 2 * config.code_channels, config.decoder_channels or encoder.config.channels
        )

    def forward(self, batch: Batch) -> Loss:
        """Loss of a batch; InputError where the windows are too short for a frame of the top level."""
        log_mel, top, bottom, reconstruction = self._reconstruct(rearrange(batch.samples, "b s n -> (b s) n"))
        error = F.mse_loss(reconstruction, log_mel)
        commitment = top.commitment + bottom.commitment
        codebook_loss = top.codebook_loss + bottom.codebook_loss
        parts = {
            "reconstruction": error.detach(),
            "commitment": commitment.detach(),
            "perplexity_top": top.perplexity,
            "perplexity_bottom": bottom.perplexity,
            "used_codes_top": top.used_codes,
            "used_codes_bottom": bottom.used_codes,
        }
        return Loss(error + self.config.commitment * commitment + codebook_loss, parts)

    def derived(self, z: Tensor, state: VQVAE2State | None = None) -> tuple[dict[str, Tensor], VQVAE2State]:
        """`bottom` and `top`, vectors of the codes [B, T, code_channels].

        The top's are those that are known at the end of each frame, zeros before the first.
        """
        top, top_state = self.top(z, state.top if state else None)
        held, held_state = self.hold(self.top_quantizer.quantize(top)[1], z.shape[1], state.held if state else None)
        told, told_state = self.told(held, state.told if state else None)
        _, bottom = self.bottom_quantizer.quantize(self.project(torch.cat((z, told), dim=2)))
        return {"bottom": bottom, "top": held}, VQVAE2State(top_state, held_state, told_state)

    @property
    def cycle_samples(self) -> int:
        """A frame of the top level."""
        return self.encoder.hop_samples * self.config.top_stride

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """Of samples [B, N]: `input` and `reconstruction`, normalised log-mel [B, T * stride, M], and codes.

        `codes_bottom` [B, T] and `codes_top` [B, T // top_stride], with several groups [..., G].
        """
        log_mel, top, bottom, reconstruction = self._reconstruct(samples)
        return {
            "input": log_mel,
            "reconstruction": reconstruction,
            "codes_bottom": bottom.codes,
            "codes_top": top.codes,
        }

    @torch.inference_mode()
    def sound(self, coded: Mapping[str, Tensor], seed: int) -> Tensor:
        """Samples [B, T * hop_samples] that a vocoder makes of the log-mel of codes, which are as in `diagnostics`."""
        bottom = self.bottom_quantizer.vectors_of(coded["codes_bottom"])
        held, _ = self.hold(self.top_quantizer.vectors_of(coded["codes_top"]), bottom.shape[1])
        return griffin_lim(self.encoder.log_mel, self.decoder(torch.cat((held, bottom), dim=2)), seed)

    def after_optimizer_step(self) -> None:
        self.top_quantizer.update()
        self.bottom_quantizer.update()

    def _reconstruct(self, samples: Tensor) -> tuple[Tensor, Quantized, Quantized, Tensor]:
        log_mel, z = self.encoder.log_mel_and_representation(samples)
        if z.shape[1] < self.config.top_stride:
            raise InputError(
                f"window of {z.shape[1]} frames, expected at least the {self.config.top_stride} of a frame of the top "
                "level: raise data.window_seconds or lower objective.top_stride"
            )
        top = self.top_quantizer(self.top(z)[0])
        held, _ = self.hold(top.vectors, z.shape[1])
        told, _ = self.told(held)
        bottom = self.bottom_quantizer(self.project(torch.cat((z, told), dim=2)))
        reconstruction = self.decoder(torch.cat((held, bottom.vectors), dim=2)).float()
        return log_mel, top, bottom, reconstruction
