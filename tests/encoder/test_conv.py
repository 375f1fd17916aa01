import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssl_tt.encoder.conv import CausalConv1d, CausalConvTranspose1d, ChannelNorm


def in_chunks(module: nn.Module, x: torch.Tensor, cuts: list[int]) -> torch.Tensor:
    """Output of a module that is given x [B, T, C] piece by piece."""
    state, pieces = None, []
    for chunk in x.tensor_split(sorted(cuts), dim=1):
        y, state = module(chunk, state)
        pieces.append(y)
    return torch.cat(pieces, dim=1)


cut_lists = st.lists(st.integers(0, 30), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 30), cut_lists)
def test_any_chunking_of_a_convolution_equals_the_whole(kernel, dilation, stride, n_frames, cuts):
    if (kernel - 1) * dilation + 1 < stride:
        with pytest.raises(ValueError, match="spans less than the stride"):
            CausalConv1d(2, 3, kernel, dilation, stride)
        return
    conv = CausalConv1d(2, 3, kernel, dilation, stride).double()
    x = torch.randn(2, n_frames, 2, dtype=torch.float64)
    whole, _ = conv(x)
    assert whole.shape == (2, n_frames // stride, 3)
    torch.testing.assert_close(in_chunks(conv, x, cuts), whole, rtol=0, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 30), cut_lists)
def test_any_chunking_of_an_upsampling_equals_the_whole(kernel, stride, n_frames, cuts):
    if kernel < stride:
        with pytest.raises(ValueError, match="shorter than the stride"):
            CausalConvTranspose1d(2, 3, kernel, stride)
        return
    conv = CausalConvTranspose1d(2, 3, kernel, stride).double()
    x = torch.randn(2, n_frames, 2, dtype=torch.float64)
    whole, _ = conv(x)
    assert whole.shape == (2, n_frames * stride, 3)
    torch.testing.assert_close(in_chunks(conv, x, cuts), whole, rtol=0, atol=1e-10)


def test_convolution_equals_sums_written_out():
    conv = CausalConv1d(1, 1, kernel=2, dilation=2, stride=2)
    nn.init.zeros_(conv.bias)
    conv.weight.data = torch.tensor([[[10.0, 1.0]]])
    y, state = conv(torch.tensor([[[1.0], [2], [3], [4], [5], [6], [7]]]))
    # frame t ends with input 2t + 1 and adds ten times the input two before: 2, 4 + 20, 6 + 40
    assert y.tolist() == [[[2.0], [24.0], [46.0]]]
    assert state.tolist() == [[[6.0], [7.0]]]  # one of (2-1)*2+1-2 = 1 past frames, and one that fills no stride yet


def test_upsampling_equals_sums_written_out():
    conv = CausalConvTranspose1d(1, 1, kernel=4, stride=2)
    nn.init.zeros_(conv.bias)
    conv.weight.data = torch.tensor([[[1.0, 2.0, 30.0, 40.0]]])
    y, _ = conv(torch.tensor([[[1.0], [2.0]]]))
    assert y.tolist() == [[[1.0], [2.0], [2 + 30.0], [4 + 40.0]]]


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(4, 1, 2), (3, 9, 1), (1, 1, 1), (5, 2, 3)])
def test_state_holds_the_stated_past(kernel, dilation, stride):
    _, state = CausalConv1d(2, 3, kernel, dilation, stride)(torch.zeros(1, 10 * stride, 2))
    assert state.shape == (1, (kernel - 1) * dilation + 1 - stride, 2)


@pytest.mark.parametrize("conv", [CausalConv1d(2, 3, 3, 2), CausalConvTranspose1d(2, 3, 4, 2)])
def test_no_output_of_a_convolution_depends_on_the_future(conv):
    x = torch.randn(1, 20, 2)
    changed = x.clone()
    changed[:, 12:] = float("nan")
    before, after = conv(x)[0], conv(changed)[0]
    first = 12 * before.shape[1] // 20
    assert torch.equal(after[:, :first], before[:, :first])
    assert after[:, first].isnan().all()


def test_norm_sees_each_frame_alone():
    norm, x = ChannelNorm(8), 3 + 2 * torch.randn(2, 5, 8)
    y = norm(x)
    torch.testing.assert_close(y.mean(dim=2), torch.zeros(2, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std(dim=2, correction=0), torch.ones(2, 5), rtol=0, atol=1e-4)
    torch.testing.assert_close(norm(x[:, 2:3]), y[:, 2:3])
