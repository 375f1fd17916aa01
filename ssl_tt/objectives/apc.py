"""Autoregressive predictive coding: what will the log-mel be, some frames from now?"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import APCConfig
from ssl_tt.objectives.context import build_context
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective


class APC(Objective):
    """Autoregressive predictive coding (Chung et al. 2019, arXiv 1904.03240, section 2.1) of the normalised log-mel.

    From the context of all frames up to t one linear map predicts the log-mel of encoder frame t + steps_ahead, all
    `stride` front-end frames of it; the loss is the mean absolute error, in the log-mel's standard deviations. The
    prediction starts from the mean of the corpus, so the first loss is the mean absolute value of the targets.
    """

    def __init__(self, config: APCConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.context = build_context(config, encoder.output_channels)
        inputs = encoder.output_channels if config.context == "none" else config.context_channels
        self.predictor = nn.Linear(inputs, encoder.config.stride * encoder.log_mel.config.mel_bands)
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, batch: Batch) -> Loss:
        """Loss of a batch; InputError where the windows are no longer than the steps ahead."""
        log_mel, predicted = self._predict(rearrange(batch.samples, "b s n -> (b s) n"))
        ahead = self.config.steps_ahead * self.encoder.config.stride
        loss = F.l1_loss(predicted[:, ahead:], log_mel[:, ahead:])
        # What a guess that nothing changes would have cost.
        held = F.l1_loss(log_mel[:, :-ahead], log_mel[:, ahead:])
        return Loss(loss, {"held": held.detach()})

    def derived(self, z: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """`context` [B, T, context_channels], if there is such a network."""
        context, state = self.context(z, state)
        return {} if self.config.context == "none" else {"context": context}, state

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """`input`, normalised log-mel, and `prediction`, what was said of each frame; both [B, T * stride, M].

        Nothing was said of the first frames, which are 0, the mean of the corpus.
        """
        log_mel, predicted = self._predict(samples)
        return {"input": log_mel, "prediction": predicted}

    def _predict(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel of samples [B, N] and what was predicted of it, frame by frame: both [B, T * stride, M]."""
        log_mel, z = self.encoder.log_mel_and_representation(samples)
        ahead, stride = self.config.steps_ahead, self.encoder.config.stride
        if z.shape[1] <= ahead:
            raise InputError(
                f"window of {z.shape[1]} frames, expected more than the {ahead} that APC predicts ahead: "
                "raise data.window_seconds or lower objective.steps_ahead"
            )
        context, _ = self.context(z)
        predicted = self.predictor(context[:, :-ahead]).float()
        predicted = rearrange(predicted, "b t (stride m) -> b (t stride) m", stride=stride)
        return log_mel, torch.cat([torch.zeros_like(log_mel[:, : ahead * stride]), predicted], dim=1)
