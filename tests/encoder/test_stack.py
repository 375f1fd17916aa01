import pytest
import torch

from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, PrelayerConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.stack import GATE_MEAN_SQUARE, GatedBlock, ResidualBlock, Stack
from tests.encoder.configs import SMALL, SMALL_FRONTEND


def test_block_without_branch_is_the_identity():
    block, x = ResidualBlock(6, kernel=3, dilation=2), torch.randn(2, 9, 6)
    torch.nn.init.zeros_(block.project.weight)
    assert torch.equal(block(x)[0], x)


def test_block_equals_the_formula_written_out():
    block, x = ResidualBlock(6, kernel=3, dilation=2).double(), torch.randn(2, 9, 6, dtype=torch.float64)
    normed = (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    padded = torch.cat((torch.zeros(2, 4, 6, dtype=torch.float64), normed.relu()), dim=1)
    taps = sum(padded[:, 2 * i : 2 * i + 9] @ block.dilated.weight[:, :, i].T for i in range(3))
    expected = x + taps.relu() @ block.project.weight[:, :, 0].T
    torch.testing.assert_close(block(x)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("last", [False, True])
def test_gated_block_equals_the_formula_written_out(last):
    block = GatedBlock(6, kernel=2, dilation=3, normalisation="none", last=last).double()
    stream, skips = torch.randn(2, 2, 9, 6, dtype=torch.float64)
    padded = torch.cat((torch.zeros(2, 3, 6, dtype=torch.float64), stream), dim=1)
    taps = sum(padded[:, 3 * i : 3 * i + 9] @ block.dilated.weight[:, :, i].T for i in range(2))
    gated = taps[..., :6].tanh() * taps[..., 6:].sigmoid()
    weight = block.project.weight[:, :, 0]
    expected = (
        [skips + gated @ weight[-6:].T] if last else [stream + gated @ weight[:6].T, skips + gated @ weight[6:].T]
    )
    y, _ = block(torch.cat((stream, skips), dim=2))
    torch.testing.assert_close(y, torch.cat(expected, dim=2), rtol=0, atol=1e-12)


def test_the_gates_start_value_is_that_of_normal_inputs():
    a, b = torch.randn(2, 10**6, generator=torch.Generator().manual_seed(0))
    assert (a.tanh() * b.sigmoid()).square().mean().item() == pytest.approx(GATE_MEAN_SQUARE, rel=0.01)


def test_a_wavenets_output_reads_the_sum_of_its_skips():
    config = SMALL["wavenet"].model_copy(update={"stacks": (StackConfig(dilations=(1, 2)),)})
    stack = Stack(config.stacks[0], config).eval()
    x = torch.randn(2, 20, 6)
    layers, _ = stack.layers(x)
    for block in stack.blocks:
        torch.nn.init.zeros_(block.project.weight[-6:])  # what goes to the skips
    silent, _ = stack.layers(x)
    assert layers["block2"].any()
    assert not silent["block1"].any()
    assert not silent["block2"].any()


@pytest.mark.parametrize("name", ["one stack", "separable, weight norm", "2d", "wavenets joined at every layer"])
def test_weight_normalisation_starts_from_the_same_weights(name):
    plain, normed = (SMALL[name].model_copy(update={"normalisation": each}) for each in ("none", "weight"))
    outputs = []
    for config in (plain, normed):
        torch.manual_seed(0)
        outputs.append(Encoder(config).eval()(torch.randn(1, 500))[0])
    torch.testing.assert_close(*outputs)


def test_dropout_acts_in_training_only():
    block, x = ResidualBlock(6, kernel=3, dilation=1, dropout=0.5), torch.randn(2, 50, 6)
    assert not torch.equal(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


VARIANTS = {
    "resnet": {},
    "no norm": {"normalisation": "none"},
    "wavenet": {"block": "wavenet"},
    "separable": {"separable": True},
    "separable wavenet, weight norm": {"block": "wavenet", "separable": True, "normalisation": "weight"},
    "three, mean at every layer": {"combine_at": "every_layer", "n_stacks": 3},
    "three, joined at every layer": {"combine_at": "every_layer", "combine": "concat", "n_stacks": 3},
    "2d": {"convolution": "2d", "channels": 48, "frequency_stride": 2},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_variance_at_the_start_stays_near_one_at_any_depth(blocks, variant):
    torch.manual_seed(0)
    settings = {"channels": 128, "output_channels": 128, "n_stacks": 1, **VARIANTS[variant]}
    stacks = (StackConfig(dilations=(1,) * blocks),) * settings.pop("n_stacks")
    config = EncoderConfig(frontend=LogMelConfig(mel_bands=40), stacks=stacks, **settings)
    layers = Encoder(config).feature_layers(torch.randn(2, 200, 40))
    branches = len(stacks) if config.combine_at == "every_layer" else 1
    assert 0.7 < layers["stack1.prelayer"].var().item() / branches < 1.4
    assert layers[f"stack1.block{blocks}"].var().item() / branches < 3.5
    # Without norm each block adds its share of what is there: (1 + 1 / blocks) to the power of blocks, below e.
    assert 0.7 < layers["encoder"].var().item() < (3.5 if variant == "no norm" else 1.6)


def test_pre_layers_of_vqvae_are_two_strided_convolutions_with_a_relu_between():
    layers = (PrelayerConfig(), PrelayerConfig())
    config = SMALL["no norm, no stride"].model_copy(
        update={"stride": 4, "stacks": (StackConfig(dilations=(1,), prelayers=layers),)}
    )
    stack, x = Stack(config.stacks[0], config), torch.randn(1, 16, SMALL_FRONTEND.mel_bands)
    (second,) = stack.further_prelayers
    expected, _ = second.conv(stack.prelayer(x)[0].relu())
    assert expected.shape == (1, 4, 6)
    assert torch.equal(stack.layers(x)[0]["prelayer"], expected)
