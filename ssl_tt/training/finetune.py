"""One run of a head: on a frozen encoder, together with a pretrained one, or with one from scratch."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from ssl_tt import recipe as recipes
from ssl_tt import timebase
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.windows import Windows
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.receptive_field import check_window, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.training import checkpoint, loop, processes, tensors
from ssl_tt.training.config import FinetuneRecipe
from ssl_tt.training.feature_windows import FeatureCache, FeatureWindows
from ssl_tt.training.labelled import drawn
from ssl_tt.training.model import TurnTaking
from ssl_tt.training.pretrain import audio_facts, claim, environment, identity, keep_freed_memory, write_json
from ssl_tt.training.task import Task
from ssl_tt.turns.activity import activity


def train_head(
    recipe: FinetuneRecipe,
    encoder: Encoder,
    conversations: Sequence[Conversation],
    out: Path,
    cache: FeatureCache,
    *,
    quiet: bool = False,
) -> Task:
    """Train the recipe's head on an encoder into the run directory `out`, or go on there; gives back its best step.

    conversations: annotated ones to learn from, some of which are held out by dialogue. cache: where features are
    kept, for mode `frozen`. The encoder that is given stays as it is. InputError if `out` belongs to another recipe,
    for windows that are too short, and for conversations that cannot be learned from; else as `pretrain`.
    """
    keep_freed_memory()
    processes.join(recipe.training)
    config = recipe.training
    window_seconds = config.window_seconds or recipe.data.window_seconds
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        task = Task(config, copied(encoder))
    if config.mode != "frozen":
        check_window(receptive_field(encoder), window_seconds)
    _check_schedule(task, window_seconds)
    processes.agree(recipe=identity(recipe))
    claim(out, recipe)

    fitted, held_out = split_dialogues(conversations, config.held_out_share, recipe.data.split_seed)
    task.target.prepare(*([activity(each, encoder.frame_rate_hz) for each in part] for part in (fitted, held_out)))
    window_samples = timebase.samples(window_seconds, encoder.sample_rate_hz)
    window_samples -= window_samples % encoder.hop_samples

    history = task.model.head.history
    past_frames = history.minute if history else 0

    def windows(of: Sequence[Conversation], seed: int, swap_channels: bool) -> Windows:
        together = recipe.data.windows_per_conversation
        if config.mode == "frozen":
            cache.fill(of)
            return FeatureWindows(of, window_samples, cache, seed, swap_channels, past_frames, together)
        rates = encoder.sample_rate_hz, encoder.frame_rate_hz
        return Windows(
            of, window_samples, *rates, seed, swap_channels, past_frames=past_frames, per_conversation=together
        )

    if processes.is_main():
        write_json(out / "environment.json", environment())
    facts = [*audio_facts(fitted), "held out", *audio_facts(held_out), [c.segments for c in (*fitted, *held_out)]]
    state = loop.train(
        task,
        recipe,
        windows(fitted, recipe.seed, config.swap_channels),
        windows(held_out, recipe.data.split_seed, False),
        out,
        data_digest=hashlib.sha256((json.dumps(facts) + weights_digest(encoder)).encode()).hexdigest(),
        layers=task.layers(),
        quiet=quiet,
    )
    cost = {
        "parameters": encoder.parameter_count,
        "head_parameters": sum(parameter.numel() for parameter in task.model.head.parameters()),
        "steps": state["step"],
        "best_step": state["best"]["step"],
        "seconds": state["seconds"],
        "cpu_seconds": state["cpu_seconds"],
    }
    if processes.is_main():
        write_json(out / "cost.json", cost)
    return load_task(out)


def split_dialogues(
    conversations: Sequence[Conversation], share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations to learn from and those held out; a dialogue, in whatever recordings, is on one side alone.

    Seed and names decide, not the order. InputError for fewer than two dialogues.
    """
    names = drawn(conversations, seed)
    if len(names) < 2:
        raise InputError(
            f"{len(names)} training dialogue{'s' * (len(names) != 1)} for a head, expected at least 2, one of them to "
            "be held out: add annotated conversations"
        )
    out = set(names[: min(len(names) - 1, max(1, round(share * len(names))))])
    return [c for c in conversations if c.dialogue not in out], [c for c in conversations if c.dialogue in out]


def load_task(path: Path | str, which: Literal["best", "last"] = "best") -> Task:
    """Model and target of a head's run directory, or of one checkpoint in it; in evaluation mode, frozen, on the CPU.

    `best` is the checkpoint with the lowest loss on the dialogues that were held out.
    """
    run, found = checkpoint.located(Path(path), which)
    settings = recipes.load(run / "recipe.toml", FinetuneRecipe)
    task = tensors.rebuilt(lambda: Task(settings.training, Encoder(settings.encoder)), found / checkpoint.MODEL)
    return task.eval().requires_grad_(False)


def load_turn_taking(path: Path | str) -> TurnTaking:
    """Encoder and head of a run directory (its best checkpoint) or of one checkpoint in it; frozen, to be streamed."""
    return load_task(path).model


def copied(encoder: Encoder) -> Encoder:
    """Another encoder with the same weights and statistics."""
    with torch.random.fork_rng(devices=[]):
        copy = Encoder(encoder.config)
    copy.load_state_dict(encoder.state_dict())
    return copy


def weights_digest(encoder: Encoder) -> str:
    """SHA-256 of an encoder's settings, weights and statistics."""
    digest = hashlib.sha256(encoder.config.model_dump_json().encode())
    for key, tensor in sorted(encoder.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _check_schedule(task: Task, window_seconds: float) -> None:
    config, layers = task.config, task.layers()
    horizon_seconds = task.target.horizon_seconds
    if window_seconds <= horizon_seconds:
        raise InputError(
            f"window {window_seconds:g} s for a target that looks {horizon_seconds:g} s ahead, expected a longer one: "
            "raise window_seconds"
        )
    if layers[-1].first_step >= config.steps:
        raise InputError(
            f"the last of {len(layers) - 1} layers would learn from step {layers[-1].first_step} of {config.steps} on: "
            "lower head_steps or unfreeze_every_steps, or raise steps"
        )
