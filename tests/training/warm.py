"""`ssl-tt` in processes forked from one that has imported torch already: a start takes a fraction of a second, not 5 s.

The process that is forked has computed nothing, so no thread of torch's is lost in the fork.
"""

import json
import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from ssl_tt.training import checkpoint

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("warm", "scipy.signal", "scipy.stats", "torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard"),
        *("ssl_tt.cli", "ssl_tt.training.pretrain", "ssl_tt.data.activity_detection"),
        *(f"ssl_tt.objectives.{kind}" for kind in ("apc", "cpc", "cpc2", "joint", "vae", "vqvae", "vqvae2")),
    ]
)


class Started:
    """A process that runs a command line; what it prints goes to a file."""

    def __init__(self, arguments: Sequence[str], log: Path, largest_file_bytes: int | None = None) -> None:
        self.log = log
        self.process = _FORKS.Process(target=_run, args=(list(arguments), log, largest_file_bytes))
        self.process.start()

    def code(self, timeout_seconds: float = 120) -> int:
        """Wait for the end and give back its exit code."""
        self.process.join(timeout_seconds)
        assert self.process.exitcode is not None, f"not over after {timeout_seconds} s"
        return self.process.exitcode

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @property
    def said(self) -> str:
        return self.log.read_text()


def _run(arguments: list[str], log: Path, largest_file_bytes: int | None) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for readers of audio, as where the command line is run
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left behind by those that are killed
    if largest_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
    from ssl_tt.cli import main

    sys.exit(main(arguments))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.find(run, "last") / "model.safetensors")


def assert_same_end(run: Path, other: Path) -> None:
    """Both runs ended with the same bits, and have the same curve."""
    expected, found = weights(other), weights(run)
    assert expected.keys() == found.keys()
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not different
    assert _curve(run) == _curve(other)


def _curve(run: Path) -> list[tuple[int, str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["split"], line["loss"]) for line in lines]
