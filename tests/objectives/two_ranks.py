"""Run by torchrun from test_two_ranks.py: each claim that fails is an assertion error on some rank."""

import os

import torch
import torch.distributed as dist
from small import batch, encoder

from ssl_tt.data.windows import Batch
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig
from ssl_tt.objectives.quantizer import Quantizer


def gathered(value: torch.Tensor) -> list[torch.Tensor]:
    values = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(values, value)
    return values


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
    module = Quantizer(codes=8, channels=3, decay=0.5, revive_below=0.4)
    module(torch.randn(4, 5, 3) + rank)
    assert module.started
    assert agree(module)
    for step in range(10):
        x = torch.randn(4, 5, 3) + 3 * step * rank  # a spread that grows, so that codes die
        before = module.codebook.clone()
        module(x)
        module.update()
        assert agree(module)
        assert not torch.equal(before, module.codebook)


def an_update_on_two_ranks_is_that_of_the_union(rank: int) -> None:
    torch.manual_seed(0)
    x, codes = torch.randn(4, 5, 3), torch.randn(6, 3)
    counts, totals = torch.full((6,), 1.0), codes.clone()
    nearest = torch.cdist(x.flatten(0, 1), codes).argmin(dim=1)
    for k in range(6):
        counts[k] = 0.9 * counts[k] + 0.1 * (nearest == k).sum()
        totals[k] = 0.9 * totals[k] + 0.1 * x.flatten(0, 1)[nearest == k].sum(dim=0)
    module = Quantizer(codes=6, channels=3, decay=0.9, revive_below=0.0)
    module._assign(torch.ones(6, dtype=torch.bool), codes)
    module.started.fill_(True)
    module(x[2 * rank : 2 * rank + 2])
    module.update()
    torch.testing.assert_close(module.codebook, totals / counts[:, None])


def what_is_not_finite_on_one_rank_touches_nothing_on_any(rank: int) -> None:
    torch.manual_seed(0)
    module = Quantizer(codes=6, channels=3, decay=0.9, revive_below=0.4)
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


def main() -> None:
    dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    for claim in (
        negatives_of_all_ranks_give_the_gradient_of_the_whole_batch,
        codebooks_agree,
        an_update_on_two_ranks_is_that_of_the_union,
        what_is_not_finite_on_one_rank_touches_nothing_on_any,
    ):
        claim(dist.get_rank())
        print(f"held on rank {dist.get_rank()}: {claim.__name__}\n", end="", flush=True)  # one write, never interleaved
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # Gloo's threads abort about one interpreter in ten as it ends, after all is done (torch 2.11)


if __name__ == "__main__":
    main()
