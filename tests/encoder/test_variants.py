"""What every encoder of the family must hold, on several hundred of them drawn at random, in double precision."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.receptive_field import measured_reach, positive_twin, receptive_field
from tests.encoder.configs import build, encoder_configs, noise
from tests.encoder.states import shapes


def reached_by_perturbation(encoder: Encoder) -> tuple[int, ...]:
    """Offsets of the front-end frames whose change changes the last but one frame out."""
    twin = positive_twin(encoder)
    field = receptive_field(encoder)
    stride = encoder.config.stride
    n_frames = field.span_frames // stride + 3
    shape = (n_frames * stride, encoder.config.feature_channels)
    features = 0.1 + torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = features * (1 + torch.eye(len(features), dtype=torch.float64)[..., None])
    with torch.no_grad():
        before = twin.encode_features(features[None])[0][:, n_frames - 2]
        after = twin.encode_features(changed)[0][:, n_frames - 2]
    moved = ((after - before).abs() > 1e-12 * before.abs()).any(dim=1)
    return tuple((moved.nonzero()[:, 0] - ((n_frames - 1) * stride - 1)).tolist())


@settings(max_examples=300, deadline=None)
@given(encoder_configs(front_ends=("logmel", "waveform", "waveform and logmel")))
def test_computed_field_equals_gradient_and_perturbation(config):
    field, encoder = receptive_field(config), build(config)
    measured = measured_reach(encoder)
    assert measured.frames == field.reached == reached_by_perturbation(encoder)
    assert np.array_equal(measured.samples, field.reached_samples)
    assert measured.bands == tuple(field.reached_bands(band) for band in range(config.bands))
    assert field.span_bands == max(map(len, measured.bands))
    assert field.span_frames == measured.frames[-1] - measured.frames[0] + 1
    assert field.span_samples == measured.samples[-1] - measured.samples[0] + 1
    assert field.lookahead_samples == max(0, measured.samples[-1]) == 0
    assert set(field.holes) == set(range(measured.frames[0], 1)) - set(measured.frames)
    assert field.stack_span_frames == tuple(written_out_span(config, stack) for stack in config.stacks)
    alone = {offset for stack in field.stack_reached for offset in stack}
    assert set(field.reached) >= alone
    if config.combine_at == "end":
        assert set(field.reached) == alone


def written_out_span(config: EncoderConfig, stack) -> int:
    """1 + sum((k - 1) * d * product of the earlier strides)"""
    span, earlier = 1, 1
    for layer in config.prelayers(stack):
        span += (layer.kernel - 1) * earlier
        earlier *= layer.stride
    return span + sum((stack.kernel - 1) * dilation * earlier for dilation in stack.block_dilations)


@settings(max_examples=300, deadline=None)
@given(encoder_configs(), st.integers(0, 7), st.lists(st.integers(0, 10**6), max_size=6))
def test_no_output_depends_on_the_future_and_any_cut_equals_the_whole(config, t, cuts):
    encoder = build(config).double()
    n_samples, end = 9 * encoder.hop_samples, (t + 1) * encoder.hop_samples
    samples = noise(2, n_samples, dtype=torch.float64).requires_grad_()
    whole, state = encoder(samples)
    (gradient,) = torch.autograd.grad(whole[:, t].square().sum(), samples, allow_unused=True)
    assert (gradient is None) == (config.frontend.kind == "features")
    assert gradient is None or gradient[:, end:].eq(0).all()
    with torch.no_grad():
        for later in (0.5, 1e6, float("nan")):
            changed = samples.clone()
            changed[:, end:] = later
            assert torch.equal(encoder(changed)[0][:, : t + 1], whole[:, : t + 1])

        past, pieces = None, []
        for chunk in samples.tensor_split(sorted(cut % (n_samples + 1) for cut in cuts), dim=1):
            z, past = encoder(chunk, past)
            pieces.append(z)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)
        assert shapes(past) == shapes(state) == shapes(encoder(samples[:, : encoder.hop_samples])[1])
