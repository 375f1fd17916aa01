"""Contrastive predictive coding: which of these frames comes h steps after this context?"""

import math
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import get_rank, is_initialized
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder, EncoderState
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import CPCConfig
from ssl_tt.objectives.context import build_context
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.negatives import Pool, candidate_sequences, draw_pool
from ssl_tt.objectives.objective import Objective


class CPCState(NamedTuple):
    """Past of the encoder and of the context network."""

    encoder: EncoderState
    context: Any


class CPC(Objective):
    """Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748, section 2) over causal frames.

    The context c_t of all frames up to t predicts frame t + h * step_frames by one linear map a step, h = 1 ... H. The
    loss is InfoNCE: the cross-entropy, in nats, of telling that frame from negatives by the scores <W_h c_t, z> /
    temperature; a mean over frames and then over steps. Negatives are shared by the frames and steps of a sequence.

    Two settings are not in the paper. With `targets = "prelayer"` the encoder's first, short-sighted layer is
    predicted. With `predict_from = "both"` the contexts of both speakers predict the future of each: who falls silent
    and who begins is then part of the question, which is what turn-taking asks.
    """

    def __init__(self, config: CPCConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        self.context = build_context(config, encoder.output_channels)
        inputs = encoder.output_channels if config.context == "none" else config.context_channels
        inputs *= 2 if config.predict_from == "both" else 1
        targets = encoder.output_channels if config.targets == "encoder" else encoder.prelayer_channels
        predictors = [nn.Linear(inputs, targets, bias=False) for _ in range(config.steps)]
        for predictor in predictors:  # scores near 0 at the start, so the loss is near log(negatives + 1)
            nn.init.normal_(predictor.weight, std=1 / math.sqrt(inputs * targets))
        self.predictors = nn.ModuleList(predictors)

    def forward(self, batch: Batch) -> Loss:
        """Loss of a batch; InputError where the windows are too short for the steps or hold no such negatives."""
        speakers = batch.samples.shape[1]
        z, context = self._encode(rearrange(batch.samples, "b s n -> (b s) n"), speakers)
        candidates, pool = self._draw(z, batch.conversation, speakers)
        losses, accuracies = self._scores(z, context, rearrange(candidates, "b t c -> (b t) c")[pool.frames], pool)
        parts = {
            "accuracy": accuracies.mean(),
            "loss_first_step": losses[0].detach(),
            "loss_last_step": losses[-1].detach(),
        }
        return Loss(losses.mean(), parts)

    def representations(self, samples: Tensor, state: CPCState | None = None) -> tuple[dict[str, Tensor], CPCState]:
        """`encoder` [B, T, C] and, if there is such a network, `context` [B, T, context_channels] of samples [B, N]."""
        z, encoder_state = self.encoder(samples, state.encoder if state else None)
        context, context_state = self.context(z, state.context if state else None)
        found = {"encoder": z} if self.config.context == "none" else {"encoder": z, "context": context}
        return found, CPCState(encoder_state, context_state)

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """`input` log-mel [B, T * stride, M]; `loss_by_step` (nats) and `accuracy_by_step`, both [H].

        The samples [B, N] are the channels of one window. Negatives are all other frames of the same sequence, whatever
        the recipe trains with, so nothing is drawn.
        """
        log_mel, _ = self.encoder.log_mel(samples)
        z, context = self._encode(samples, speakers=len(samples))
        frames = torch.arange(z.shape[1], device=z.device).expand(z.shape[:2])
        losses, accuracies = self._scores(z, context, z, Pool(frames, left_out=frames))
        return {"input": log_mel, "loss_by_step": losses, "accuracy_by_step": accuracies}

    def _encode(self, samples: Tensor, speakers: int) -> tuple[Tensor, Tensor]:
        """Targets [B, T, C] and what predicts them [B, T, C'], of whole windows [B, N] in the order "(b s)"."""
        layers = self.encoder.layers(samples)
        context, _ = self.context(layers["encoder"])
        if self.config.predict_from == "both":
            if speakers != 2:
                raise InputError(
                    f'objective.predict_from "both": got windows of {speakers} channels, expected 2, one a speaker; '
                    'choose "own"'
                )
            others = rearrange(rearrange(context, "(b s) t c -> b s t c", s=2).flip(1), "b s t c -> (b s) t c")
            context = torch.cat([context, others], dim=2)
        z = layers["encoder"] if self.config.targets == "encoder" else self.encoder.prelayers(layers)
        reach = self.config.steps * self.config.step_frames
        if z.shape[1] <= reach:
            raise InputError(
                f"window of {z.shape[1]} frames, expected more than the {reach} that CPC predicts ahead: "
                "raise data.window_seconds or lower objective.steps"
            )
        return z, context

    def _draw(self, z: Tensor, conversation: Tensor, speakers: int) -> tuple[Tensor, Pool]:
        """Sequences to draw from [B', T, C] and the pool drawn for each of z's."""
        source, own = self.config.negatives, torch.arange(len(z), device=z.device)
        if source == "all_ranks":
            if is_initialized():
                own = own + get_rank() * len(z)
                z = torch.cat(all_gather(z.contiguous()))  # unlike Accelerate's gather, this one has a gradient
            candidates = torch.ones(len(own), len(z), dtype=torch.bool, device=z.device)
        else:
            candidates = candidate_sequences(source, conversation, speakers)
        return z, draw_pool(candidates, own, z.shape[1], self.config.negative_count)

    def _scores(self, z: Tensor, context: Tensor, negatives: Tensor, pool: Pool) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of each step [H], from z [B, T, C], context, and pooled negatives [B, P, C]."""
        context = context / self.config.temperature
        losses, accuracies = [], []
        for h, predictor in enumerate(self.predictors, start=1):
            offset = h * self.config.step_frames
            left_out = None if pool.left_out is None else pool.left_out[:, offset:]
            loss, hits = info_nce(predictor(context[:, :-offset]), z[:, offset:], negatives, left_out)
            losses.append(loss.mean())
            accuracies.append(hits.float().mean())
        return torch.stack(losses), torch.stack(accuracies)


def info_nce(
    predicted: Tensor, positive: Tensor, negatives: Tensor, left_out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each frame's positive among its negatives, nats, and whether it scored highest; both [B, T].

    predicted, positive [B, T, C]; negatives [B, P, C], shared by the frames of a sequence; left_out [B, T] int64: the
    one of them that is no negative of frame t. With equal scores the loss is log(negatives + 1).
    """
    score = torch.linalg.vecdot(predicted, positive).float()  # a fifth of the time of einsum, on a CPU in bf16
    others = (predicted @ negatives.transpose(1, 2)).float()
    if left_out is not None:
        others = others.scatter(2, left_out[:, :, None], -torch.inf)
    # -log(e^s / (e^s + sum e^o)) = softplus(logsumexp(o) - s): no concatenation of the positive with the negatives.
    loss = F.softplus(others.logsumexp(dim=2) - score)
    return loss, score.detach() > others.detach().amax(dim=2)
