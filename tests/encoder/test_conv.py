import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssl_tt.encoder.conv import CausalConv1d, CausalConv2d, CausalConvTranspose1d, ChannelNorm, Ring, SeparableConv


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


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 3)]),
    st.integers(1, 7), st.integers(0, 30), cut_lists,
)  # fmt: skip
def test_any_chunking_over_time_and_frequency_equals_the_whole(kernel, dilation, stride, along, bands, n_frames, cuts):
    if (kernel - 1) * dilation + 1 < stride:
        with pytest.raises(ValueError, match="spans less than the stride"):
            CausalConv2d(2, 3, kernel, 3, bands, dilation, stride)
        return
    frequency_kernel, frequency_stride = along
    conv = CausalConv2d(2, 3, kernel, frequency_kernel, bands, dilation, stride, frequency_stride).double()
    x = torch.randn(2, n_frames, bands, 2, dtype=torch.float64)
    whole, _ = conv(x)
    assert whole.shape == (2, n_frames // stride, -(-bands // frequency_stride), 3)
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


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 30))
def test_frame_by_frame_on_a_ring_equals_the_whole(kernel, dilation, n_frames):
    conv = CausalConv1d(2, 3, kernel, dilation).double()
    x = torch.randn(2, n_frames, 2, dtype=torch.float64)
    ring, frames = Ring(conv, batch=2), []
    for frame in x.split(1, dim=1):
        y, ring = conv(frame, ring)
        frames.append(y)
    torch.testing.assert_close(torch.cat(frames, dim=1), conv(x)[0], rtol=0, atol=1e-10)


def test_convolution_equals_sums_written_out():
    conv = CausalConv1d(1, 1, kernel=2, dilation=2, stride=2)
    nn.init.zeros_(conv.bias)
    conv.weight.data = torch.tensor([[[10.0, 1.0]]])
    y, state = conv(torch.tensor([[[1.0], [2], [3], [4], [5], [6], [7]]]))
    # frame t ends with input 2t + 1 and adds ten times the input two before: 2, 4 + 20, 6 + 40
    assert y.tolist() == [[[2.0], [24.0], [46.0]]]
    assert state.tolist() == [[[6.0], [7.0]]]  # one of (2-1)*2+1-2 = 1 past frames, and one that fills no stride yet


def test_convolution_over_frequency_equals_sums_written_out():
    conv = CausalConv2d(1, 1, kernel=2, frequency_kernel=3, bands=4, dilation=2, frequency_stride=2).double()
    x = torch.randn(1, 5, 4, 1, dtype=torch.float64)
    y, _ = conv(x)
    assert y.shape == (1, 5, 2, 1)
    for t in range(5):
        for band in range(2):
            expected = conv.bias.item()
            for i, before in enumerate((2, 0)):
                for j, beside in enumerate((-1, 0, 1)):
                    if t >= before and 0 <= 2 * band + beside < 4:
                        expected += (conv.weight[0, 0, i, j] * x[0, t - before, 2 * band + beside, 0]).item()
            assert y[0, t, band, 0].item() == pytest.approx(expected)


def test_even_kernels_along_frequency_are_refused():
    with pytest.raises(ValueError, match="frequency_kernel 4 has no middle"):
        CausalConv2d(1, 1, kernel=2, frequency_kernel=4, bands=4)


def test_separable_convolution_is_the_product_of_its_two():
    separable = SeparableConv(CausalConv1d(3, 3, 4, 2, groups=3), CausalConv1d(3, 5, 1)).double()
    nn.init.zeros_(separable.depthwise.bias)
    conv, x = CausalConv1d(3, 5, 4, 2).double(), torch.randn(2, 11, 3, dtype=torch.float64)
    conv.weight.data = separable.pointwise.weight * separable.depthwise.weight[:, 0]
    conv.bias.data = separable.pointwise.bias
    torch.testing.assert_close(separable(x)[0], conv(x)[0])
    torch.testing.assert_close(in_chunks(separable, x, [2, 3, 8]), conv(x)[0])


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
    torch.testing.assert_close(norm(x[:, :, None].expand(2, 5, 3, 8))[:, :, 1], y)  # and each band
