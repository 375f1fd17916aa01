"""Tensors in safetensors files, believed only where they are just those that a module has.

The recipe beside a file says which tensors to expect. They are worked out without memory (on torch's `meta` device) and
held against the file's header, so that neither recipe nor header can make the reader allocate more than the file holds.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor, nn

from ssl_tt.errors import InputError

Tensors = dict[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def rebuilt(new: Callable[[], Module], path: Path) -> Module:
    """What `new` makes, with the tensors of a file; InputError unless the file holds just these, all finite.

    torch's generator is left alone, and memory is taken only once the file is known to fit.
    """
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):
            expected = new().state_dict()
        found = read(path, expected)
        module = new()
    restore(module, found, path)
    return module


def restore(module: nn.Module, tensors: Tensors, path: Path) -> None:
    """Give a module the tensors that were read from a file; InputError for one that is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: {name} is not finite, expected finite weights: take another checkpoint")
    module.load_state_dict(tensors)


def read(path: Path, expected: Mapping[str, Tensor], *, some: bool = False) -> Tensors:
    """Tensors of a file, which are by name, shape and type those expected; with `some`, some of them.

    InputError for anything else, before more than the header is read.
    """
    try:
        _check(path, expected, some)
        return tensors_from_bytes(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error


def _check(path: Path, expected: Mapping[str, Tensor], some: bool) -> None:
    most = sum(tensor.nbytes for tensor in expected.values()) + 1024 * len(expected) + (1 << 16)
    if (size := path.stat().st_size) > most:
        raise InputError(f"{path}: {size} bytes, expected at most {most} for the tensors of its recipe")
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        if wrong := sorted(names - expected.keys() if some else names ^ expected.keys()):
            what = "is not one" if wrong[0] in names else "is missing"
            raise InputError(f"{path}: {wrong[0][:80]} {what} of the {len(expected)} tensors of its recipe")
        for name in names:
            tensor, found = expected[name], file.get_slice(name)
            there = found.get_dtype(), tuple(found.get_shape())
            if there != (_DTYPES[tensor.dtype], tuple(tensor.shape)):
                raise InputError(
                    f"{path}: {name} is {there[0]} {list(there[1])}, expected {_DTYPES[tensor.dtype]} "
                    f"{list(tensor.shape)} of its recipe: is it another run's?"
                )
