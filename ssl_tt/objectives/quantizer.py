"""Vector quantisation with codebooks that are the same on every rank."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_tt.objectives.config import QuantizerConfig
from ssl_tt.objectives.jitter import jittered

KMEANS_ROUNDS = 10


class Quantized(NamedTuple):
    """Codes of a sequence, all in fp32."""

    vectors: Tensor
    """[B, T, C]: the codes' vectors, jittered; their gradient goes straight through to the input."""
    codes: Tensor
    """[B, T] int64; [B, T, G] with several groups."""
    commitment: Tensor
    """Mean squared distance of the input to its code; its gradient moves the input only."""
    codebook_loss: Tensor
    """The same distance, whose gradient moves the codes only; 0 where they follow by moving averages."""
    perplexity: Tensor
    """exp of the entropy of the batch's codes: 1 if all are one code, K if all are used alike; a mean over groups."""
    used_codes: Tensor
    """Number of distinct codes in the batch; a mean over groups."""


class Quantizer(nn.Module):
    """Nearest of K codes (van den Oord et al. 2017, arXiv 1711.00937, section 3.1).

    [B, T, C] -> `Quantized`, in fp32 even inside autocast. The channels are split into G groups with codebooks of
    their own (product quantisation: Jegou et al. 2011), kept one below the other as G * K rows. By cosine distance,
    inputs and codes of a group are scaled to length 1, where the nearest code is the one of the smallest angle
    (arXiv 2110.04627, section 3.2).

    Only training changes the codebook. The first training batch gives the initial codes. Then `update()`, once after
    each optimizer step, moves them towards what all batches and ranks since the last update assigned to them (moving
    averages, appendix A.1), unless they are learned by `codebook_loss`; and a code whose averaged count falls below
    `revive_below` takes the place of a random input, its averages starting anew. A learned code that is revived keeps
    its moments in the optimizer, which have long faded by then. Inputs that are not finite touch nothing.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        rows, channels = config.groups * config.codes, config.code_channels // config.groups
        if config.codebook == "learned":
            self.codebook = nn.Parameter(torch.randn(rows, channels))
        else:
            self.register_buffer("codebook", torch.randn(rows, channels))
            self.register_buffer("sums", torch.zeros(rows, channels))
        self.register_buffer("counts", torch.zeros(rows))
        self.register_buffer("started", torch.tensor(False))
        # Inputs and codes since the last update. No buffers, which DDP would overwrite with those of rank 0.
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Quantized:
        with torch.autocast(x.device.type, enabled=False):
            x = self._parts(x)
            learning = self.training and torch.is_grad_enabled()
            if learning and not self.started:
                self._start(x.detach().flatten(0, 1))
            rows = self._nearest(x.detach(), self.codebook.detach())
            codes = self._scaled(self.codebook)[rows]
            if learning:
                self._seen.append((x.detach().flatten(0, 1), rows.flatten(0, 1)))
            learned = self.config.codebook == "learned"
            vectors = _straight_through(x, codes)
            if self.training and self.config.time_jitter:
                vectors = jittered(vectors, self.config.time_jitter)
            share = self._count(rows).view(self.config.groups, -1) / (rows.numel() / self.config.groups)
            return Quantized(
                vectors=vectors,
                codes=self._codes(rows),
                commitment=F.mse_loss(x, codes.detach()),
                codebook_loss=F.mse_loss(codes, x.detach()) if learned else x.new_zeros(()),
                perplexity=torch.special.entr(share).sum(dim=1).exp().mean(),
                used_codes=(share > 0).sum(dim=1).float().mean(),
            )

    def quantize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`codes` and `vectors` alone, as in `Quantized` but never jittered; nothing is learnt from this."""
        with torch.autocast(x.device.type, enabled=False):
            x = self._parts(x)
            codebook = self.codebook.detach()
            rows = self._nearest(x.detach(), codebook)
            return self._codes(rows), _straight_through(x, self._scaled(codebook)[rows])

    def vectors_of(self, codes: Tensor) -> Tensor:
        """The vectors [B, T, C] of codes as in `Quantized`, without gradient."""
        codes = codes.unsqueeze(-1) if self.config.groups == 1 else codes
        return self._scaled(self.codebook.detach())[self._rows(codes)].flatten(2)

    @torch.no_grad()
    def update(self) -> None:
        """Move the codebook by what was seen since the last update; every rank must call it, and all stay equal."""
        if not self._seen:
            return
        vectors = torch.cat([vectors for vectors, _ in self._seen])
        rows = torch.cat([rows for _, rows in self._seen])
        self._seen.clear()
        counts, sums = self._totals(vectors, rows)
        if not sums.isfinite().all():  # on any rank; the codes given to such inputs mean nothing either
            return
        self.counts.lerp_(counts, 1 - self.config.ema_decay)
        alive = self.counts > max(self.config.revive_below, torch.finfo(torch.float32).tiny)
        if self.config.codebook == "ema":
            self.sums.lerp_(sums, 1 - self.config.ema_decay)
            self.codebook[alive] = self.sums[alive] / self.counts[alive, None]
        # Decided from the reduced counts, so every rank takes this branch or none, as the collective inside needs.
        if self.config.revive_below > 0 and not alive.all():
            dead = torch.nonzero(~alive).squeeze(1)
            sample = _sample(vectors, len(dead))  # each dead code takes its group's part of an input of its own
            self._assign(dead, sample[torch.arange(len(dead), device=dead.device), dead // self.config.codes])

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        codebook = rearrange(_sample(vectors, self.config.codes), "k g c -> (g k) c")
        if self.config.codebook_start == "kmeans":
            for _ in range(KMEANS_ROUNDS):
                counts, sums = self._totals(vectors, self._nearest(vectors, codebook))
                taken = counts > 0
                codebook[taken] = sums[taken] / counts[taken, None]
        if codebook.isfinite().all():
            self._assign(torch.arange(len(codebook), device=codebook.device), codebook)
            self.started.fill_(True)

    def _assign(self, rows: Tensor, vectors: Tensor) -> None:
        """New vectors for some codes, with averages as if each had been given one input more than keeps it alive."""
        weight = 1 + self.config.revive_below
        self.codebook[rows] = vectors
        self.counts[rows] = weight
        if self.config.codebook == "ema":
            self.sums[rows] = vectors * weight

    def _totals(self, vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How many inputs [N, G, C / G] of all ranks were given to each row, and their sum."""
        counts = self._count(rows)
        sums = torch.zeros_like(self.codebook).index_add_(0, rows.flatten(), vectors.flatten(0, 1))
        if dist.is_initialized():
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        return counts, sums

    def _count(self, rows: Tensor) -> Tensor:
        return torch.bincount(rows.flatten(), minlength=len(self.codebook)).float()

    def _parts(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, G, C / G], as they are held against the codes."""
        return self._scaled(x.to(self.codebook.dtype).unflatten(-1, (self.config.groups, -1)))

    def _scaled(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.config.distance == "cosine" else vectors

    def _nearest(self, x: Tensor, codebook: Tensor) -> Tensor:
        """Row of the nearest code of each part: [..., G, C / G] -> [..., G] int64."""
        groups = rearrange(self._scaled(codebook), "(g k) c -> g k c", g=self.config.groups)
        # |x - e|^2 without |x|^2, which is the same for every code.
        lengths = groups.square().sum(dim=2)
        distances = torch.baddbmm(
            lengths[:, None], x.flatten(0, -3).transpose(0, 1), groups.transpose(1, 2), alpha=-2
        )  # [G, N, K]
        return self._rows(distances.argmin(dim=2).transpose(0, 1).view(x.shape[:-1]))

    def _rows(self, codes: Tensor) -> Tensor:
        """Where the codes of each group [..., G] stand in the codebook."""
        return codes + self.config.codes * torch.arange(self.config.groups, device=codes.device)

    def _codes(self, rows: Tensor) -> Tensor:
        codes = rows % self.config.codes
        return codes.squeeze(-1) if self.config.groups == 1 else codes


def _straight_through(x: Tensor, codes: Tensor) -> Tensor:
    """The codes, bit for bit, with the gradient of x [B, T, G, C / G] -> [B, T, C]."""
    return (codes.detach() + (x - x.detach())).flatten(2)


def _sample(vectors: Tensor, n: int) -> Tensor:
    """Random inputs [n, G, C / G], the same on every rank: distinct ones as far as there are enough."""
    order = torch.randperm(len(vectors), device=vectors.device)
    sample = vectors[order[torch.arange(n, device=order.device) % len(order)]]
    if dist.is_initialized():
        dist.broadcast(sample, src=0)
    return sample
