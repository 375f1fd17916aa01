"""Run by torchrun from test_two_processes.py: what goes wrong on one process is known to both, which stop together."""

import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ssl_tt import recipe
from ssl_tt.data.windows import Window, Windows
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.loss import Loss
from ssl_tt.training import loop
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain


def main(path: str, run: str) -> None:
    unreadable_windows_are_counted_over_all_processes(path, Path(run).with_name("unreadable"))
    a_loss_that_is_no_number_on_one_process_stops_both_before_the_step(path, run)
    print(f"stopped on rank {dist.get_rank()} of {dist.get_world_size()}\n", end="", flush=True)
    dist.barrier()
    os._exit(0)  # Gloo's threads abort about one interpreter in ten as it ends, after all is done (torch 2.11)


def unreadable_windows_are_counted_over_all_processes(path: str, out: Path) -> None:
    bad: set[int] = set()
    training = [False]  # the corpus statistics are taken before, by each process for itself
    read, train = Windows.__getitem__, loop.train

    def read_unless_bad(self: Windows, item: int) -> Window:
        if training[0] and self.swap_channels and item in bad:  # which those of validation are not
            raise InputError(f"item {item} on rank {dist.get_rank()}: ü" + item * "!")
        return read(self, item)

    def train_then(*arguments: Any, **options: Any) -> dict[str, Any]:
        training[0] = True
        return train(*arguments, **options)

    def run(share: float, name: str) -> str:
        training[0] = False
        options = ["--training.steps", "6", "--training.accumulation", "1", "--training.batch_windows", "4"]
        settings = recipe.load(path, PretrainRecipe, [*options, "--data.max_unreadable_share", str(share)])
        try:
            pretrain(settings, out / name, quiet=True)
        except RunError as error:
            return str(error)
        return ""

    def entries(name: str) -> list[dict[str, Any]]:
        dist.barrier()
        return [json.loads(line) for line in (out / name / "quarantine.jsonl").read_text().splitlines()]

    Windows.__getitem__, loop.train = read_unless_bad, train_then  # type: ignore[method-assign]
    bad |= {2, 8}  # step 0 on the second process, step 2 on the first
    for _ in range(2):  # the second time the run is over, and its list is only read
        assert run(0.5, "many") == ""
        found = [(each["item"], each["error"]) for each in entries("many")]
        assert found == [(2, "item 2 on rank 1: ü!!"), (8, "item 8 on rank 0: ü!!!!!!!!")], found
    assert all(Path(each["path"]).stem == each["conversation"] for each in entries("many"))
    assert json.loads((out / "many" / "cost.json").read_text())["unreadable_windows"] == 2
    # One of the 24 windows of the epoch may be bad: the one of each process makes two.
    assert "2 of 24 windows of epoch 0 cannot be read, more than the share of 0.05; the last: item 8" in run(
        0.05, "few"
    )
    assert len(entries("few")) == 2
    # Whatever the second process draws at first.
    bad |= set(range(24)) if dist.get_rank() else set()
    assert "stopped at step 0: whatever window is drawn cannot be read" in run(1.0, "none")
    Windows.__getitem__, loop.train = read, train  # type: ignore[method-assign]


def a_loss_that_is_no_number_on_one_process_stops_both_before_the_step(path: str, run: str) -> None:
    settings = recipe.load(path, PretrainRecipe, ["--training.save_every_steps", "1", "--training.accumulation", "1"])
    forward = CPC.forward
    before: dict[str, torch.Tensor] = {}
    objectives: list[CPC] = []

    def poisoned(self: CPC, batch: Any) -> Loss:
        loss = forward(self, batch)
        if self.training:
            before.update({name: value.detach().clone() for name, value in self.state_dict().items()})
            objectives[:] = [self]
            if 15 in batch.item:  # step 3, on the second process alone
                assert dist.get_rank() == 1
                return loss._replace(total=loss.total * math.nan)
        return loss

    CPC.forward = poisoned  # type: ignore[method-assign]
    try:
        pretrain(settings, Path(run), quiet=True)
    except RunError as error:
        said = str(error)
    assert dist.get_world_size() == 2
    assert "the loss at step 3 is nan" in said, said
    assert re.search(r"items 12 \(.* s\), 13 \(.* s\), 14 \(.* s\), 15 \(conversation-\d at \d\.\d\d s\)", said), said
    assert all(torch.equal(value, before[name]) for name, value in objectives[0].state_dict().items())


if __name__ == "__main__":
    main(*sys.argv[1:])
