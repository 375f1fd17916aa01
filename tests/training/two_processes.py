"""Run by torchrun from test_two_processes.py: a loss that is no number on one process stops both before the step."""

import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ssl_tt import recipe
from ssl_tt.errors import RunError
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.loss import Loss
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain


def main(path: str, run: str) -> None:
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
    print(f"stopped on rank {dist.get_rank()} of {dist.get_world_size()}\n", end="", flush=True)
    dist.barrier()
    os._exit(0)  # Gloo's threads abort about one interpreter in ten as it ends, after all is done (torch 2.11)


if __name__ == "__main__":
    main(*sys.argv[1:])
