"""Vector quantisation with a codebook of moving averages, the same on every rank."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


class Quantized(NamedTuple):
    """Codes of a sequence, all in fp32."""

    vectors: Tensor
    """[B, T, C]: the codes' vectors; their gradient goes straight through to the input."""
    codes: Tensor
    """[B, T] int64."""
    commitment: Tensor
    """Mean squared distance of the input to its code; its gradient moves the input only."""
    perplexity: Tensor
    """exp of the entropy of the batch's codes: 1 if all are one code, K if all codes are used alike."""
    used_codes: Tensor
    """Number of distinct codes in the batch."""


class Quantizer(nn.Module):
    """Nearest of K codes that follow their inputs by moving averages (van den Oord et al. 2017, appendix A.1).

    [B, T, C] -> `Quantized`, in fp32 even inside autocast. Only training changes the codebook: the first training batch
    gives the initial codes, then `update()`, once after each optimizer step, moves them towards what all batches and
    ranks since the last update assigned to them. A code whose averaged count falls below `revive_below` takes the place
    of a random input, and both its averages start anew. Inputs that are not finite touch nothing.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, codes: int, channels: int, decay: float, revive_below: float) -> None:
        super().__init__()
        self.decay = decay
        self.revive_below = revive_below
        self.register_buffer("codebook", torch.randn(codes, channels))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, channels))
        self.register_buffer("started", torch.tensor(False))
        # Inputs and codes since the last update. No buffers, which DDP would overwrite with those of rank 0.
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Quantized:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            learning = self.training and torch.is_grad_enabled()
            if learning and not self.started:
                self._start(x.detach().flatten(0, -2))
            codes = self.nearest(x.detach())
            vectors = self.codebook[codes]
            if learning:
                self._seen.append((x.detach().flatten(0, -2), codes.flatten()))
            share = self._count(codes.flatten()) / codes.numel()
            return Quantized(
                vectors=x + (vectors - x).detach(),
                codes=codes,
                commitment=F.mse_loss(x, vectors),
                perplexity=torch.special.entr(share).sum().exp(),
                used_codes=(share > 0).float().sum(),
            )

    def nearest(self, x: Tensor) -> Tensor:
        """Code of each vector: [..., C] -> [...] int64."""
        with torch.autocast(x.device.type, enabled=False):
            # |x - e|^2 without |x|^2, which is the same for every code.
            lengths = self.codebook.square().sum(dim=1)
            distances = torch.addmm(lengths, x.to(lengths.dtype).flatten(0, -2), self.codebook.T, alpha=-2)
            return distances.argmin(dim=1).view(x.shape[:-1])

    @torch.no_grad()
    def update(self) -> None:
        """Move the codebook by what was seen since the last update; every rank must call it, and all stay equal."""
        if not self._seen:
            return
        vectors = torch.cat([vectors for vectors, _ in self._seen])
        codes = torch.cat([codes for _, codes in self._seen])
        self._seen.clear()
        counts = self._count(codes)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, vectors)
        if dist.is_initialized():
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        if not sums.isfinite().all():  # on any rank; the codes given to such inputs mean nothing either
            return
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        alive = self.counts > max(self.revive_below, torch.finfo(torch.float32).tiny)
        self.codebook[alive] = self.sums[alive] / self.counts[alive, None]
        # Decided from the reduced counts, so every rank takes this branch or none, as the collective inside needs.
        if self.revive_below > 0 and not alive.all():
            self._assign(~alive, self._sample(vectors, int((~alive).sum())))

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        codes = self._sample(vectors, len(self.codebook))
        if codes.isfinite().all():
            self._assign(torch.ones_like(self.counts, dtype=torch.bool), codes)
            self.started.fill_(True)

    def _assign(self, which: Tensor, vectors: Tensor) -> None:
        """New vectors for some codes, with averages as if each had been given one input more than keeps it alive."""
        weight = 1 + self.revive_below
        self.codebook[which] = vectors
        self.counts[which] = weight
        self.sums[which] = vectors * weight

    @staticmethod
    def _sample(vectors: Tensor, n: int) -> Tensor:
        """Random inputs [n, C], the same on every rank: distinct ones as far as there are enough."""
        order = torch.randperm(len(vectors), device=vectors.device)
        sample = vectors[order[torch.arange(n, device=order.device) % len(order)]]
        if dist.is_initialized():
            dist.broadcast(sample, src=0)
        return sample

    def _count(self, codes: Tensor) -> Tensor:
        return torch.bincount(codes, minlength=len(self.codebook)).float()
