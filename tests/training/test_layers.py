"""Layers of an encoder: every parameter once, nearest to the output first."""

import pytest
import torch

from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig, WaveformConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.training.layers import encoder_layers

SMALL = {"channels": 6, "output_channels": 5}
TWO = (StackConfig(kernel=3, dilations=(1, 3)), StackConfig(kernel=2, dilations=(1, 2)))
ENCODERS = {
    "one stack": EncoderConfig(**SMALL, frontend=LogMelConfig(mel_bands=8)),
    "stacks of one and three blocks": EncoderConfig(
        **SMALL, stacks=(StackConfig(kernel=3, dilations=(1,)), StackConfig(kernel=3, dilations=(1, 2, 4)))
    ),
    "combined at every layer": EncoderConfig(**SMALL, stacks=TWO, combine_at="every_layer", combine="concat"),
    "weight norm": EncoderConfig(**SMALL, normalisation="weight"),
    "waveform": EncoderConfig(**SMALL, frontend=WaveformConfig(channels=4)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_parameter_is_in_one_layer(name: str) -> None:
    encoder = Encoder(ENCODERS[name])
    layers = encoder_layers(encoder)
    assert all(layers)
    found = [id(parameter) for layer in layers for parameter in layer]
    assert len(found) == len(set(found))
    assert set(found) == {id(parameter) for parameter in encoder.parameters()}


@pytest.mark.parametrize("name", ENCODERS)
def test_no_layer_reads_one_that_is_nearer_to_the_output(name: str) -> None:
    """Weights of a layer do not change what the layers further from the output give."""
    torch.manual_seed(0)
    encoder = Encoder(ENCODERS[name]).eval()
    samples = torch.randn(1, 8000)
    blocks = max(len(stack.block_dilations) for stack in encoder.config.stacks)
    with torch.inference_mode():
        before = encoder.layers(samples)
        for place, layer in enumerate(encoder_layers(encoder)):
            for parameter in layer:
                parameter.add_(0.1 * torch.randn_like(parameter))
            after = encoder.layers(samples)
            changed = {each for each in before if not torch.equal(before[each], after[each])}
            # From the output back: block n, n - 1, ..., 1 of the longest stack, the pre-layers.
            longest = max(range(len(encoder.stacks)), key=lambda i: len(encoder.config.stacks[i].block_dilations))
            first = f"stack{longest + 1}.block{blocks + 1 - place}" if place else "encoder"
            first = first if place <= blocks else f"stack{longest + 1}.prelayer"
            assert first in changed
            earlier = {f"stack{longest + 1}.block{n}" for n in range(1, blocks + 1 - place)}
            assert not changed & (earlier | ({f"stack{longest + 1}.prelayer"} if place <= blocks else set()))
            before = after
