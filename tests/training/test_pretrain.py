"""Pretraining: what a run directory holds, what is refused, what one bad file does."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ssl_tt import recipe
from ssl_tt.data.augmentation import augment, row_generators
from ssl_tt.data.config import AugmentationConfig
from ssl_tt.data.manifest import read_manifest, write_manifest
from ssl_tt.data.windows import Batch, Windows, collate
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives.cpc import CPC
from ssl_tt.objectives.loss import Loss
from ssl_tt.training import checkpoint, corpora, loop
from ssl_tt.training.config import CompareRecipe, PretrainRecipe, TrainingConfig
from ssl_tt.training.corpora import Splits
from ssl_tt.training.pretrain import claim, pretrain


@pytest.fixture
def settings(tiny_recipe: Path) -> Any:
    def settings(*options: str) -> PretrainRecipe:
        return recipe.load(tiny_recipe, PretrainRecipe, ["--training.steps", "10", *options])

    return settings


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_directory_holds_all_that_rebuilds_it(settings: Any, tmp_path: Path) -> None:
    run = pretrain(settings(), tmp_path / "run", quiet=True)
    assert recipe.load(run / "recipe.toml", PretrainRecipe) == settings()
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"] == torch.__version__
    cost = json.loads((run / "cost.json").read_text())
    assert cost["parameters"] == checkpoint.load_encoder(run).parameter_count
    assert cost["pretrain_audio_hours"] == pytest.approx(4 * 6 / 3600)
    assert cost["pretrain_seconds"] > 0
    assert cost["pretrain_cpu_seconds"] > 0
    assert [line["step"] for line in metrics(run) if line["split"] == "validation"] == [0, 10]
    assert list((run / "tensorboard").iterdir())


def test_a_run_of_joined_objectives_is_resumed_and_rebuilt(settings: Any, tmp_path: Path) -> None:
    part = "--objective.parts."
    options = ["--objective.kind", "joint"]
    options += [f"{part}near.kind", "cpc2", f"{part}near.horizons", "1", "4", f"{part}near.context_channels", "8"]
    options += [f"{part}near.speech_only", "true", f"{part}near.augment_past.reverberation_probability", "0.5"]
    options += [f"{part}codes.kind", "vqvae", f"{part}codes.codes", "8", f"{part}codes.weight", "0.5"]
    undisturbed = pretrain(settings(*options), tmp_path / "undisturbed", quiet=True)
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    shutil.rmtree(checkpoint.find(run, "last"))  # that of step 5 is left
    pretrain(settings(*options), run, quiet=True)
    first, again = (checkpoint.load_objective(each, "last").state_dict() for each in (undisturbed, run))
    assert all(torch.equal(first[name], again[name]) for name in first)
    line = metrics(run)[-1]
    assert {"near.accuracy", "near.scored", "near.loss", "codes.perplexity"} <= line.keys()
    assert line["loss"] == pytest.approx(line["near.loss"] + 0.5 * line["codes.loss"], rel=1e-5)


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(settings: Any, tmp_path: Path) -> None:
    # A rate that ruins the weights: the best comes before the last.
    options = ["--training.learning_rate", "3", "--training.warmup_steps", "0", "--training.validate_every_steps", "2"]
    run = pretrain(settings(*options), tmp_path / "run", quiet=True)
    losses = {line["step"]: line["loss"] for line in metrics(run) if line["split"] == "validation"}
    best = min(losses, key=lambda step: losses[step])
    assert best < 10
    assert checkpoint.find(run, "best").name == f"step-{best:08d}"
    assert checkpoint.find(run, "last").name == "step-00000010"


def augmented(batch: Batch) -> torch.Tensor:
    """Samples [B, S, N], all that can be done to audio having been done to them."""
    every = AugmentationConfig.model_validate(
        {f"{name}_probability": 0.7 for name in ("reverberation", "noise", "gain", "band", "mu_law", "dropout")}
    )
    assert batch.seed is not None
    channels = batch.samples.flatten(0, 1)
    return augment(channels, every, 16000, row_generators(batch.seed, 2, stream=0)).view_as(batch.samples)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("accumulation", "world"), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 4)])
def test_any_number_of_processes_draws_and_augments_the_same_windows(
    accumulation: int, world: int, workers: int, settings: Any
) -> None:
    options = ["--training.accumulation", str(accumulation), "--training.workers", str(workers)]
    experiment = settings(*options, "--training.steps", "5")
    splits = corpora.conversations(experiment)[0]
    windows = Windows(splits["train"], 16000, 16000, 50.0, experiment.seed)
    state = torch.random.get_rng_state()
    drawn, changed = {}, {}
    for rank in range(world):
        for batch, unreadable in loop.batches(windows, experiment, 3, rank, world):
            assert not unreadable
            drawn |= dict(zip(batch.item.tolist(), batch.samples, strict=True))
            changed |= dict(zip(batch.item.tolist(), augmented(batch), strict=True))
    assert sorted(drawn) == list(range(12, 20))  # steps 3 and 4 of batches of 4
    for item in range(12, 20):
        alone = collate([windows[item]])
        assert torch.equal(drawn[item], alone.samples[0])
        assert torch.equal(changed[item], augmented(alone)[0])
        assert not torch.equal(changed[item], drawn[item])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_folder_of_another_recipe_is_refused_and_kept(settings: Any, tmp_path: Path) -> None:
    run = pretrain(settings(), tmp_path / "run", quiet=True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"another recipe: training.steps is 10 there, 20 in this one"):
        pretrain(settings("--training.steps", "20"), run, quiet=True)
    with pytest.raises(InputError, match=r"another recipe: encoder.channels is 8 there, 4 in this one"):
        pretrain(settings("--encoder.channels", "4"), run, quiet=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_folder_of_other_files_is_refused_and_kept(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        pretrain(settings(), tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("between", ["exists", "iterdir"])
def test_two_processes_may_claim_a_folder_at_once(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    run, look = tmp_path / "run", getattr(Path, between)
    run.mkdir()

    def look_just_before_the_other_process_writes(path: Path) -> Any:
        seen = look(path) if between == "exists" else iter(list(look(path)))
        if run in (path, path.parent):
            monkeypatch.undo()
            (run / "recipe.toml").write_text(recipe.dump(settings()))
        return seen

    monkeypatch.setattr(Path, between, look_just_before_the_other_process_writes)
    claim(run, settings())
    assert [path.name for path in run.iterdir()] == ["recipe.toml"]
    with pytest.raises(InputError, match="another recipe"):
        claim(run, settings("--training.steps", "20"))


def test_nothing_is_written_through_a_link_out_of_the_run(settings: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    claim(run, settings())
    (tmp_path / "mine").write_text("mine")
    (run / "metrics.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=r"metrics\.jsonl: a link to .*mine, out of "):
        pretrain(settings(), run, quiet=True)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_run_may_keep_another_number_of_checkpoints_when_it_goes_on(settings: Any, tmp_path: Path) -> None:
    run = pretrain(settings("--training.save_every_steps", "2"), tmp_path / "run", quiet=True)
    assert len(list((run / "checkpoints").iterdir())) in (2, 3)  # two, and the best
    shutil.rmtree(checkpoint.find(run, "last"))
    options = ["--training.save_every_steps", "2", "--training.keep_checkpoints", "1"]
    run = pretrain(settings(*options), run, quiet=True)
    state = checkpoint.read_state(checkpoint.find(run, "last"))
    kept = {10, state["best"]["step"]}
    assert {int(path.name[5:]) for path in (run / "checkpoints").iterdir()} == kept


def test_other_conversations_under_the_same_recipe_are_refused(
    settings: Any, tiny_corpus: Path, tmp_path: Path
) -> None:
    splits = corpora.conversations(settings())[0]
    run = pretrain(settings(), tmp_path / "run", splits=splits, quiet=True)
    fewer: Splits = {**splits, "train": splits["train"][1:]}
    with pytest.raises(InputError, match=r"its conversations, .* have changed since"):
        pretrain(settings(), run, splits=fewer, quiet=True)


def test_a_finished_run_is_left_as_it_is(settings: Any, tmp_path: Path) -> None:
    run = pretrain(settings(), tmp_path / "run", quiet=True)
    before = (checkpoint.find(run, "last") / "model.safetensors").read_bytes(), metrics(run)
    pretrain(settings(), run, quiet=True)
    assert ((checkpoint.find(run, "last") / "model.safetensors").read_bytes(), metrics(run)) == before


def test_a_window_shorter_than_the_receptive_field_is_refused(settings: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"window 1 s is shorter than the receptive field"):
        pretrain(settings("--encoder.stacks.0.dilations", "1", "3", "9", "27"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("window_seconds", [1, 10])
def test_a_field_longer_than_every_conversation_is_refused_whatever_the_window(
    window_seconds: int, settings: Any, tmp_path: Path
) -> None:
    options = ["--encoder.stacks.0.dilations", "1", "150", "--data.window_seconds", str(window_seconds)]
    with pytest.raises(
        InputError, match=r"a frame sees 6\.09 s, the longest conversation of data.pretrain lasts 6\.00"
    ):
        pretrain(settings(*options), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_annotation_only_conversations_are_refused(settings: Any, tiny_corpus: Path, tmp_path: Path) -> None:
    silent = [replace(c, audio=None, sample_rate_hz=None) for c in read_manifest(tiny_corpus)]
    write_manifest(tmp_path / "manifest.jsonl", silent)
    with pytest.raises(InputError, match="annotation only"):
        pretrain(settings("--data.pretrain", str(tmp_path / "manifest.jsonl")), tmp_path / "run", quiet=True)


def test_an_unreadable_file_is_quarantined_and_its_windows_replaced(
    settings: Any, tiny_corpus: Path, tmp_path: Path
) -> None:
    splits = _with_a_broken_file(tiny_corpus, tmp_path)
    run = pretrain(settings("--data.max_unreadable_share", "0.5"), tmp_path / "run", splits=splits, quiet=True)
    entries = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
    assert entries
    assert all("broken.wav" in entry["error"] for entry in entries)
    assert {entry["path"] for entry in entries} == {str(tmp_path / "broken.wav")}
    assert {entry["conversation"] for entry in entries} == {splits["train"][0].id}
    unreadable = json.loads((run / "cost.json").read_text())["unreadable_windows"]
    assert unreadable == len({entry["item"] for entry in entries})
    assert metrics(run)[-1]["step"] == 10


def test_too_many_unreadable_windows_stop_the_run(settings: Any, tiny_corpus: Path, tmp_path: Path) -> None:
    splits = _with_a_broken_file(tiny_corpus, tmp_path)
    with pytest.raises(RunError, match=r"cannot be read, more than the share of 0\.1; .*broken\.wav"):
        pretrain(settings("--data.max_unreadable_share", "0.1"), tmp_path / "run", splits=splits, quiet=True)


def _with_a_broken_file(tiny_corpus: Path, folder: Path) -> Splits:
    splits = corpora.conversations(_experiment(tiny_corpus))[0]
    broken = folder / "broken.wav"
    first = splits["train"][0]
    assert first.audio is not None
    shutil.copy(first.audio, broken)
    broken.write_bytes(broken.read_bytes()[:50_000])
    return {**splits, "train": [replace(first, audio=broken, sha256=None), *splits["train"][1:]]}


def _experiment(manifest: Path) -> PretrainRecipe:
    options = ["--name", "a", "--data.pretrain", str(manifest), "--objective.kind", "cpc"]
    return recipe.load(None, PretrainRecipe, options)


def test_a_loss_that_is_not_finite_stops_before_the_step(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = CPC.forward

    def poisoned(self: CPC, batch: Any) -> Loss:
        loss = forward(self, batch)
        return loss._replace(total=loss.total * math.nan) if self.training and 12 in batch.item else loss

    monkeypatch.setattr(CPC, "forward", poisoned)
    with pytest.raises(
        RunError, match=r"the loss at step 3 is nan.* items 12 \(conversation-\d at \d\.\d\d s\), 13 \(c"
    ):
        pretrain(settings("--training.save_every_steps", "1"), tmp_path / "run", quiet=True)
    last = checkpoint.find(tmp_path / "run", "last")
    assert checkpoint.read_state(last)["step"] == 3
    assert all(tensor.isfinite().all() for tensor in load_file(last / "model.safetensors").values())


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = np.array([loop.learning_rate(step, config) for step in range(101)])
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert (np.diff(rates[10:]) < 0).all()


# --- Corpora


def test_an_unset_environment_variable_is_told(settings: Any) -> None:
    with pytest.raises(InputError, match="environment variable NO_SUCH_FOLDER is not set"):
        corpora.conversations(settings("--data.pretrain", "$NO_SUCH_FOLDER/manifest.jsonl"))


def test_an_environment_variable_in_a_path_is_filled_in(
    settings: Any, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY", str(tiny_corpus.parent))
    pretraining, _ = corpora.conversations(settings("--data.pretrain", "${TINY}/manifest.jsonl"))
    assert {split: len(found) for split, found in pretraining.items()} == {"train": 4, "validation": 2, "test": 2}


def test_an_unknown_corpus_is_told_with_the_nearest(settings: Any) -> None:
    with pytest.raises(InputError, match=r"did you mean dialogues\?"):
        corpora.conversations(settings("--data.pretrain", "dialogue", "--simulate.dialogues.hours", "1"))


@pytest.mark.parametrize(("conversation_seconds", "refused"), [(10, True), (20, False)])
def test_a_synthetic_corpus_need_not_be_made_to_know_its_conversations_too_short(
    conversation_seconds: int, refused: bool, settings: Any, tmp_path: Path
) -> None:
    options = ["--simulate.a.conversation_seconds", str(conversation_seconds), "--data.pretrain", "a"]
    experiment = settings(*options, "--encoder.stacks.0.dilations", "1", "300")  # a field of 12.09 s
    if refused:
        with pytest.raises(InputError, match=r"longest conversation of data.pretrain lasts 10\.00 s: shorten its dila"):
            corpora.conversations(experiment, tmp_path)
    else:
        corpora.check_lengths(experiment, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_field_longer_than_every_probed_conversation_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    short = [replace(c, duration_seconds=1.5, segments=((), ())) for c in read_manifest(tiny_corpus)]
    write_manifest(tmp_path / "manifest.jsonl", short)
    options = ["--name", "a", "--data.pretrain", str(tiny_corpus), "--objectives.a.kind", "cpc"]
    corpora.conversations(recipe.load(None, CompareRecipe, options))
    experiment = recipe.load(None, CompareRecipe, [*options, "--data.probe", str(tmp_path / "manifest.jsonl")])
    with pytest.raises(InputError, match=r"a frame sees 1\.65 s, the longest conversation of data.probe lasts 1\.50 s"):
        corpora.conversations(experiment)


def test_a_test_speaker_who_is_heard_in_training_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    swapped = {"train": "test", "validation": "validation", "test": "train"}
    other = [replace(c, split=swapped[c.split], id=f"other-{c.id}") for c in read_manifest(tiny_corpus) if c.split]
    write_manifest(tmp_path / "manifest.jsonl", other)
    options = ["--name", "a", "--data.pretrain", str(tiny_corpus), "--data.probe", str(tmp_path / "manifest.jsonl")]
    experiment = recipe.load(None, CompareRecipe, [*options, "--objectives.a.kind", "cpc"])
    with pytest.raises(InputError, match="also heard in training"):
        corpora.conversations(experiment)
