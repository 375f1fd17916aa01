"""The training loop: one flat pass from batch to checkpoint.

Every draw is a function of numbers, never of a running generator: windows and their augmentation of (seed, epoch,
global item), all else that the objective draws of (seed, step, rank). So a checkpoint needs no generator's state, and a
run that was killed and started again has the same weights, bit for bit, as one that was not (with the same number of
threads and processes).
"""

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ssl_tt.data.windows import Batch, Window, Windows, collate
from ssl_tt.errors import InputError, RunError, StoppedEarly
from ssl_tt.objectives.objective import Objective
from ssl_tt.training import checkpoint, processes
from ssl_tt.training.config import RunRecipe, TrainingConfig
from ssl_tt.training.journal import cut_back
from ssl_tt.training.layers import Layer
from ssl_tt.training.quarantine import Quarantine, Unreadable, of_all_processes
from ssl_tt.training.task import Task

Item = TypeVar("Item")

# Draws of validation, apart from those of any training step.
_VALIDATION = 1 << 32


def train(
    objective: Objective | Task,
    recipe: RunRecipe,
    windows: Windows,
    validation: Windows,
    run: Path,
    *,
    data_digest: str,
    layers: Sequence[Layer] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Train to the recipe's last step, from the newest checkpoint in `run` if there is one; returns the final state.

    layers: parameters that learn at rates and from steps of their own; all alike if none are given. Training ends
    early once `training.patience` validations have not been better than the best before them.

    StoppedEarly after SIGTERM, SIGINT or SIGUSR1, once the step is done and its checkpoint written; another such signal
    ends the process at once. RunError, on all processes, if the loss is not finite or too many windows cannot be read;
    also if the disk is full or the run's folder has gone.
    """
    config = recipe.training

    # --- Processes, precision, optimizer
    processes.join(config)
    AcceleratorState._reset_state()  # else the precision of an earlier run in this process would stay
    accelerator = Accelerator(
        mixed_precision="bf16" if config.precision == "bf16" else "no", gradient_accumulation_steps=config.accumulation
    )
    rank, world = accelerator.process_index, accelerator.num_processes
    together, share = windows.per_conversation, config.batch_windows // (config.accumulation * world)
    if share % together:
        raise InputError(
            f"data.windows_per_conversation {together} for the {share} windows that each of {world} processes reads at "
            "once: expected a divisor of it"
        )
    optimizer = adamw(objective, config, layers)

    # --- Resume
    state: dict[str, Any] = {
        "step": 0,
        "best": {"step": 0, "loss": math.inf},
        "data": data_digest,
        "seconds": 0.0,
        "cpu_seconds": 0.0,
        "since_log": {},
    }
    resumed = checkpoint.newest(run)
    processes.agree(data=data_digest, checkpoint="" if resumed is None else checkpoint.identity(resumed))
    if resumed is not None:
        state = checkpoint.read_state(resumed)
        if state["data"] != data_digest:
            raise InputError(
                f"{run}: its conversations, or the encoder under its head, have changed since; choose another --out"
            )
        if state["step"] > config.steps:
            raise InputError(f"{resumed}: beyond the {config.steps} steps of its recipe; take another checkpoint")
        checkpoint.restore_model(objective, resumed)
    model, optimizer = accelerator.prepare(objective, optimizer)
    if resumed is not None:
        checkpoint.restore_optimizer(optimizer, resumed)
    first_step = step = state["step"]

    # --- Data and logs
    first_item, writes = first_step * config.batch_windows, accelerator.is_main_process
    quarantine = Quarantine(run, windows, recipe.data.max_unreadable_share, first_item, writes=writes)
    reader = batches(windows, recipe, first_step, rank, world)
    of_validation = _validation(validation, config, rank, world)
    metrics = _Metrics(run, first_step if resumed else None, enabled=accelerator.is_main_process)
    progress = tqdm(
        total=config.steps,
        initial=first_step,
        unit="step",
        disable=quiet or not accelerator.is_main_process,
        mininterval=0.5 if sys.stderr.isatty() else 20,
        dynamic_ncols=True,
    )
    audio_seconds = config.batch_windows * windows.conversations[0].channels * windows.window_seconds
    since_log: dict[str, float] = state["since_log"]
    lap, cpu_lap = time.perf_counter(), time.process_time()

    with _readers_watched(), _stop_requests() as stop_requested, metrics, progress:
        while True:
            last = step == config.steps
            stop = _any_rank(accelerator, stop_requested())
            due = step % config.save_every_steps == 0 or last or stop

            # --- Validate, on the same windows with the same draws every time
            # (a checkpoint was written after its validation: a resumed run does not repeat it)
            if (step % config.validate_every_steps == 0 or last) and not (resumed and step == first_step):
                scores = _validate(objective, of_validation, accelerator, recipe.seed)
                metrics.write(step, "validation", scores)
                if not math.isfinite(scores["loss"]):
                    items = list(range(of_validation.n_windows))
                    raise RunError(_not_finite("validation loss", scores["loss"], step, items, validation, run))
                if scores["loss"] < state["best"]["loss"]:
                    state["best"] = {"step": step, "loss": scores["loss"]}
                    due = True

            # --- Stop early: the best is always at a validation, so this comes true right after one
            if config.patience and step - state["best"]["step"] >= config.patience * config.validate_every_steps:
                last = due = True

            # --- Save before the step, so the last one needs no case of its own
            if due:
                state["seconds"] += time.perf_counter() - lap
                state["cpu_seconds"] += processes.summed([time.process_time() - cpu_lap])[0]
                lap, cpu_lap = time.perf_counter(), time.process_time()
            if due and not (resumed and step == first_step):
                state["since_log"] = since_log
                failed: RunError | None = None
                if accelerator.is_main_process:
                    try:
                        metrics.flush()
                        moments = checkpoint.optimizer_tensors(optimizer)
                        checkpoint.save(run, step, objective.state_dict(), moments, state, config.keep_checkpoints)
                    except RunError as error:
                        failed = error
                if _any_rank(accelerator, failed is not None):  # for which the others have waited
                    raise failed or RunError(f"{run}: the first process cannot write step {step}, and says why")
            if last:
                break
            if stop:
                raise StoppedEarly(
                    f"{run}: stopped at step {step} of {config.steps}; the same command goes on from there"
                )

            # --- One optimizer step
            started = time.perf_counter()
            waited = 0.0
            torch.manual_seed(_draw_seed(recipe.seed, step, rank))
            rate = learning_rate(step, config)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            means: dict[str, float] = {}
            drawn: list[Tensor] = []
            for _ in range(config.accumulation):
                asked = time.perf_counter()
                batch, unreadable = next(reader)
                waited += time.perf_counter() - asked
                if _any_rank(accelerator, bool(unreadable)):
                    quarantine.add(of_all_processes(accelerator, unreadable))
                if _any_rank(accelerator, batch is None) or batch is None:
                    raise RunError(
                        f"{run}: stopped at step {step}: whatever window is drawn cannot be read ({run}/"
                        "quarantine.jsonl); is the storage there? The same command goes on from the last checkpoint"
                    )
                drawn.append(batch.item)
                with accelerator.accumulate(model):
                    loss = model(_on(batch, accelerator.device))
                    # all stop: one that went on would wait for the others
                    if _any_rank(accelerator, not torch.isfinite(loss.total)):
                        losses = accelerator.gather(loss.total.detach().reshape(1)).tolist()
                        items = _items(accelerator, drawn[-1:])
                        worst = next(value for value in losses if not math.isfinite(value))
                        raise RunError(_not_finite("loss", worst, step, items, windows, run))
                    accelerator.backward(loss.total)
                    for name, value in {"loss": loss.total, **loss.parts}.items():
                        means[name] = means.get(name, 0.0) + float(value.detach()) / config.accumulation
                    if accelerator.sync_gradients:
                        _leave_out_waiting(optimizer, step)
                        norm = float(accelerator.clip_grad_norm_(model.parameters(), config.gradient_clip))
                        if not math.isfinite(norm):  # of all processes' gradients, so it is that of each
                            items = _items(accelerator, drawn)
                            raise RunError(_not_finite("norm of the gradient", norm, step, items, windows, run))
                    optimizer.step()
                    optimizer.zero_grad()
            objective.after_optimizer_step()
            step += 1
            means = {
                name: total / world for name, total in zip(means, processes.summed([*means.values()]), strict=True)
            }

            # --- Log
            took = time.perf_counter() - started
            totals = {**means, "gradient_norm": norm, "seconds": took, "waited_seconds": waited, "steps": 1.0}
            for name, value in totals.items():
                since_log[name] = since_log.get(name, 0.0) + value
            # before every validation too, which may be the last thing that is done
            if 0 in (step % config.log_every_steps, step % config.validate_every_steps) or step == config.steps:
                n, seconds = since_log.pop("steps"), since_log.pop("seconds")
                waited_seconds = since_log.pop("waited_seconds")
                line = {name: total / n for name, total in since_log.items()}
                line["learning_rate"] = rate
                line["seconds_of_audio_per_second"] = n * audio_seconds / seconds
                line["waiting_share"] = waited_seconds / seconds
                state["seconds_of_audio_per_second"] = line["seconds_of_audio_per_second"]
                since_log = {}
                metrics.write(step, "train", line)
                progress.set_postfix_str(
                    f"loss {line['loss']:.3f}, {line['seconds_of_audio_per_second']:.0f} s of audio/s", refresh=False
                )
            progress.update()

    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # leaves the objective as it was given
    return {**state, "step": step, "unreadable_windows": len(quarantine)}


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Rate of a step (the first is 0): linear warm-up, then half a cosine to zero; a function of the step alone."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def adamw(model: torch.nn.Module, config: TrainingConfig, layers: Sequence[Layer] = ()) -> torch.optim.Optimizer:
    """AdamW that decays matrices and kernels only: biases and gains have no reason to be small.

    Without `layers`, all that the model learns is one.
    """
    groups = []
    for layer in layers or [Layer([parameter for parameter in model.parameters() if parameter.requires_grad])]:
        own = {"scale": layer.scale, "first_step": layer.first_step}
        groups += [
            {"params": [p for p in layer.parameters if p.ndim > 1], "weight_decay": config.weight_decay, **own},
            {"params": [p for p in layer.parameters if p.ndim <= 1], "weight_decay": 0.0, **own},
        ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _leave_out_waiting(optimizer: torch.optim.Optimizer, step: int) -> None:
    """A layer whose first step is yet to come has no part in the gradient's norm, stays as it is, and learns nothing
    of its moments."""
    for group in optimizer.param_groups:
        if step < group["first_step"]:
            for parameter in group["params"]:
                parameter.grad = None


def _draw_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def _validate(
    objective: Objective | Task, validation: "_Validation", accelerator: Accelerator, seed: int
) -> dict[str, float]:
    """Means over the validation windows: the same on every process, whatever their number.

    A batch is one process's, whole and with draws of its own, and is counted once.
    """
    objective.eval()
    totals: dict[int, dict[str, float]] = {}
    for number, batch in validation.batches.items():
        torch.manual_seed(_draw_seed(seed, _VALIDATION, number))
        loss = objective(_on(batch, accelerator.device))  # not as it is wrapped: that would wait for the others
        totals[number] = {
            name: float(value) * len(batch.item) for name, value in {"loss": loss.total, **loss.parts}.items()
        }
    objective.train()
    names = list(next(iter(totals.values())))
    table = np.zeros((validation.n_batches, len(names)))
    for number, of_batch in totals.items():
        if number % accelerator.num_processes == accelerator.process_index:
            table[number] = [of_batch[name] for name in names]
    table = np.reshape(processes.summed(table.ravel().tolist()), table.shape)  # each entry is 0 on all but one
    return {name: sum(column) / validation.n_windows for name, column in zip(names, table.T.tolist(), strict=True)}


def _on(batch: Batch, device: torch.device) -> Batch:
    moved = {
        name: part.to(device, non_blocking=True)
        for name, part in batch._asdict().items()
        if part is not None and name != "seed"  # which generators on the CPU are given
    }
    return batch._replace(**moved)


def _any_rank(accelerator: Accelerator, here: bool) -> bool:
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device), "sum") > 0)


def _items(accelerator: Accelerator, drawn: Sequence[Tensor]) -> list[int]:
    """Items of batches of all processes."""
    found: list[int] = accelerator.gather(torch.cat(list(drawn)).to(accelerator.device)).tolist()
    return found


def _not_finite(what: str, value: float, step: int, items: Sequence[int], windows: Windows, run: Path) -> str:
    places = {item: windows.place(item) for item in items}
    named = (f"{item} ({conversation.id} at {start:.2f} s)" for item, (conversation, start) in places.items())
    return (
        f"{run}: the {what} at step {step} is {value}, before the weights were touched; items {', '.join(named)}: look "
        "at them, or lower training.learning_rate"
    )


# --- Data ------------------------------------------------------------------------------------------------------------


class _Readable(Dataset[tuple[Window | None, list[Unreadable]]]):
    """Windows, with another one in place of each that cannot be read: which one is a function of (seed, item).

    None where eight in a row cannot be read. Nothing is raised: what a reader process raises comes as a traceback.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __getitem__(self, item: int) -> tuple[Window | None, list[Unreadable]]:
        unreadable: list[Unreadable] = []
        candidate = item
        for attempt in range(8):
            try:
                return self.windows[candidate], unreadable
            except InputError as error:
                unreadable.append(Unreadable(candidate, item, str(error)))
                epoch = item // len(self.windows)
                other = _draw_seed(self.windows.seed, item, attempt) % len(self.windows)
                candidate = epoch * len(self.windows) + other
        return None, unreadable


def _collate(read: list[tuple[Window | None, list[Unreadable]]]) -> tuple[Batch | None, list[Unreadable]]:
    windows = [window for window, _ in read if window is not None]
    batch = collate(windows) if len(windows) == len(read) else None
    return batch, [each for _, unreadable in read for each in unreadable]


def batches(
    windows: Windows, recipe: RunRecipe, first_step: int, rank: int, world: int
) -> Iterator[tuple[Batch | None, list[Unreadable]]]:
    """Batches of this process from a step on: window i of step s is global item s * batch_windows + i.

    None in the place of a batch that cannot be read, whatever is drawn.

    Without worker processes a thread reads the next batch while this one is trained on.
    """
    config = recipe.training
    share = config.batch_windows // (config.accumulation * world)

    def items() -> Iterator[list[int]]:
        for step in range(first_step, config.steps):
            for part in range(config.accumulation):
                start = step * config.batch_windows + (part * world + rank) * share
                yield list(range(start, start + share))

    loader = iter(
        DataLoader(
            _Readable(windows),
            batch_sampler=items(),
            collate_fn=_collate,
            num_workers=config.workers,
            generator=torch.Generator(),  # else starting the loader draws from the global generator
            worker_init_fn=_ignore_signals,
            prefetch_factor=4 if config.workers else None,
        )
    )
    return _said_plainly(loader) if config.workers else _one_ahead(loader)


def _said_plainly(batches: Iterator[Item]) -> Iterator[Item]:
    """The same; what a worker process raises comes with its traceback, of which the last line is the message."""
    try:
        yield from batches
    except (InputError, RunError) as error:
        raise type(error)(str(error).rstrip().splitlines()[-1].partition("Error: ")[2]) from error


def _one_ahead(batches: Iterator[Item]) -> Iterator[Item]:
    """The same, the next one being made in a thread meanwhile: decoding and copying leave the interpreter free.

    Threads of its own would spin beside those that compute, which took a quarter of a step on 2 cores: it has one.
    """
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


class _Validation(NamedTuple):
    """The first windows of epoch 0, the same for every run on this data; those of this process are kept in memory."""

    batches: dict[int, Batch]
    """Those of this process, by number. Where there are more processes than batches, the first, which it only needs
    to know the names of the losses."""
    n_batches: int
    """Batches of all processes."""
    n_windows: int
    """Windows of all processes."""


def _validation(validation: Windows, config: TrainingConfig, rank: int, world: int) -> _Validation:
    n = min(config.validation_windows, len(validation))
    share = config.batch_windows // config.accumulation
    starts = range(0, n, share)
    own = range(rank, len(starts), world) or range(1)
    batches = {
        number: collate([validation[i] for i in range(starts[number], min(starts[number] + share, n))])
        for number in own
    }
    return _Validation(batches, len(starts), n)


def _ignore_signals(worker: int) -> None:
    # A terminal's Ctrl-C and a scheduler's SIGTERM reach the readers too; the loop still needs them for its last step.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _readers_watched() -> Iterator[None]:
    """RunError for a reader process that died; torch raises wherever the loop is just then, also where it unwinds."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        # All but the first are of a batch that was on its way.
        of_reader = any(words in str(error) for words in ("DataLoader worker", "ancillary data"))
        if isinstance(error, RuntimeError) and not of_reader:
            raise
        raise RunError(
            f"a process that reads audio has died ({error}): is the memory full? Lower training.workers; the same "
            "command goes on from the last checkpoint"
        ) from error


# --- Logs and signals ------------------------------------------------------------------------------------------------


class _Metrics:
    """Lines of metrics.jsonl and curves of TensorBoard, both cut back to the step that a run goes on from."""

    def __init__(self, run: Path, resumed_step: int | None, *, enabled: bool) -> None:
        self._enabled = enabled
        self._path = run / "metrics.jsonl"
        if not enabled:
            return
        cut_back(self._path, lambda line: resumed_step is not None and line["step"] <= resumed_step, write=True)
        with self._written():
            self._file = self._path.open("a")
            self._board = SummaryWriter(
                str(run / "tensorboard"), purge_step=None if resumed_step is None else resumed_step + 1
            )

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        if not self._enabled:
            return
        with self._written():
            self._file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
            for name, value in values.items():
                self._board.add_scalar(f"{split}/{name}", value, step)

    def flush(self) -> None:
        if self._enabled:
            with self._written():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._board.flush()

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self._path}: metrics cannot be written ({error.strerror or error}); free some space, see that the "
                "folder is there, and give the same command to go on"
            ) from error

    def __enter__(self) -> "_Metrics":
        self._print_traceback = threading.excepthook
        threading.excepthook = self._in_thread
        return self

    def _in_thread(self, failed: threading.ExceptHookArgs) -> None:
        """What TensorBoard's thread cannot write comes again from the next write here: once is enough."""
        if not isinstance(failed.exc_value, OSError):
            self._print_traceback(failed)

    def __exit__(self, kind: object, *exception: object) -> None:
        threading.excepthook = self._print_traceback
        if not self._enabled:
            return
        # What already fails has said why: that closing fails too is no news.
        with nullcontext() if kind is None else suppress(RunError):
            for opened in (self._file, self._board):
                with self._written():
                    opened.close()


# torchrun and Slurm hand a signal on that the process has had by itself: so soon after the first it is the same one.
_SAME_SIGNAL_SECONDS = 1.0


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM, SIGINT or SIGUSR1 has come; another one, a second later or more, ends the process at once.

    Ended so, it has the exit code of a shell for a process that was killed: 143, 130 or 138.
    """
    received: list[float] = []

    def note(number: int, frame: object) -> None:
        if received and time.monotonic() - received[0] >= _SAME_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(time.monotonic())

    if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
