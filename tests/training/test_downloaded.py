"""A run directory from elsewhere can be wrong in any way, and does no more than be refused."""

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzed import write_run
from safetensors.torch import load_file, save_file

import ssl_tt
from ssl_tt.errors import InputError
from ssl_tt.training import checkpoint, loop, tensors
from ssl_tt.training.config import TrainingConfig


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The one checkpoint of a small run, step 10."""
    run = tmp_path / "outer" / "run"
    run.mkdir(parents=True)
    write_run(run)
    ssl_tt.load_encoder(run)  # which is whole
    return run / "checkpoints" / "step-00000010"


def sign(saved: Path) -> None:
    """Digests that fit, by whoever did the damage."""
    names = ("model.safetensors", "optimizer.safetensors", "state.json")
    digests = {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in names}
    (saved / "digests.json").write_text(json.dumps(digests))


def refused(saved: Path, match: str) -> None:
    """By way of the run and of the checkpoint, with nothing written."""
    outer = saved.parent.parent.parent
    before = {path: path.read_bytes() for path in outer.rglob("*") if path.is_file()}
    for path in (saved.parent.parent, saved):
        with pytest.raises(InputError, match=match):
            ssl_tt.load_encoder(path)
    assert {path: path.read_bytes() for path in outer.rglob("*") if path.is_file()} == before


# --- Outside the folder


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "digests.json"])
def test_a_link_to_a_file_outside_is_not_followed(name: str, saved: Path) -> None:
    outside = saved.parent.parent.parent / name
    (saved / name).rename(outside)
    (saved / name).symlink_to(outside)
    refused(saved, "a link to")


def test_links_in_the_place_of_recipe_or_checkpoints_are_not_followed(saved: Path, tmp_path: Path) -> None:
    run = saved.parent.parent
    for name in ("recipe.toml", "checkpoints"):
        (run / name).rename(tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
        with pytest.raises(InputError, match="a link to"):
            ssl_tt.load_encoder(run)
        (run / name).unlink()
        (tmp_path / name).rename(run / name)
    ssl_tt.load_encoder(run)


def test_a_pipe_in_the_place_of_the_weights_is_not_waited_for(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    os.mkfifo(saved / "model.safetensors")
    with pytest.raises(InputError, match="neither file nor folder"):
        ssl_tt.load_encoder(saved)


@pytest.mark.parametrize("name", ["../../../secret", "/etc/hostname", "sub/../../x", "more.bin", "state.json/"])
def test_digests_of_other_files_are_refused(name: str, saved: Path) -> None:
    digests = json.loads((saved / "digests.json").read_text())
    (saved / "digests.json").write_text(json.dumps({**digests, name: "0" * 64}))
    with pytest.raises(InputError, match=r"digests\.json lists .* expected model\.safetensors, optimizer"):
        ssl_tt.load_encoder(saved)


def test_digests_that_leave_a_file_out_are_refused(saved: Path) -> None:
    digests = json.loads((saved / "digests.json").read_text())
    del digests["model.safetensors"]
    (saved / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(InputError, match=r"lists optimizer\.safetensors, state\.json, expected"):
        ssl_tt.load_encoder(saved)
    (saved / "digests.json").write_text("{}")
    with pytest.raises(InputError, match="lists nothing"):
        ssl_tt.load_encoder(saved)


# --- Code


def test_a_pickle_is_no_safetensors_file_and_is_not_run(saved: Path, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return (os.mkdir, (str(tmp_path / "run-by-a-pickle"),))

    (saved / "model.safetensors").write_bytes(pickle.dumps(Harmful()))
    sign(saved)
    refused(saved, "not a whole safetensors file")
    assert not (tmp_path / "run-by-a-pickle").exists()
    pickle.loads((saved / "model.safetensors").read_bytes())
    assert (tmp_path / "run-by-a-pickle").exists()  # it would have been


# --- Memory


def test_a_recipe_of_a_terabyte_is_refused_before_anything_is_allocated(saved: Path) -> None:
    path = saved.parent.parent / "recipe.toml"
    text = path.read_text()
    assert "channels = 4\n" in text
    text = text.replace("channels = 4\n", "channels = 4096\n").replace("kernel = 3", "kernel = 64")
    path.write_text(text.replace("dilations = [1, 2]", f"dilations = {[1] * 64}"))  # 275 GB of kernels
    refused(saved, "of its recipe")


@pytest.mark.parametrize("length", [10**12, (1 << 63) - 1, (1 << 64) - 4])
def test_a_header_that_asks_for_terabytes_is_refused(length: int, saved: Path) -> None:
    name = next(iter(load_file(saved / "model.safetensors")))
    entry = {"dtype": "F32", "shape": [length // 4], "data_offsets": [0, length]}
    header = json.dumps({name: entry}).encode()
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    sign(saved)
    refused(saved, "not a whole safetensors file")
    (saved / "model.safetensors").write_bytes(struct.pack("<Q", length) + header)
    sign(saved)
    refused(saved, "not a whole safetensors file")


def test_a_file_larger_than_its_tensors_is_not_read(saved: Path) -> None:
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)  # without taking any room on the disk
    with pytest.raises(InputError, match="1099511627776 bytes, expected at most"):
        tensors.read(saved / "model.safetensors", {"weight": torch.zeros(3)})


# --- Tensors


def _edit(change: Callable[[dict[str, torch.Tensor], str], object]) -> Callable[[Path], None]:
    def edit(saved: Path) -> None:
        found = load_file(saved / "model.safetensors")
        name = next(name for name, tensor in found.items() if tensor.ndim == 3 and tensor.dtype == torch.float32)
        change(found, name)
        save_file({key: tensor.contiguous() for key, tensor in found.items()}, saved / "model.safetensors")
        sign(saved)

    return edit


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda found, name: found.update({name: found[name].view(torch.int32)}), r"is I32 .* expected F32"),
        (lambda found, name: found.update({name: found[name].bfloat16()}), r"is BF16 .* expected F32"),
        (lambda found, name: found.update({name: found[name].to(torch.float8_e5m2)}), r"is F8_E5M2 .* expected F32"),
        (lambda found, name: found.update({name: found[name].transpose(0, 2)}), r"is F32 \[.*, expected F32 \["),
        (lambda found, name: found.update({name: found[name].flatten()}), r"is F32 \[.*, expected F32 \["),
        (lambda found, name: found.pop(name), "is missing of the"),
        (lambda found, name: found.update(more=torch.zeros(1)), "more is not one of the"),
        (lambda found, name: found[name].view(-1).__setitem__(3, torch.nan), "is not finite"),
        (lambda found, name: found[name].view(-1).__setitem__(0, -torch.inf), "is not finite"),
    ],
)
def test_tensors_that_are_not_those_of_the_recipe_are_refused(change: Any, match: str, saved: Path) -> None:
    _edit(change)(saved)
    refused(saved, match)


@pytest.mark.parametrize(
    ("name", "match"), [("0.exp_avg", "parts of the state of parameter 0"), ("9999.step", "is not one of the")]
)
def test_the_state_of_another_optimizer_is_refused(name: str, match: str, saved: Path) -> None:
    optimizer = loop.adamw(checkpoint.load_objective(saved), TrainingConfig())
    checkpoint.restore_optimizer(optimizer, saved)
    found = load_file(saved / "optimizer.safetensors")
    if name in found:
        del found[name]
    else:
        found[name] = torch.tensor(1.0)
    save_file(found, saved / "optimizer.safetensors")
    with pytest.raises(InputError, match=match):
        checkpoint.restore_optimizer(optimizer, saved)


# --- State


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"step": "10"}, "step: Input should be a valid integer"),
        ({"step": -10}, "step: Input should be greater"),
        ({"step": 11}, "step 11, expected that of its folder"),
        ({"step": True}, "step: Input should be a valid integer"),
        ({"best": 10}, "best: "),
        ({"best": {"step": 10}}, "best.loss: Field required"),
        ({"best": {"step": "../../..", "loss": 1.0}}, "best.step: "),
        ({"best": {"step": 10, "loss": float("nan")}}, "best.loss: Input should be a finite number"),
        ({"best": {"step": 10, "loss": None}}, "best.loss: "),
        ({"data": ["0"]}, "data: Input should be a valid string"),
        ({"seconds": -1.0}, "seconds: "),
        ({"since_log": [1.0]}, "since_log: "),
        ({"since_log": {"loss": "1.0"}}, "since_log.loss: "),
    ],
)
def test_a_state_of_other_types_is_refused(change: dict[str, Any], match: str, saved: Path) -> None:
    state = json.loads((saved / "state.json").read_text())
    (saved / "state.json").write_text(json.dumps({**state, **change}))
    sign(saved)
    with pytest.raises(InputError, match=match):
        ssl_tt.load_encoder(saved.parent.parent)


@pytest.mark.parametrize("name", ["state.json", "digests.json"])
def test_no_more_is_read_of_a_state_than_one_can_be(name: str, saved: Path) -> None:
    (saved / name).write_bytes((saved / name).read_bytes() + b" " * (1 << 21))  # which JSON allows
    if name == "state.json":
        sign(saved)
    with pytest.raises(InputError, match=r"more than 1048576 bytes|no whole checkpoint"):
        ssl_tt.load_encoder(saved.parent.parent)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"step": ' + "9" * 5000 + "}", " " * (1 << 21), "\xff"]
)
@pytest.mark.parametrize("name", ["state.json", "digests.json"])
def test_what_is_no_state_and_no_list_of_digests_is_refused(name: str, text: str, saved: Path) -> None:
    (saved / name).write_text(text)
    if name == "state.json":
        sign(saved)
    with pytest.raises(InputError) as caught:
        ssl_tt.load_encoder(saved.parent.parent)
    assert len(str(caught.value)) < 1000
