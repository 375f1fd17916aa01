"""Run by torchrun from test_two_processes.py: each claim that fails is an assertion error on some process."""

import itertools
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from ssl_tt import recipe
from ssl_tt.data.windows import Batch, Window, Windows, collate
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError, RunError, StoppedEarly
from ssl_tt.objectives import build
from ssl_tt.objectives.apc import APC
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.loss import Loss
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.vqvae import VQVAE
from ssl_tt.training import checkpoint, corpora, head_run, loop, processes
from ssl_tt.training import pretrain as module
from ssl_tt.training.config import FinetuneRecipe, PretrainRecipe
from ssl_tt.training.pretrain import pretrain, training_windows
from ssl_tt.training.task import Task

CURVE = [
    *("--objective.kind", "apc", "--encoder.dropout", "0", "--training.precision", "fp32", "--training.steps", "12"),
    *("--training.validate_every_steps", "12", "--training.validation_windows", "7", "--training.log_every_steps", "1"),
]
ALL_RANKS = ["--objective.negatives", "all_ranks", "--training.steps", "2", "--training.validation_windows", "2"]
"""Fields of runs that the test sets against those of one process."""


PATH, OUT = (Path(argument) for argument in sys.argv[1:]) if __name__ == "__main__" else (Path(), Path())


def settings(*options: str) -> PretrainRecipe:
    return recipe.load(PATH, PretrainRecipe, options)


def gathered(value: Tensor) -> list[Tensor]:
    values = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(values, value.contiguous())
    return values


def agree(tensors: dict[str, Tensor]) -> bool:
    return all(torch.equal(*gathered(tensor)) for tensor in tensors.values())


def equal(*runs: str) -> bool:
    """Whether two runs have ended with the same bits."""
    first, second = (load_file(checkpoint.find(OUT / run, "last") / "model.safetensors") for run in runs)
    return all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def called(of: type[torch.nn.Module], what: Callable[[Any, Batch, Loss], Loss]) -> Any:
    """Every loss of an objective passes through `what`."""
    forward = of.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, "forward", lambda self, batch: what(self, batch, forward(self, batch)))
        yield


# --- Claims ----------------------------------------------------------------------------------------------------------


def a_loss_that_is_no_number_on_one_process_stops_both_before_the_step(rank: int) -> None:
    before: dict[str, Tensor] = {}
    objectives: list[CPC] = []

    def poisoned(self: CPC, batch: Batch, loss: Loss) -> Loss:
        if self.training:
            before.update({name: value.detach().clone() for name, value in self.state_dict().items()})
            objectives[:] = [self]
            if 15 in batch.item:  # step 3, on the second process alone
                assert rank == 1
                return loss._replace(total=loss.total * math.nan)
        return loss

    with called(CPC, poisoned), pytest.raises(RunError) as stopped:
        pretrain(settings("--training.save_every_steps", "1", "--training.accumulation", "1"), OUT / "nan", quiet=True)
    said = str(stopped.value)  # of both the same
    assert "the loss at step 3 is nan" in said, said
    assert re.search(r"items 12 \(.* s\), 13 \(.* s\), 14 \(.* s\), 15 \(conversation-\d at \d\.\d\d s\)", said), said
    assert all(torch.equal(value, before[name]) for name, value in objectives[0].state_dict().items())
    assert checkpoint.find(OUT / "nan", "last").name == "step-00000003"


def unreadable_windows_are_counted_over_all_processes(rank: int) -> None:
    """The list is written by one, and a share is that of the whole epoch."""
    bad: set[int] = set()
    training = [False]  # the corpus statistics are taken before, by each process for itself
    read, train = Windows.__getitem__, loop.train

    def read_unless_bad(self: Windows, item: int) -> Window:
        if training[0] and self.swap_channels and item in bad:  # which those of validation are not
            raise InputError(f"item {item} on rank {rank}: ü" + item * "!")
        return read(self, item)

    def train_then(*arguments: Any, **options: Any) -> dict[str, Any]:
        training[0] = True
        return train(*arguments, **options)

    def run(share: float, name: str) -> str:
        training[0] = False
        options = ["--training.steps", "6", "--training.accumulation", "1", "--training.batch_windows", "4"]
        try:
            pretrain(settings(*options, "--data.max_unreadable_share", str(share)), OUT / name, quiet=True)
        except RunError as error:
            return str(error)
        return ""

    def entries(name: str) -> list[dict[str, Any]]:
        dist.barrier()
        return [json.loads(line) for line in (OUT / name / "quarantine.jsonl").read_text().splitlines()]

    Windows.__getitem__, loop.train = read_unless_bad, train_then  # type: ignore[method-assign]
    bad |= {2, 8}  # step 0 on the second process, step 2 on the first
    for _ in range(2):  # the second time the run is over, and its list is only read
        assert run(0.5, "many") == ""
        found = [(each["item"], each["error"]) for each in entries("many")]
        assert found == [(2, "item 2 on rank 1: ü!!"), (8, "item 8 on rank 0: ü!!!!!!!!")], found
    assert all(Path(each["path"]).stem == each["conversation"] for each in entries("many"))
    assert json.loads((OUT / "many" / "cost.json").read_text())["unreadable_windows"] == 2
    # One of the 24 windows of the epoch may be bad: the one of each process makes two.
    assert "2 of 24 windows of epoch 0 cannot be read, more than the share of 0.05; the last: item 8" in run(
        0.05, "few"
    )
    assert len(entries("few")) == 2
    # Whatever the second process draws at first.
    bad |= set(range(24)) if rank else set()
    assert "stopped at step 0: whatever window is drawn cannot be read" in run(1.0, "none")
    Windows.__getitem__, loop.train = read, train  # type: ignore[method-assign]


def gradients_are_those_of_the_whole_batch_in_one_process(rank: int) -> None:
    """In fp32 to 1e-5 of each parameter's largest: the windows are added up in another order."""
    for objective in (("apc",), ("cpc", "--objective.negative_count", "1000")):  # all negatives: nothing is drawn
        options = ["--objective.kind", *objective, "--encoder.dropout", "0", "--training.precision", "fp32"]
        given = settings(*options, "--training.steps", "1", "--training.gradient_clip", "1e9")
        found: list[Tensor] = []
        clip = Accelerator.clip_grad_norm_

        def clipped(
            self: Accelerator, parameters: Any, *rest: Any, found: list[Tensor] = found, clip: Any = clip
        ) -> Any:
            parameters = list(parameters)
            found.extend(parameter.grad.clone() for parameter in parameters)
            return clip(self, parameters, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Accelerator, "clip_grad_norm_", clipped)
            run = pretrain(given, OUT / f"gradient-{objective[0]}", quiet=True)
        first = load_file(run / "checkpoints" / "step-00000000" / "model.safetensors")
        alone = build(given.objective, Encoder(given.encoder))
        alone.load_state_dict(first)
        windows, _ = training_windows(corpora.conversations(given)[0], given, alone.encoder)
        alone(collate([windows[item] for item in range(4)])).total.backward()
        assert len(found) == len(list(alone.parameters()))
        for gradient, parameter in zip(found, alone.parameters(), strict=True):
            assert parameter.grad is not None
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-5 * scale + 1e-9)


def two_epochs_train_on_every_window_once_and_validation_counts_every_window_once(rank: int) -> None:
    """The run is set against one of a single process by the test."""
    trained, validated = [], []

    def noted(self: APC, batch: Batch, loss: Loss) -> Loss:
        (trained if self.training else validated).extend(batch.item.tolist())
        return loss

    def written(path: Path, value: Any) -> None:
        assert rank == 0, path
        write(path, value)

    write = module.write_json
    ticks = itertools.count(0, 100)
    with called(APC, noted), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_json", written)
        patch.setattr(loop.time, "process_time", lambda: float(next(ticks)) if rank else 0.0)
        pretrain(settings(*CURVE), OUT / "curve", quiet=True)
    assert sorted(torch.cat(gathered(torch.tensor(trained))).tolist()) == list(range(48))  # 24 windows an epoch
    assert validated == 2 * ([2, 3, 6] if rank else [0, 1, 4, 5])  # at the start and at the end


def a_process_without_a_batch_of_validation_has_its_loss_all_the_same(rank: int) -> None:
    validated: list[int] = []

    def noted(self: CPC, batch: Batch, loss: Loss) -> Loss:
        validated.extend([] if self.training else batch.item.tolist())
        return loss

    with called(CPC, noted):
        pretrain(settings(*ALL_RANKS), OUT / "all-ranks", quiet=True)
    assert validated == [0, 1, 0, 1]  # on either, at the start and the end


def codebooks_agree_after_training(rank: int) -> None:
    last: list[Objective] = []

    def noted(self: VQVAE, batch: Batch, loss: Loss) -> Loss:
        last[:] = [self]
        return loss

    options = ["--objective.kind", "vqvae", "--objective.codes", "8", "--objective.code_channels", "4"]
    with called(VQVAE, noted):
        pretrain(settings(*options, "--training.steps", "10"), OUT / "vqvae", quiet=True)
    assert agree(last[0].state_dict())


def a_signal_to_one_process_stops_both_with_one_checkpoint(rank: int) -> None:
    """And the run, gone on with, ends with the bits of the one that is made undisturbed."""

    def asked(self: CPC, batch: Batch, loss: Loss) -> Loss:
        if self.training and 7 in batch.item:  # step 1, on one process alone
            assert rank == 1
            os.kill(os.getpid(), signal.SIGUSR1)
        return loss

    saves: list[int] = []
    save = checkpoint.save
    with called(CPC, asked), pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda run, step, *rest: (saves.append(step), save(run, step, *rest)))
        with pytest.raises(StoppedEarly, match="at step 2 of 40"):
            pretrain(settings(), OUT / "stopped", quiet=True)
    assert saves == ([] if rank else [0, 2])
    pretrain(settings(), OUT / "stopped", quiet=True)
    pretrain(settings(), OUT / "undisturbed", quiet=True)
    assert equal("stopped", "undisturbed")


def a_head_is_trained_by_both_stopped_by_one_and_scored_by_the_main_one(rank: int) -> None:
    def asked(self: Task, batch: Batch, loss: Loss) -> Loss:
        if self.training and 7 in batch.item:
            assert rank == 1
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    options = ["--name", "head", "--data.pretrain", str(OUT / "dialogues" / "manifest.jsonl"), "--training.steps", "4",
               "--run", str(OUT / "undisturbed"), "--training.window_seconds", "6", "--training.batch_windows", "4",
               "--training.validation_windows", "3", "--training.warmup_steps", "1"]  # fmt: skip
    given = recipe.load(None, FinetuneRecipe, options)
    with called(Task, asked), pytest.raises(StoppedEarly, match="at step 2 of 4"):
        head_run.finetune(given, OUT / "head", quiet=True)
    for name in ("head", "undisturbed-head"):
        scores = head_run.finetune(given, OUT / name, quiet=True)
        assert bool(scores) == (rank == 0)
        dist.barrier()
        assert (OUT / name / "scores.json").exists()
        assert not (OUT / name / "features").exists()
    assert equal("head", "undisturbed-head")


def what_is_not_the_same_on_all_is_refused_by_all(rank: int) -> None:
    with pytest.raises(InputError, match="process 1 of 2 has another recipe than process 0"):
        pretrain(settings("--seed", str(rank)), OUT / "other-seed", quiet=True)
    assert not (OUT / "other-seed").exists()
    splits = corpora.conversations(settings())[0]
    if rank == 1:
        splits["train"] = splits["train"][:-1]
    with pytest.raises(InputError, match="process 1 of 2 has another data than process 0"):
        pretrain(settings(), OUT / "other-data", splits=splits, quiet=True)
    with pytest.raises(InputError, match=r"batch_windows 9 in 3 batches a step on 2 processes, expected 1 or 3: "):
        pretrain(settings("--training.batch_windows", "9", "--training.accumulation", "3"), OUT / "odd", quiet=True)
    assert not (OUT / "odd").exists()


CLAIMS = (
    a_loss_that_is_no_number_on_one_process_stops_both_before_the_step,
    unreadable_windows_are_counted_over_all_processes,
    gradients_are_those_of_the_whole_batch_in_one_process,
    two_epochs_train_on_every_window_once_and_validation_counts_every_window_once,
    a_process_without_a_batch_of_validation_has_its_loss_all_the_same,
    codebooks_agree_after_training,
    a_signal_to_one_process_stops_both_with_one_checkpoint,
    a_head_is_trained_by_both_stopped_by_one_and_scored_by_the_main_one,
    what_is_not_the_same_on_all_is_refused_by_all,
)


def main() -> None:
    processes.join(settings().training)
    assert dist.get_world_size() == 2
    for claim in CLAIMS:
        claim(dist.get_rank())
        dist.barrier()
        print(f"held on rank {dist.get_rank()}: {claim.__name__}\n", end="", flush=True)  # one write, never interleaved
    os._exit(0)  # Gloo's threads abort about one interpreter in ten as it ends, after all is done (torch 2.11)


if __name__ == "__main__":
    main()
