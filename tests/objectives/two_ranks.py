"""Run by torchrun from test_two_ranks.py: each claim that fails is an assertion error on some rank."""

import os
from typing import Any

import torch
import torch.distributed as dist
from small import batch, encoder
from torch.nn.parallel import DistributedDataParallel

from ssl_tt.data.windows import Batch
from ssl_tt.objectives import build
from ssl_tt.objectives.config import (
    APCConfig,
    CPCConfig,
    CPCPart,
    JointConfig,
    QuantizerConfig,
    VAEConfig,
    VQVAE2Config,
    VQVAEConfig,
    VQVAEPart,
)
from ssl_tt.objectives.quantizer import Quantizer


def gathered(value: torch.Tensor) -> list[torch.Tensor]:
    values = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(values, value)
    return values


def quantizer(**settings: Any) -> Quantizer:
    return Quantizer(QuantizerConfig(**settings))


def agree(module: Quantizer) -> bool:
    return all(torch.equal(*gathered(value)) for value in module.state_dict().values())


def negatives_of_all_ranks_give_the_gradient_of_the_whole_batch(rank: int) -> None:
    whole = batch(windows=4)
    draw = torch.Generator().manual_seed(0)
    speech = torch.rand(4, 40, 2, generator=draw) < torch.rand(
        4, 1, 2, generator=draw
    )  # more on one rank than the other
    whole = whole._replace(samples=whole.samples.double(), activity=speech)
    rows = slice(2 * rank, 2 * rank + 2)
    own = Batch(whole.samples[rows], speech[rows], whole.conversation[rows], whole.item[rows])
    for speech_only in (False, True):
        gradients = []
        for source, data in (("all_ranks", own), ("batch", whole)):
            config = CPCConfig(
                context_channels=20, steps=2, negatives=source, negative_count=1000, speech_only=speech_only
            )  # all negatives, so that nothing is drawn
            objective = build(config, encoder()).double()
            objective(data).total.backward()
            gradients.append([p.grad for p in objective.parameters()])
        for of_rank, expected in zip(*gradients, strict=True):
            dist.all_reduce(of_rank)
            torch.testing.assert_close(of_rank / 2, expected, rtol=1e-6, atol=1e-6)


def codebooks_agree(rank: int) -> None:
    torch.manual_seed(rank)  # every rank draws and sees something else
    for changes in (
        {},
        {"codebook_start": "kmeans"},
        {"groups": 3, "codebook_start": "kmeans", "distance": "cosine"},
        {"groups": 3, "codebook": "learned"},
    ):
        module = quantizer(codes=8, code_channels=6, ema_decay=0.5, revive_below=0.4, **changes)
        dist.broadcast(module.codebook.detach(), src=0)  # as DDP does with weights
        module(torch.randn(4, 5, 6) + rank)
        assert module.started
        assert agree(module)
        n_revived = 0
        for step in range(100):
            # Now on one side of the origin, now on the other, and not on both ranks alike, so that codes die.
            x = torch.randn(4, 5, 6) + 2 * rank + 4 * (-1) ** (step // 10)
            before = module.codebook.detach().clone()
            loss = module(x).codebook_loss
            if loss.requires_grad:
                (gradient,) = torch.autograd.grad(loss, module.codebook)
                dist.all_reduce(gradient)
                module.codebook.data -= gradient
            n_revived += int((module.counts < 0.8).sum())  # half of which is less than 0.4
            module.update()
            assert agree(module), (changes, step)
            assert not torch.equal(before, module.codebook)
        assert n_revived > 10, (changes, n_revived)


def an_update_on_two_ranks_is_that_of_the_union(rank: int) -> None:
    torch.manual_seed(0)
    x, codes = torch.randn(4, 5, 3), torch.randn(6, 3)
    counts, totals = torch.full((6,), 1.0), codes.clone()
    nearest = torch.cdist(x.flatten(0, 1), codes).argmin(dim=1)
    for k in range(6):
        counts[k] = 0.9 * counts[k] + 0.1 * (nearest == k).sum()
        totals[k] = 0.9 * totals[k] + 0.1 * x.flatten(0, 1)[nearest == k].sum(dim=0)
    module = quantizer(codes=6, code_channels=3, ema_decay=0.9, revive_below=0.0)
    module._assign(torch.arange(6), codes)
    module.started.fill_(True)
    module(x[2 * rank : 2 * rank + 2])
    module.update()
    torch.testing.assert_close(module.codebook, totals / counts[:, None])


def what_is_not_finite_on_one_rank_touches_nothing_on_any(rank: int) -> None:
    torch.manual_seed(0)
    module = quantizer(codes=6, code_channels=3, ema_decay=0.9, revive_below=0.4)
    torch.manual_seed(rank)
    for bad_rank in (0, 1, None):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        x = torch.randn(4, 5, 3)
        module(x * torch.nan if rank == bad_rank else x)
        module.update()
        assert agree(module)
        # Rank 0 gives the first codes, so what fails on rank 1 comes after a start.
        touched = not all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        assert touched == (bad_rank != 0), bad_rank
        if bad_rank == 1:
            assert torch.equal(module.counts, torch.full((6,), 1.4))


def codes_of_k_means_are_the_means_of_the_inputs_of_all_ranks(rank: int) -> None:
    torch.manual_seed(rank)
    module = quantizer(codes=4, code_channels=3, codebook_start="kmeans")
    x = torch.randn(4, 5, 3) + rank
    codes = module(x).codes
    every_x, every_code = torch.cat(gathered(x)), torch.cat(gathered(codes))
    for k in range(4):
        torch.testing.assert_close(module.codebook[k], every_x[every_code == k].mean(dim=0))


def what_is_not_finite_on_one_rank_starts_no_k_means_on_any(rank: int) -> None:
    for bad_rank in (0, 1, None):
        torch.manual_seed(0)
        module = quantizer(codes=6, code_channels=4, groups=2, codebook_start="kmeans")
        before = module.codebook.clone()
        torch.manual_seed(rank)
        x = torch.randn(4, 5, 4)
        module(x * torch.nan if rank == bad_rank else x)
        assert module.started == (bad_rank is None)
        assert torch.equal(module.codebook, before) == (bad_rank is not None)
        assert agree(module)


def objectives_agree_after_accumulated_steps(rank: int) -> None:
    codes = {"codes": 8, "code_channels": 6, "groups": 2, "codebook_start": "kmeans", "time_jitter": 0.2}
    for config in (
        APCConfig(context_channels=20),
        CPCConfig(context_channels=20, steps=3, negatives="all_ranks", quantizer=QuantizerConfig(codes=8)),
        VAEConfig(beta_warmup_steps=2),
        VQVAEConfig(codebook="learned", distance="cosine", **codes),
        VQVAE2Config(**codes),
        JointConfig(parts={"contrast": CPCPart(context_channels=20, steps=3), "codes": VQVAEPart(**codes)}),
    ):
        objective = build(config, encoder())
        wrapped = DistributedDataParallel(objective)
        optimizer = torch.optim.AdamW(objective.parameters(), lr=4e-3)
        for step in range(4):
            torch.manual_seed(2 * step + rank)
            with wrapped.no_sync():
                wrapped(batch(windows=2, frames=12, seed=4 * step + rank)).total.backward()
            wrapped(batch(windows=2, frames=12, seed=4 * step + 2 + rank)).total.backward()
            optimizer.step()
            optimizer.zero_grad()
            objective.after_optimizer_step()
        for name, value in objective.state_dict().items():
            assert torch.equal(*gathered(value)), (config.kind, name)


def main() -> None:
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    for claim in (
        negatives_of_all_ranks_give_the_gradient_of_the_whole_batch,
        codebooks_agree,
        an_update_on_two_ranks_is_that_of_the_union,
        what_is_not_finite_on_one_rank_touches_nothing_on_any,
        codes_of_k_means_are_the_means_of_the_inputs_of_all_ranks,
        what_is_not_finite_on_one_rank_starts_no_k_means_on_any,
        objectives_agree_after_accumulated_steps,
    ):
        claim(dist.get_rank())
        print(f"held on rank {dist.get_rank()}: {claim.__name__}\n", end="", flush=True)  # one write, never interleaved
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # Gloo's threads abort about one interpreter in ten as it ends, after all is done (torch 2.11)


if __name__ == "__main__":
    main()
