"""Heads on small encoders, and dialogues in which speech grows louder before a shift."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ssl_tt
from ssl_tt.data.audio import read_window, write_wav
from ssl_tt.data.config import DataConfig
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.windows import Windows, collate
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError, StoppedEarly
from ssl_tt.training import checkpoint, loop
from ssl_tt.training.config import FinetuneRecipe, HeadTraining
from ssl_tt.training.feature_windows import FeatureCache, FeatureWindows
from ssl_tt.training.finetune import load_task, split_dialogues, train_head
from ssl_tt.training.head_answers import logits_reader
from ssl_tt.training.layers import encoder_layers
from ssl_tt.training.task import Task
from ssl_tt.turns.activity import activity
from ssl_tt.turns.config import FCHeadConfig, LinearHeadConfig, RNNHeadConfig
from ssl_tt.turns.events import find_events
from tests.turns.small_heads import awoken

RATE_HZ = 16000
SECONDS = 14.0
ENCODER = EncoderConfig(
    channels=6, output_channels=6, frontend=LogMelConfig(mel_bands=6), stacks=(StackConfig(kernel=3, dilations=(1, 3)),)
)
HEADS = {"linear": LinearHeadConfig(), "fc": FCHeadConfig(channels=8), "rnn": RNNHeadConfig(channels=8)}


@pytest.fixture(scope="module")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> list[Conversation]:
    """Four dialogues of turns of 1.2 s with silences of 0.4 s, both shifts and holds in each."""
    folder = tmp_path_factory.mktemp("dialogues")
    conversations = []
    for number in range(4):
        rng = np.random.default_rng(number)
        samples = 0.001 * rng.standard_normal((2, int(SECONDS * RATE_HZ)))
        segments: tuple[list[Segment], list[Segment]] = ([], [])
        start, speaker = 0.0, 0
        for turn in range(8):
            end = round(start + 1.2, 3)
            shift = (turn + number) % 3 != 0
            speech = slice(int(start * RATE_HZ), int(end * RATE_HZ))
            level = np.linspace(0.02, 0.5 if shift else 0.02, speech.stop - speech.start)
            samples[speaker, speech] += level * rng.standard_normal(len(level))
            segments[speaker].append(Segment(start, end))
            start, speaker = round(end + 0.4, 3), 1 - speaker if shift else speaker
        path = folder / f"{number}.wav"
        write_wav(path, samples.astype(np.float32), RATE_HZ)
        conversations.append(
            Conversation(
                id=f"{number}", audio=path, sample_rate_hz=RATE_HZ, channels=2, duration_seconds=SECONDS,
                speakers=(f"a{number}", f"b{number}"), segments=(tuple(segments[0]), tuple(segments[1])),
            )
        )  # fmt: skip
    return conversations


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(3)
    return Encoder(ENCODER).eval()


def settings(mode: str = "frozen", **changes: Any) -> FinetuneRecipe:
    fields = {
        "head": HEADS["fc"], "mode": mode, "steps": 20, "batch_windows": 4, "learning_rate": 0.02, "warmup_steps": 2,
        "window_seconds": 7.0, "validate_every_steps": 10, "validation_windows": 4, "save_every_steps": 10,
        "log_every_steps": 5, "patience": 0, "held_out_share": 0.25,
    }  # fmt: skip
    training = HeadTraining(**(fields | changes))
    run = "pretrained" if mode == "finetune" else None
    return FinetuneRecipe(
        name="heads", data=DataConfig(pretrain=("dialogues",)), encoder=ENCODER, training=training, run=run
    )


@pytest.fixture
def train(dialogues: list[Conversation], encoder: Encoder, tmp_path: Path) -> Callable[..., Task]:
    def trained(recipe: FinetuneRecipe, name: str = "run") -> Task:
        cache = FeatureCache(tmp_path / "features", encoder)
        return train_head(recipe, encoder, dialogues, tmp_path / name, cache, quiet=True)

    return trained


def heard(conversation: Conversation) -> torch.Tensor:
    return torch.from_numpy(read_window(conversation, 0.0, int(SECONDS * RATE_HZ), RATE_HZ))


def accuracy(task: Task, dialogues: list[Conversation]) -> float:
    """Share of the events that are told right, by the model as it would hear them live."""
    right = []
    for conversation in dialogues:
        samples = heard(conversation)
        logits = ssl_tt.Stream(task.model).push(samples)
        for event in find_events(activity(conversation, 50.0), 50.0):
            right.append(bool(logits[event.previous, event.decision, 0] > 0) == (event.kind == "shift"))
    assert len(right) >= 12
    return float(np.mean(right))


@pytest.mark.parametrize("mode", ["frozen", "finetune", "scratch"])
@pytest.mark.parametrize("head", ["fc", "rnn"])
def test_every_head_learns_a_small_corpus_in_every_mode(
    head: str, mode: str, train: Any, dialogues: list[Conversation]
) -> None:
    task = train(settings(mode, head=HEADS[head], steps=50, validate_every_steps=25))
    assert accuracy(task, dialogues) == 1.0


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before: dict[str, torch.Tensor], after: torch.nn.Module) -> float:
    now = after.state_dict()
    return math.sqrt(sum(float((now[name] - tensor).square().sum()) for name, tensor in before.items()))


def test_frozen_leaves_every_bit_of_the_encoder_alone(train: Any, encoder: Encoder, tmp_path: Path) -> None:
    before = weights(encoder)
    train(settings("frozen"))
    task = load_task(tmp_path / "run", "last")
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.encoder.state_dict().items())
    assert float(task.model.head.output.weight.abs().max()) > 0


def test_finetuning_moves_the_encoder_by_less_the_smaller_its_rate(
    train: Any, encoder: Encoder, tmp_path: Path
) -> None:
    before = weights(encoder)
    distances = []
    for scale in (0.01, 0.1, 1.0):
        train(settings("finetune", encoder_learning_rate_scale=scale), f"{scale}")
        distances.append(moved(before, load_task(tmp_path / f"{scale}", "last").model.encoder))
    assert 0 < distances[0] < distances[1] < distances[2]
    assert moved(before, encoder) == 0  # the one that was given stays


def test_layers_further_from_the_head_learn_more_slowly(encoder: Encoder) -> None:
    recipe = settings("finetune", encoder_learning_rate_scale=0.5, layer_decay=0.1)
    head, *layers = Task(recipe.training, encoder).layers()
    assert head.scale == 1.0
    assert [layer.scale for layer in layers] == pytest.approx([0.5, 0.05, 0.005, 0.0005])
    optimizer = loop.adamw(encoder, recipe.training, [head, *layers])
    assert [group["scale"] for group in optimizer.param_groups[::2]] == [layer.scale for layer in [head, *layers]]


def test_layers_begin_to_learn_from_the_output_down(train: Any, encoder: Encoder, tmp_path: Path) -> None:
    """The head alone for 3 steps, then a layer more each 2: after 6 steps the output and the last block have moved."""
    recipe = settings("finetune", steps=10, head_steps=3, unfreeze_every_steps=2)
    before = [[p.detach().clone() for p in layer] for layer in encoder_layers(encoder)]
    for steps, moving in ((3, 0), (4, 1), (6, 2), (10, 4)):
        stopped_at(steps, lambda steps=steps: train(recipe, f"{steps}"))
        now = encoder_layers(load_task(tmp_path / f"{steps}", "last").model.encoder)
        same = [all(map(torch.equal, a, b)) for a, b in zip(before, now, strict=True)]
        assert same == [place >= moving for place in range(4)]


def stopped_at(step: int, run: Callable[[], object]) -> None:
    """Let a run be asked to stop once it has done so many steps."""
    done = 0

    class Requests:
        def __enter__(self) -> Callable[[], bool]:
            def asked() -> bool:
                nonlocal done
                done += 1
                return done > step

            return asked

        def __exit__(self, *exception: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_stop_requests", Requests)
        with suppress(StoppedEarly):
            run()


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_a_stopped_run_ends_with_the_bits_of_an_undisturbed_one(mode: str, train: Any, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"steps": 12, "head": HEADS["rnn"]}
    if mode == "finetune":
        changes |= {"head_steps": 2, "unfreeze_every_steps": 3}  # stopped while some layers wait
    recipe = settings(mode, **changes)
    train(recipe, "undisturbed")
    stopped_at(6, lambda: train(recipe, "stopped"))
    assert checkpoint.find(tmp_path / "stopped", "last").name == "step-00000006"
    train(recipe, "stopped")
    expected, found = (weights(load_task(tmp_path / name, "last")) for name in ("undisturbed", "stopped"))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_training_ends_early_and_keeps_the_best(train: Any, tmp_path: Path) -> None:
    """At this rate the loss on what is held out soon rises."""
    recipe = settings("frozen", steps=400, learning_rate=0.3, validate_every_steps=2, patience=3)
    task = train(recipe)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["split"] == "validation"}
    best = min(losses, key=lambda step: (losses[step], step))
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert cost["best_step"] == best
    assert cost["steps"] == best + 6 == max(losses) < 400
    assert max(line["step"] for line in lines if line["split"] == "train") == cost["steps"]
    kept = load_task(checkpoint.find(tmp_path / "run", "best"))
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in task.state_dict().items())
    train(recipe)  # ended for good
    assert json.loads((tmp_path / "run" / "cost.json").read_text())["steps"] == cost["steps"]


def test_cached_features_are_those_of_the_stream(
    dialogues: list[Conversation], encoder: Encoder, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path, encoder)
    window = FeatureWindows(dialogues, 2 * RATE_HZ, cache, seed=0)[5]
    conversation = dialogues[window.conversation]
    whole = encoder.encode(heard(conversation), RATE_HZ)
    assert torch.equal(torch.from_numpy(np.array(cache.features(conversation))), whole)
    # The window is a stretch of it, with the activity of that stretch.
    spoken = activity(conversation, 50.0)
    places = [t for t in range(whole.shape[1] - 99) if torch.equal(whole[:, t : t + 100], window.samples)]
    assert len(places) == 1
    assert np.array_equal(window.activity, spoken[places[0] : places[0] + 100])
    cache.remove()
    assert not tmp_path.exists()


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_a_window_knows_the_history_before_it(
    mode: str, dialogues: list[Conversation], encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(settings(mode, head=FCHeadConfig(channels=8, activity_history=True)).training, encoder).eval()
    awoken(task.model.head)
    monkeypatch.setattr(task.target, "loss", lambda logits, activity: logits)
    minute, hop = task.model.head.history.minute, encoder.hop_samples
    if mode == "frozen":
        windows: Windows = FeatureWindows(dialogues, 2 * RATE_HZ, FeatureCache(tmp_path, encoder), 0, True, minute)
    else:
        windows = Windows(dialogues, 2 * RATE_HZ, RATE_HZ, 50.0, 0, True, step_samples=hop, past_frames=minute)
    batch = collate([windows[item] for item in range(12)])
    logits = task(batch).total
    for row in range(12):
        conversation = dialogues[batch.conversation[row]]
        spoken = torch.from_numpy(activity(conversation, 50.0))
        whole, _ = task.model(heard(conversation)[None], None, spoken[None])
        before = torch.cat((torch.zeros(minute, 2, dtype=torch.bool), spoken))
        places = [
            (t, order)
            for t in range(len(spoken) - 99)
            for order in ([0, 1], [1, 0])
            if torch.equal(before[t : t + minute + 100, order], torch.cat((batch.past[row], batch.activity[row])))
        ]
        # By the end of the window the encoder has heard all that it can.
        assert any(torch.allclose(whole[0, order, t + 99], logits[row, :, 99], atol=1e-4) for t, order in places)


def test_a_head_that_reads_history_is_trained_and_answers_as_it_would_live(
    train: Any, dialogues: list[Conversation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_tt.training.head_answers.BLOCK_SECONDS", 3.0)  # several to a dialogue
    head = RNNHeadConfig(channels=8, activity_history=True)
    task = train(settings("frozen", head=head, steps=50, validate_every_steps=25))
    conversation = dialogues[0]
    spoken = activity(conversation, 50.0)
    live = ssl_tt.Stream(task.model).push(heard(conversation), spoken.T)
    events = find_events(spoken, 50.0)
    assert all(bool(live[e.previous, e.decision, 0] > 0) == (e.kind == "shift") for e in events)
    frames = np.array([event.decision for event in events])
    found = logits_reader(task, FeatureCache(tmp_path / "features", task.model.encoder))(conversation, frames)
    np.testing.assert_allclose(found["logits"], live[:, frames].transpose(0, 1), atol=1e-5)


def test_swapping_the_speakers_swaps_the_answer(train: Any, dialogues: list[Conversation]) -> None:
    task = train(settings("finetune", head=HEADS["rnn"]))
    samples = heard(dialogues[0])
    logits = ssl_tt.Stream(task.model).push(samples)
    assert torch.allclose(ssl_tt.Stream(task.model).push(samples.flip(0)).flip(0), logits, atol=1e-5)
    assert float(logits.std()) > 0


def test_a_run_gives_the_model_back(train: Any, dialogues: list[Conversation], tmp_path: Path) -> None:
    task = train(settings("frozen"))
    samples = heard(dialogues[0])
    model = ssl_tt.load_turn_taking(tmp_path / "run")
    assert torch.equal(ssl_tt.Stream(model).push(samples), ssl_tt.Stream(task.model).push(samples))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_dialogues_are_held_out_whole(dialogues: list[Conversation]) -> None:
    twice = [*dialogues, *(replace(c, id=f"{c.id} again", provenance={"dialogue": c.id}) for c in dialogues)]
    fitted, held_out = split_dialogues(twice, 0.25, seed=0)
    assert len(held_out) == 2
    assert not {c.dialogue for c in fitted} & {c.dialogue for c in held_out}
    assert {c.id for c in split_dialogues(twice[::-1], 0.25, seed=0)[1]} == {c.id for c in held_out}
    with pytest.raises(InputError, match="1 training dialogue"):
        split_dialogues(dialogues[:1], 0.25, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "frozen", "layer_decay": 0.5}, 'layer_decay 0.5 with mode "frozen"'),
        ({"mode": "scratch", "head_steps": 5}, 'head_steps 5 with mode "scratch"'),
        ({"mode": "finetune", "head_steps": 600}, "head_steps 600 of 600 steps"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeadTraining(**changes)


def test_events_of_one_kind_are_nothing_to_learn_from(
    dialogues: list[Conversation], encoder: Encoder, tmp_path: Path
) -> None:
    kept = [replace(c, segments=(c.segments[0], ())) for c in dialogues if c.segments is not None]
    with pytest.raises(InputError, match=r"0 shifts and .* in the conversations held out, expected both"):
        train_head(settings(), encoder, kept, tmp_path / "run", FeatureCache(tmp_path / "features", encoder))


def test_a_layer_that_would_never_learn_is_refused(train: Any) -> None:
    with pytest.raises(InputError, match="the last of 4 layers would learn from step 30 of 20"):
        train(settings("finetune", unfreeze_every_steps=10))
