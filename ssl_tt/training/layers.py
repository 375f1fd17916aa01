"""A model as layers that learn at rates of their own: an encoder from the layer next to the head down to its input."""

from collections.abc import Iterable
from typing import NamedTuple, cast

from torch import nn

from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.stack import Stack


class Layer(NamedTuple):
    """Parameters that learn alike."""

    parameters: list[nn.Parameter]
    scale: float = 1.0
    """Their learning rate, relative to the schedule's."""
    first_step: int = 0
    """The step from which on they learn."""


def encoder_layers(encoder: Encoder) -> list[list[nn.Parameter]]:
    """Parameters of each layer of an encoder, the one nearest to its output first, each parameter once.

    The output layers of all stacks, which stand side by side, are one layer; so are their last blocks, those before
    the last, and so on, with what combines stacks before a block. The pre-layers and what the front end learns, all
    that stands before the first blocks, are the last layer. What learns nothing is left out.
    """
    stacks = list(cast(Iterable[Stack], encoder.stacks))
    every_layer = encoder.every_layer
    outputs = [stack.output for stack in stacks if stack.output is not None]
    layers: list[list[nn.Module]] = [[*outputs, *([every_layer.output] if every_layer is not None else [])]]
    for before_last in range(max(len(stack.blocks) for stack in stacks)):
        places = [len(stack.blocks) - 1 - before_last for stack in stacks]
        blocks = [stack.blocks[place] for stack, place in zip(stacks, places, strict=True) if place >= 0]
        mixes = every_layer.mixes if every_layer is not None else ()
        layers.append([*blocks, *(mix for number, mix in enumerate(mixes, start=1) if number == places[0])])
    layers.append([encoder.frontend, *(part for s in stacks for part in (s.prelayer, s.further_prelayers))])
    found = [[parameter for module in layer for parameter in module.parameters()] for layer in layers]
    return [layer for layer in found if layer]
