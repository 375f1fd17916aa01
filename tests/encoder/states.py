"""What the state of a stream is made of."""

import torch
from torch import Tensor

from ssl_tt.encoder.streaming import mapped


def tensors(state: object) -> list[Tensor]:
    """Every tensor of nested tuples, lists and dicts, in order."""
    found: list[Tensor] = []
    mapped(lambda tensor: found.append(tensor) or tensor, state)
    return found


def shapes(state: object) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors(state)]


def held_bytes(state: object) -> int:
    """Bytes of the memory that a state keeps from being freed, each storage counted once."""
    storages = [tensor.untyped_storage() for tensor in tensors(state)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
