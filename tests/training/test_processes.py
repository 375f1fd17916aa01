"""What several processes are refused for, before anything is read or written."""

from pathlib import Path

import pytest

from ssl_tt import recipe
from ssl_tt.errors import InputError
from ssl_tt.training import processes
from ssl_tt.training.compare import compare
from ssl_tt.training.config import CompareRecipe, PretrainRecipe, TrainingConfig
from ssl_tt.training.pretrain import pretrain


@pytest.mark.parametrize("value", ["true", "1", "TRUE", "yes"])
@pytest.mark.parametrize(
    ("variable", "engine"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "parallelism config"),
    ],
)
def test_an_engine_that_splits_the_weights_is_refused(
    variable: str, engine: str, value: str, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(
        InputError, match=f"^{variable}={value}: .*{engine} .*: unset {variable} and start with torchrun"
    ):
        pretrain(recipe.load(tiny_recipe, PretrainRecipe), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["false", "0", ""])
def test_an_engine_that_is_switched_off_is_not(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", value)
    processes.join(TrainingConfig())


def test_a_process_that_does_not_know_of_the_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would train by itself, into the same folder."""
    processes.join(TrainingConfig())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="2 processes were started, but this one knows of 1: start them with torchrun"):
        processes.join(TrainingConfig())


def test_a_comparison_is_refused_on_several_processes(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--name", "a", "--data.pretrain", str(tiny_corpus), "--objectives.a.kind", "cpc"]
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(InputError, match="a comparison on 8 processes, expected one: train its runs with `ssl-tt pret"):
        compare(recipe.load(None, CompareRecipe, options), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_one_process_adds_nothing_up_and_agrees_with_itself() -> None:
    processes.join(TrainingConfig())
    assert processes.summed([0.1, -3.0]) == [0.1, -3.0]
    processes.agree(recipe="a", data="b")
    assert processes.is_main()
