"""The processes of a run: started by torchrun, joined by Accelerate, each with all of the weights (data parallel).

What a run does is a function of the recipe alone: its processes draw the windows that one process would, and agree on
all that is decided. Without torchrun there is one, and everything here is about one.
"""

import hashlib
import os
from collections.abc import Sequence
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import gather, reduce

from ssl_tt.errors import InputError
from ssl_tt.training.config import TrainingConfig

PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which simulates corpora alone; torchrun ends them at once if one dies."""

_OTHER_ENGINES = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "Accelerate's parallelism config",
}
_OFF = {"", "0", "false", "f", "no", "n", "off"}


def join(config: TrainingConfig) -> None:
    """Meet the other processes of the run, if torchrun has started some; on CPU where there is no accelerator.

    InputError for an engine that splits the weights, and for a number of processes that the batch cannot be shared by.
    """
    for variable, engine in _OTHER_ENGINES.items():
        if os.environ.get(variable, "").lower() not in _OFF:
            raise InputError(
                f"{variable}={os.environ[variable]}: {engine} splits the weights, expected processes that have all "
                f"of them, which one GPU holds with ease: unset {variable} and start with torchrun"
            )
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    world, started = state.num_processes, int(os.environ.get("WORLD_SIZE", "1"))
    if world != started:
        raise InputError(
            f"{started} processes were started, but this one knows of {world}: start them with torchrun, before "
            "anything else in the process uses Accelerate"
        )
    if config.batch_windows % (config.accumulation * world):
        batch = config.batch_windows // config.accumulation
        fitting = [str(n) for n in range(1, batch + 1) if batch % n == 0]
        said = fitting[0] if len(fitting) == 1 else f"{', '.join(fitting[:-1])} or {fitting[-1]}"
        raise InputError(
            f"training.batch_windows {config.batch_windows} in {config.accumulation} batches a step on {world} "
            f"processes, expected {said}: start as many, or change training.batch_windows"
        )


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    main: bool = PartialState().is_main_process
    return main


def alone(work: str) -> None:
    """InputError if several processes were started for what one does."""
    if (started := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise InputError(
            f"{work} on {started} processes, expected one: train its runs with `ssl-tt pretrain` or `ssl-tt finetune` "
            "under torchrun, and start this without"
        )


def agree(**facts: str) -> None:
    """InputError on every process if one of them was given something else than the first."""
    digests = [int.from_bytes(hashlib.sha256(fact.encode()).digest()[:7], "big") for fact in facts.values()]
    every = gather(torch.tensor([digests], dtype=torch.int64, device=PartialState().device))  # [processes, facts]
    for name, (first, *others) in zip(facts, every.T.tolist(), strict=True):
        if different := [str(rank) for rank, digest in enumerate(others, start=1) if digest != first]:
            raise InputError(
                f"process {', '.join(different)} of {len(every)} has another {name} than process 0: give all the same "
                "command, with files that all of them see"
            )


def summed(values: Sequence[float]) -> list[float]:
    """Sums over all processes, in double precision."""
    if PartialState().num_processes == 1:
        return list(values)
    total: torch.Tensor = reduce(torch.tensor(values, dtype=torch.float64, device=PartialState().device), "sum")
    return total.tolist()
