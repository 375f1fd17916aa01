"""Checkpoints are whole or not there, hold no pickle, and give back the very weights."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ssl_tt import recipe
from ssl_tt.errors import InputError, RunError
from ssl_tt.training import checkpoint, tensors
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain

MODEL = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}


STATE = {"best": {"step": 0, "loss": 1.0}, "data": "", "seconds": 0.0, "cpu_seconds": 0.0, "since_log": {}}


def save(run: Path, step: int, best: int = 0, keep: int = 2) -> Path:
    state = {**STATE, "best": {"step": best, "loss": 1.0}}
    return checkpoint.save(run, step, MODEL, {"0.step": torch.tensor(1.0)}, state, keep)


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = recipe.load(tiny_recipe, PretrainRecipe, ["--training.steps", "20"])
    return pretrain(settings, tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    saved = save(tmp_path, 7)
    model = tensors.read(saved / "model.safetensors", MODEL)
    assert all(torch.equal(model[name], MODEL[name]) for name in MODEL)
    assert load_file(saved / "optimizer.safetensors") == {"0.step": torch.tensor(1.0)}
    assert checkpoint.read_state(saved) == {**STATE, "step": 7}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_few_and_the_best_are_kept(keep: int, tmp_path: Path) -> None:
    for step in (0, 10, 20, 30, 40):
        save(tmp_path, step, best=10 if step >= 10 else 0, keep=keep)
    assert names(tmp_path) == ["step-00000010", "step-00000020", "step-00000030", "step-00000040"][:1] + [
        f"step-000000{step}" for step in (20, 30, 40)[-keep:]
    ]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "digests.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(
    name: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, last = save(tmp_path, 10), save(tmp_path, 20)
    content = (last / name).read_bytes()
    match damage:
        case "cut":
            (last / name).write_bytes(content[: len(content) // 2])
        case "flip":
            (last / name).write_bytes(content[:10] + bytes([content[10] ^ 1]) + content[11:])
        case "remove":
            (last / name).unlink()
    assert checkpoint.newest(tmp_path) == before
    assert str(last) in capsys.readouterr().err


def test_with_every_checkpoint_damaged_nothing_starts_anew(tmp_path: Path) -> None:
    (save(tmp_path, 10) / "state.json").write_text("{}")
    with pytest.raises(InputError, match="no whole checkpoint"):
        checkpoint.newest(tmp_path)


def test_a_crash_while_writing_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = save(tmp_path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _fail)
        with pytest.raises(RunError, match="No space left"):
            save(tmp_path, 20)
    assert names(tmp_path) == ["step-00000010"]
    # A killed process cannot clean up after itself: the next save does.
    (tmp_path / "checkpoints" / ".step-00000020.partial").mkdir()
    assert checkpoint.newest(tmp_path) == before
    save(tmp_path, 30, best=30)
    assert names(tmp_path) == ["step-00000010", "step-00000030"]


def test_storage_that_does_not_hold_what_was_written_costs_no_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = save(tmp_path, 10, keep=1)

    def lose_the_end(partial: Path) -> None:
        os.truncate(partial / "model.safetensors", 20)

    monkeypatch.setattr(checkpoint, "flush_folder", lose_the_end)
    with pytest.raises(
        RunError, match=r"cannot be written \(it reads back damaged \(model.safetensors is not as it was"
    ):
        save(tmp_path, 20, best=20, keep=1)
    assert names(tmp_path) == ["step-00000010"]
    assert checkpoint.newest(tmp_path) == before


def test_a_run_that_has_vanished_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written \(No such file or directory\)"):
        save(tmp_path / "gone", 10)
    assert not list(tmp_path.iterdir())


def test_the_newest_is_the_one_of_the_highest_step_whatever_its_name_sorts_as(tmp_path: Path) -> None:
    save(tmp_path, 99_999_999)
    newest = save(tmp_path, 100_000_000, best=99_999_999)
    (tmp_path / "checkpoints" / "step-of-mine").mkdir()
    assert checkpoint.newest(tmp_path) == newest


def _fail(*arguments: Any) -> None:
    raise OSError(28, "No space left on device")


def test_the_optimizer_is_given_back_its_state(tmp_path: Path) -> None:
    def stepped(steps: int, optimizer: torch.optim.Optimizer) -> None:
        for step in range(steps):
            for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
                parameter.grad = torch.full_like(parameter, 0.1 * (step + 1) * (number + 1))
            optimizer.step()

    def fresh() -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
        parameters = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.zeros(2, 2))]
        return parameters, torch.optim.AdamW(parameters, lr=0.1)

    parameters, optimizer = fresh()
    stepped(3, optimizer)
    others, other = fresh()
    for a, b in zip(others, parameters, strict=True):
        a.data.copy_(b.data)
    saved = checkpoint.save(tmp_path, 3, MODEL, checkpoint.optimizer_tensors(optimizer), STATE)
    checkpoint.restore_optimizer(other, saved)
    stepped(2, optimizer)
    stepped(2, other)
    assert all(torch.equal(a, b) for a, b in zip(parameters, others, strict=True))


def test_a_run_directory_gives_back_its_trained_encoder(run: Path) -> None:
    state = json.loads((checkpoint.find(run, "last") / "state.json").read_text())
    best = run / "checkpoints" / f"step-{state['best']['step']:08d}"
    saved = load_file(best / "model.safetensors")
    for encoder in (checkpoint.load_encoder(run), checkpoint.load_encoder(best)):
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, saved[f"encoder.{name}"])
    # The corpus statistics are part of it.
    assert encoder.frontend.mean.abs().sum() > 0


def test_loading_leaves_the_generator_of_the_user_alone(run: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    checkpoint.load_objective(run, "last")
    assert torch.equal(torch.rand(1), expected)


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run directory"):
        checkpoint.load_encoder(tmp_path)


def test_no_file_of_a_run_is_a_pickle(run: Path) -> None:
    suffixes = {path.suffix for path in run.rglob("*") if path.is_file() and "tensorboard" not in path.parts}
    assert suffixes == {".toml", ".json", ".jsonl", ".safetensors"}
