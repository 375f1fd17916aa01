import pytest
import torch

from ssl_tt.encoder.stack import ResidualBlock, Stack
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


def test_dropout_acts_in_training_only():
    block, x = ResidualBlock(6, kernel=3, dilation=1, dropout=0.5), torch.randn(2, 50, 6)
    assert not torch.equal(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_variance_at_the_start_stays_near_one_at_any_depth(blocks):
    torch.manual_seed(0)
    config = SMALL["one stack"].model_copy(
        update={
            "channels": 128,
            "output_channels": 128,
            "frontend": SMALL_FRONTEND.model_copy(update={"mel_bands": 80}),
        }
    )
    stack = Stack(config.stacks[0].model_copy(update={"dilations": (1,) * blocks}), config)
    layers, _ = stack.layers(torch.randn(4, 200, 80))
    assert 0.7 < layers["prelayer"].var().item() < 1.4
    assert layers[f"block{blocks}"].var().item() < 3.5
    assert 0.7 < layers["output"].var().item() < 1.4
