"""A corpus in shards, here or at a URL, trains like the files that it was made from; batches hold whole groups."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_tt import recipe
from ssl_tt.cli import main
from ssl_tt.data.manifest import read_manifest
from ssl_tt.data.storage import Member
from ssl_tt.data.windows import Windows
from ssl_tt.errors import InputError, RunError
from ssl_tt.training import checkpoint, corpora, loop
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.pretrain import pretrain


@pytest.fixture(scope="module")
def sharded(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus as `ssl-tt prepare --shards` leaves it: three conversations a shard."""
    out = tmp_path_factory.mktemp("sharded") / "out"
    options = ["--shards", "--shard-gigabytes", "1.2e-3", "--processes", "1"]
    assert main(["prepare", "manifest", str(tiny_corpus.parent), "--out", str(out), *options]) == 0
    assert len(list(out.glob("shard-*.tar"))) == 3
    assert all(isinstance(each.audio, Member) for each in read_manifest(out / "manifest.jsonl"))
    assert main(["check", str(out / "manifest.jsonl")]) == 0
    return out


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_objective(run, "last").state_dict()


def load(tiny_recipe: Path, *options: str) -> PretrainRecipe:
    return recipe.load(tiny_recipe, PretrainRecipe, ["--training.steps", "10", *options])


def test_shards_give_the_weights_of_the_plain_files(tiny_recipe: Path, sharded: Path, tmp_path: Path) -> None:
    cache = ["--data.cache_folder", str(tmp_path / "cache"), "--data.cache_gigabytes", "0.001"]
    expected = weights(pretrain(load(tiny_recipe), tmp_path / "plain", quiet=True))
    for name, corpus, workers in (("here", f"{sharded}", "0"), ("at a URL", f"file://{sharded}", "1")):
        options = ["--data.pretrain", f"{corpus}/manifest.jsonl", "--training.workers", workers, *cache]
        found = weights(pretrain(load(tiny_recipe, *options), tmp_path / name, quiet=True))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name
    assert list((tmp_path / "cache" / "blocks").iterdir())


def test_check_reads_shards_at_a_url(sharded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # where the cache goes
    assert main(["check", f"file://{sharded}/manifest.jsonl"]) == 0
    assert "8 good conversations" in capsys.readouterr().out
    assert main(["check", f"file://{sharded}/none.jsonl"]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--shard-gigabytes", "0"], ["--processes", "0"]])
def test_sizes_of_shards_that_cannot_be_are_refused(options: list[str], tmp_path: Path) -> None:
    assert main(["prepare", "folder", str(tmp_path), "--out", str(tmp_path / "out"), "--shards", *options]) == 2


@pytest.mark.parametrize(("accumulation", "world"), [(1, 1), (2, 1), (1, 2), (1, 4), (2, 2)])
def test_any_number_of_processes_reads_whole_groups(accumulation: int, world: int, tiny_recipe: Path) -> None:
    options = ["--training.accumulation", str(accumulation), "--training.batch_windows", "8", "--training.steps", "3"]
    experiment = load(tiny_recipe, *options, "--data.windows_per_conversation", "2")
    windows = _windows(experiment)
    drawn: dict[int, Any] = {}
    for rank in range(world):
        for batch, _ in loop.batches(windows, experiment, 0, rank, world):
            first, second = batch.conversation.view(-1, 2).T
            assert torch.equal(first, second)
            drawn |= dict(zip(batch.item.tolist(), batch.samples, strict=True))
    assert sorted(drawn) == list(range(24))
    assert all(torch.equal(samples, windows[item].samples) for item, samples in drawn.items())


def _windows(experiment: PretrainRecipe) -> Any:
    from ssl_tt.encoder.encoder import Encoder
    from ssl_tt.training.pretrain import training_windows

    return training_windows(corpora.conversations(experiment)[0], experiment, Encoder(experiment.encoder))[0]


def test_negatives_of_the_same_conversation_come_from_its_other_windows(tiny_recipe: Path, tmp_path: Path) -> None:
    options = ["--data.windows_per_conversation", "2", "--objective.negatives", "same_conversation"]
    one = weights(pretrain(load(tiny_recipe, *options), tmp_path / "together", quiet=True))
    other = weights(pretrain(load(tiny_recipe, *options[2:]), tmp_path / "apart", quiet=True))
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_groups_that_do_not_fit_a_batch_are_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"windows_per_conversation 3 for the 2 windows .* expected a divisor of it"):
        pretrain(load(tiny_recipe, "--data.windows_per_conversation", "3"), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_storage_that_vanished_is_said_in_a_line(
    workers: str, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vanished(windows: Windows, item: int) -> None:
        raise RunError("s3://bucket/shard-00000.tar: cannot be fetched after 5 retries (no route to host)")

    run = tmp_path / "run"
    monkeypatch.setattr("ssl_tt.training.pretrain.take_statistics", lambda encoder, windows: None)
    monkeypatch.setattr(loop, "_validation", lambda *given: None)
    monkeypatch.setattr(loop, "_validate", lambda *given: {"loss": 1.0})
    monkeypatch.setattr(Windows, "__getitem__", vanished)
    assert main(["pretrain", str(tiny_recipe), "--out", str(run), "--training.workers", workers]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "s3://bucket/shard-00000.tar: cannot be fetched after 5 retries (no route to host)"
