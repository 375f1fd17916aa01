"""Contrastive predictive coding: which of these frames comes h steps after this context?"""

import math
from itertools import chain
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.distributed import get_rank, is_initialized
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from ssl_tt.data.augmentation import augment, row_generators
from ssl_tt.data.windows import Batch
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import ContrastConfig
from ssl_tt.objectives.context import build_context
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.negatives import Pool, candidate_sequences, draw_pool
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.predictors import build_predictor
from ssl_tt.objectives.quantizer import Quantized, Quantizer


class CPC(Objective):
    """Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748, section 2) over causal frames.

    The context c_t of all frames up to t predicts frame t + h * step_frames by one linear map a step, h = 1 ... H. The
    loss is InfoNCE: the cross-entropy, in nats, of telling that frame from negatives by the scores <W_h c_t, z> /
    temperature; a mean over frames and then over steps. Negatives are shared by the frames and steps of a sequence.
    With another `predictor` than the paper's, W_h reads what that makes of c_t.

    Further settings are not in the paper. With `targets = "prelayer"` the encoder's first, short-sighted layer is
    predicted. With `predict_from = "both"` the contexts of both speakers predict the future of each: who falls silent
    and who begins is then part of the question, which is what turn-taking asks. With `augment_past` or
    `augment_future` a window is encoded twice in training, and contexts of the one predict frames of the other
    (Kharitonov et al. 2020, arXiv 2007.00991).

    With `speech_only` the frames predicted, and their negatives, are frames in which their channel speaks. The loss is
    still a mean over all frames, 0 where it is silent, so that every process and every accumulated batch weighs a frame
    alike, however much speech it happens to hold: at the start it is `scored` * log(negatives + 1). A sequence with
    less speech than negatives asked for has those that it has; one with none, or none but the frame itself, counts 0.

    With a `quantizer` codes stand for the frames predicted and for the negatives: their vectors, of a linear map of
    the targets. The loss is then InfoNCE plus the weighted commitment, plus the codebook's own loss where it does not
    follow by moving averages. With `targets = "encoder"` the context network reads them too (VQ-CPC: van Niekerk,
    Nortje and Kamper 2020, arXiv 2005.09409, section 2.2); with `targets = "prelayer"` it reads the encoder's output
    as before, as in wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477, section 2). A negative that happens to have the
    positive's code stays one, and ties with it: without such, a codebook that collapsed to one code would have nothing
    to tell apart, and a loss of 0.
    """

    def __init__(self, config: ContrastConfig, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.config = config
        read = encoder.output_channels
        targets = read if config.targets == "encoder" else encoder.prelayer_channels
        self.quantizer: Quantizer | None = None
        if config.quantizer is not None:
            self.project = nn.Linear(targets, config.quantizer.code_channels)
            self.quantizer = Quantizer(config.quantizer)
            targets = config.quantizer.code_channels
            read = targets if config.targets == "encoder" else read
        self.context = build_context(config, read)
        inputs = encoder.output_channels if config.context == "none" else config.context_channels
        inputs *= 2 if config.predict_from == "both" else 1
        predictors = [nn.Linear(inputs, targets, bias=False) for _ in chain(*config.frames_ahead)]
        for predictor in predictors:  # scores near 0 at the start, so the loss is near log(negatives + 1)
            nn.init.normal_(predictor.weight, std=1 / math.sqrt(inputs * targets))
        self.predictors = nn.ModuleList(predictors)
        self.horizons = nn.ModuleList(build_predictor(config, inputs) for _ in config.frames_ahead)

    def forward(self, batch: Batch) -> Loss:
        """Loss of a batch; InputError where the windows are too short for the steps or hold no such negatives."""
        speakers = batch.samples.shape[1]
        samples = rearrange(batch.samples, "b s n -> (b s) n")
        if self.training and (self.config.augment_past.active or self.config.augment_future.active):
            seeds = torch.randint(2**62, (len(batch.samples),)) if batch.seed is None else batch.seed
            past, future = (
                augment(samples, config, self.encoder.sample_rate_hz, row_generators(seeds, speakers, stream))
                for stream, config in enumerate((self.config.augment_past, self.config.augment_future))
            )
            z, context, quantized = self._encode(past, speakers, future)
        else:
            z, context, quantized = self._encode(samples, speakers)
        candidates, pool, scored = self._draw(z, batch)
        negatives = rearrange(candidates, "b t c -> (b t) c")[pool.frames]
        losses, accuracies, shares = self._scores(z, context, negatives, pool, scored)
        parts = {
            "accuracy": accuracies.mean(),
            "loss_first_step": losses[0].detach(),
            "loss_last_step": losses[-1].detach(),
        }
        if shares is None:
            total = losses.mean()
        else:
            total = (losses * shares).mean()
            parts["scored"] = shares.mean()
        if quantized is not None and self.config.quantizer is not None:
            total = total + self.config.quantizer.commitment * quantized.commitment + quantized.codebook_loss
            parts["commitment"] = quantized.commitment.detach()
            parts["perplexity"] = quantized.perplexity
            parts["used_codes"] = quantized.used_codes
        return Loss(total, parts)

    def derived(self, z: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """`context` [B, T, context_channels], if there is such a network.

        Before it, with a quantizer of the encoder's output, `codes`, the vectors that it reads [B, T, code_channels].
        """
        found = {}
        if self.quantizer is not None and self.config.targets == "encoder":
            _, z = self.quantizer.quantize(self.project(z))
            found["codes"] = z
        context, state = self.context(z, state)
        return found if self.config.context == "none" else {**found, "context": context}, state

    def diagnostics(self, samples: Tensor) -> dict[str, Tensor]:
        """`input` log-mel [B, T * stride, M]; `loss_by_step` (nats), `accuracy_by_step` and `frames_ahead`, all [H].

        With several horizons the steps of one follow those of another, H in all. With a quantizer also the targets'
        `codes` [B, T], with several groups [B, T, G].

        The samples [B, N] are the channels of one window. Negatives are all other frames of the same sequence, whatever
        the recipe trains with, so nothing is drawn.
        """
        log_mel, _ = self.encoder.log_mel(samples)
        z, context, quantized = self._encode(samples, speakers=len(samples))
        frames = torch.arange(z.shape[1], device=z.device).expand(z.shape[:2])
        losses, accuracies, _ = self._scores(z, context, z, Pool(frames, left_out=frames, missing=None))
        ahead = torch.tensor(list(chain(*self.config.frames_ahead)), device=z.device)
        drawn = {"input": log_mel, "loss_by_step": losses, "accuracy_by_step": accuracies, "frames_ahead": ahead}
        return drawn if quantized is None else {**drawn, "codes": quantized.codes}

    def after_optimizer_step(self) -> None:
        if self.quantizer is not None:
            self.quantizer.update()

    def _encode(
        self, samples: Tensor, speakers: int, future: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Quantized | None]:
        """Targets [B, T, C], what predicts them [B, T, C'], and their codes, of windows [B, N] in the order "(b s)".

        The targets are those of `future` if it is given, the same windows in another form. Where the context reads
        codes, there are then also those of `samples`, first [2 B, T].
        """
        layers = self.encoder.layers(samples)
        read = layers["encoder"]
        if future is not None:
            layers = self.encoder.layers(future)
        z, quantized = layers["encoder"] if self.config.targets == "encoder" else self.encoder.prelayers(layers), None
        if self.quantizer is not None:
            # What is read and what is predicted are one encoding, unless the future is another: each is quantised once.
            encodings = [read, z] if self.config.targets == "encoder" and future is not None else [z]
            quantized = self.quantizer(self.project(torch.cat(encodings)))
            vectors = quantized.vectors.chunk(len(encodings))
            z, read = vectors[-1], vectors[0] if self.config.targets == "encoder" else read
        context, _ = self.context(read)
        if self.config.predict_from == "both":
            if speakers != 2:
                raise InputError(
                    f'objective.predict_from "both": got windows of {speakers} channels, expected 2, one a speaker; '
                    'choose "own"'
                )
            others = rearrange(rearrange(context, "(b s) t c -> b s t c", s=2).flip(1), "b s t c -> (b s) t c")
            context = torch.cat([context, others], dim=2)
        reach = max(chain(*self.config.frames_ahead))
        if z.shape[1] <= reach:
            raise InputError(
                f"window of {z.shape[1]} frames, expected more than the {reach} that CPC predicts ahead: "
                "raise data.window_seconds or lower objective.steps"
            )
        return z, context, quantized

    def _draw(self, z: Tensor, batch: Batch) -> tuple[Tensor, Pool, Tensor | None]:
        """Sequences to draw from [B', T, C], the pool drawn for each of z's, and z's frames to score [B, T] or None."""
        speech = self._speech(batch) if self.config.speech_only else None
        source, own, drawable = self.config.negatives, torch.arange(len(z), device=z.device), speech
        if source == "all_ranks":
            if self.training and is_initialized():  # a batch of validation is one process's alone
                own = own + get_rank() * len(z)
                z = torch.cat(all_gather(z.contiguous()))  # unlike Accelerate's gather, this one has a gradient
                drawable = None if speech is None else torch.cat(all_gather(speech.byte())).bool()
            candidates = torch.ones(len(own), len(z), dtype=torch.bool, device=z.device)
        else:
            candidates = candidate_sequences(source, batch.conversation, batch.samples.shape[1])
        pool = draw_pool(candidates, own, z.shape[1], self.config.negative_count, drawable)
        return z, pool, None if speech is None else speech & pool.scorable[:, None]

    @staticmethod
    def _speech(batch: Batch) -> Tensor:
        """Frames of each sequence [B, T] in which it speaks."""
        if batch.activity is None:
            raise InputError(
                "objective.speech_only: got conversations without speech segments, expected some for each: let "
                "`ssl-tt prepare` detect them or choose false"
            )
        return rearrange(batch.activity, "b t s -> (b s) t")

    def _scores(
        self, z: Tensor, context: Tensor, negatives: Tensor, pool: Pool, scored: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Loss and accuracy of each step [H], from z [B, T, C], context, and pooled negatives [B, P, C].

        With `scored` [B, T] those are means over such frames, and last comes their share of each step [H].
        """
        losses, accuracies, shares = [], [], []
        predictors = iter(self.predictors)
        for horizon, ahead in zip(self.horizons, self.config.frames_ahead, strict=True):
            for known, offset in zip(horizon(context, ahead, self.config.temperature), ahead, strict=True):
                left_out = None if pool.left_out is None else pool.left_out[:, offset:]
                loss, hits = info_nce(next(predictors)(known), z[:, offset:], negatives, left_out, pool.missing)
                of_step = None if scored is None else scored[:, offset:]
                losses.append(_mean(loss, of_step))
                accuracies.append(_mean(hits.float(), of_step))
                if of_step is not None:
                    shares.append(of_step.float().mean())
        return torch.stack(losses), torch.stack(accuracies), torch.stack(shares) if shares else None


def _mean(values: Tensor, of: Tensor | None) -> Tensor:
    """Mean of values [B, T] where `of` is true, 0 where that is nowhere."""
    return values.mean() if of is None else (values * of).sum() / of.sum().clamp(min=1)


def info_nce(
    predicted: Tensor,
    positive: Tensor,
    negatives: Tensor,
    left_out: Tensor | None = None,
    missing: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each frame's positive among its negatives, nats, and whether it scored highest; both [B, T].

    predicted, positive [B, T, C]; negatives [B, P, C], shared by the frames of a sequence; left_out [B, T] int64: the
    one of them that is no negative of frame t; missing [B, P] bool: those that are of no frame. With equal scores the
    loss is log(negatives + 1).
    """
    score = torch.linalg.vecdot(predicted, positive).float()  # a fifth of the time of einsum, on a CPU in bf16
    others = (predicted @ negatives.transpose(1, 2)).float()
    if left_out is not None:
        others = others.scatter(2, left_out[:, :, None], -torch.inf)
    if missing is not None:  # perhaps all of them, which costs log(1); at -inf its gradient would be no number
        others = others.masked_fill(missing[:, None], -1e30)
    # -log(e^s / (e^s + sum e^o)) = softplus(logsumexp(o) - s): no concatenation of the positive with the negatives.
    loss = F.softplus(others.logsumexp(dim=2) - score)
    return loss, score.detach() > others.detach().amax(dim=2)
