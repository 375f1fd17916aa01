"""What every front end must hold, whatever it hears."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ssl_tt.encoder.config import (
    EncoderConfig,
    FrontEndConfig,
    JoinedConfig,
    LogMelConfig,
    ProsodyConfig,
    StackConfig,
    WaveformConfig,
)
from ssl_tt.encoder.frontend import build_frontend
from ssl_tt.encoder.logmel import LogMel
from ssl_tt.encoder.normalised import corpus_statistics, normalised
from ssl_tt.encoder.receptive_field import frontend_reach, measured_reach, receptive_field
from ssl_tt.encoder.streaming import Stream
from tests.encoder.frontends import FEATURES, LOGMEL, SMALL_FRONTENDS, WAVEFORM, hearing, voices
from tests.encoder.states import held_bytes

every_frontend = pytest.mark.parametrize("frontend", SMALL_FRONTENDS.values(), ids=SMALL_FRONTENDS.keys())
differentiable = pytest.mark.parametrize(
    "frontend",
    [config for config in SMALL_FRONTENDS.values() if build_frontend(config).differentiable],
    ids=[name for name, config in SMALL_FRONTENDS.items() if build_frontend(config).differentiable],
)


@every_frontend
def test_no_frame_depends_on_the_future_by_gradient(frontend: FrontEndConfig) -> None:
    module = hearing(frontend).double().frontend
    samples = voices(2, 12 * frontend.hop_samples, dtype=torch.float64).requires_grad_()
    features, _ = module(samples)
    end = 8 * frontend.hop_samples
    if isinstance(frontend, ProsodyConfig):
        assert not features.requires_grad
        return
    features[:, 7].square().sum().backward()
    assert samples.grad is not None
    assert samples.grad[:, end:].eq(0).all()
    assert samples.grad[:, end - 1].ne(0).all()


@every_frontend
@pytest.mark.parametrize("later", [0.5, 1e6, float("nan")])
def test_no_output_depends_on_the_future_by_replacement(frontend: FrontEndConfig, later: float) -> None:
    encoder = hearing(frontend)
    samples = voices(2, 60 * encoder.hop_samples)
    changed = samples.clone()
    end = 41 * encoder.hop_samples
    changed[:, end:] = later
    for module, first in ((encoder.frontend, end // frontend.hop_samples), (encoder, 41)):
        before, after = module(samples)[0], module(changed)[0]
        assert torch.equal(after[:, :first], before[:, :first])
        assert not torch.equal(after[:, first], before[:, first])


@every_frontend
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("chunk_samples", [1, 7, 160, 1111])
def test_any_chunk_size_equals_the_whole(
    frontend: FrontEndConfig, dtype: torch.dtype, tolerance: float, chunk_samples: int
) -> None:
    encoder = hearing(frontend).to(dtype)
    n_samples = 400 if chunk_samples == 1 else 4000
    audio = voices(2, n_samples, dtype=dtype)
    whole = encoder.encode(audio, frontend.sample_rate_hz)
    stream = Stream(encoder)
    frames = torch.cat([stream.push(chunk) for chunk in audio.split(chunk_samples, dim=1)], dim=1)
    assert frames.shape[1] == n_samples // encoder.hop_samples
    torch.testing.assert_close(frames, whole, rtol=0, atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(SMALL_FRONTENDS.values())), st.lists(st.integers(0, 2000), max_size=8), st.integers(0, 9))
def test_any_cut_equals_the_whole(frontend: FrontEndConfig, cuts: list[int], seed: int) -> None:
    module = hearing(frontend).double().frontend
    audio = voices(2, 2000, seed=seed, dtype=torch.float64)
    whole, _ = module(audio)
    assert whole.shape == (2, 2000 // frontend.hop_samples, frontend.feature_count)
    state, pieces = None, []
    for chunk in audio.tensor_split(sorted(cuts), dim=1):
        features, state = module(chunk, state)
        pieces.append(features)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)


@every_frontend
def test_streams_of_a_batch_do_not_mix_and_their_memory_does_not_grow(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    audio = voices(3, 3200)
    stream, alone = Stream(encoder), Stream(encoder)

    for number, chunk in enumerate(audio.split(320, dim=1)):
        together = stream.push(chunk)
        torch.testing.assert_close(alone.push(chunk[1]), together[1:2], rtol=0, atol=1e-5)
        if number == 0:
            at_first = held_bytes(stream.state)
    assert held_bytes(stream.state) <= 2 * at_first


SMALL_REACH = {name: config for name, config in SMALL_FRONTENDS.items() if "16 kHz" not in name}


@pytest.mark.parametrize("frontend", SMALL_REACH.values(), ids=SMALL_REACH.keys())
def test_computed_field_equals_what_moves_a_frame(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    field = receptive_field(encoder)
    frames, samples, _ = measured_reach(encoder)
    assert frames == field.reached
    assert np.array_equal(samples, field.reached_samples)
    assert field.span_samples == samples[-1] - samples[0] + 1
    assert samples[-1] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4))
def test_computed_field_of_any_waveform_equals_the_gradient(layers: list[tuple[int, int]]) -> None:
    strides = (8, *(stride for stride, _ in layers))
    kernels = (9, *(stride + more for stride, more in layers))
    if np.prod(strides) > 200:
        return
    config = WaveformConfig(channels=2, strides=strides, kernels=kernels)
    encoder = hearing(config, stride=1)
    assert np.array_equal(measured_reach(encoder).samples, receptive_field(encoder).reached_samples)


def test_default_fields_are_those_of_the_literature() -> None:
    cpc = frontend_reach(WaveformConfig())
    assert (cpc.span, len(cpc.lags), cpc.lags[0], cpc.stride) == (465, 465, 0, 160)
    features = frontend_reach(ProsodyConfig())
    assert (features.span, len(features.lags), features.stride) == (99 * 160 + 640, 99 * 160 + 640, 160)
    joined = frontend_reach(JoinedConfig(parts=(WaveformConfig(), LogMelConfig())))
    assert (joined.span, joined.stride) == (465, 160)


@every_frontend
@pytest.mark.parametrize("samples", ["silence", "clipped", "offset", "one click"])
def test_extreme_audio_gives_finite_features(frontend: FrontEndConfig, samples: str) -> None:
    audio = {
        "silence": torch.zeros(2, 4800),
        "clipped": voices(2, 4800).mul(1000).clamp(-1, 1),
        "offset": torch.ones(2, 4800),
        "one click": torch.zeros(2, 4800).index_fill_(1, torch.tensor([2400]), 1.0),
    }[samples]
    encoder = hearing(frontend)
    assert encoder.frontend(audio)[0].isfinite().all()
    assert encoder(audio)[0].isfinite().all()


@every_frontend
def test_silence_is_a_constant(frontend: FrontEndConfig) -> None:
    features, _ = hearing(frontend).frontend(torch.zeros(1, 40 * frontend.hop_samples))
    later = features[:, 10:]  # after the padding, which is zero inside a waveform's layers too
    torch.testing.assert_close(later, later[:, :1].expand_as(later), rtol=0, atol=1e-6)


@every_frontend
def test_statistics_make_the_corpus_zero_mean_and_unit_variance(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    corpus = [voices(2, n, seed=n) for n in (8000, 16000)]
    for each in normalised(encoder):
        each.set_statistics(*corpus_statistics(each, iter(corpus)))
        raw = torch.cat([each.raw(samples)[0].flatten(0, 1) for samples in corpus])
        features = torch.cat([each(samples)[0].flatten(0, 1) for samples in corpus])
        assert features.isfinite().all()
        for feature, known in zip(features.T, raw.isfinite().T, strict=True):
            assert feature[~known].eq(0).all()
            torch.testing.assert_close(feature[known].mean(), torch.tensor(0.0), rtol=0, atol=1e-4)
            torch.testing.assert_close(feature[known].std(correction=0), torch.tensor(1.0), rtol=0, atol=1e-3)


@every_frontend
def test_autocast_leaves_all_but_learned_features_in_single_precision(frontend: FrontEndConfig) -> None:
    encoder, samples = hearing(frontend), voices(2, 3200)
    for each in normalised(encoder):
        expected, _ = each(samples)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features, _ = each(samples)
        assert features.dtype == torch.float32
        assert torch.equal(features, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert encoder(samples)[0].isfinite().all()


@every_frontend
def test_state_dict_holds_weights_and_statistics_alone(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    kept = {name for name, _ in encoder.named_parameters()}
    stored = set(encoder.state_dict()) - kept
    assert {name.rpartition(".")[2] for name in stored} == {"mean", "std"}
    assert len(stored) == 2 * len(normalised(encoder))


@every_frontend
def test_macs_equal_those_counted(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 4 * encoder.sample_rate_hz))
    counted = counter.get_total_flops() / 2
    assert encoder.macs_per_second * 4 == pytest.approx(counted)


def test_joined_features_stand_side_by_side() -> None:
    joined = hearing(SMALL_FRONTENDS["features and waveform"])
    samples = voices(2, 1600)
    features, _ = joined.frontend(samples)
    for part, columns in zip(joined.frontend.parts, features.split([5, 8], dim=-1), strict=True):
        assert torch.equal(part(samples)[0], columns)


@pytest.mark.parametrize("frontend", [LOGMEL, JoinedConfig(parts=(WAVEFORM, LOGMEL)), WAVEFORM, FEATURES])
def test_every_encoder_knows_a_log_mel(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend)
    samples = voices(2, 1600)
    features, _ = encoder.features(samples)
    log_mel = encoder.log_mel_of(samples, features)
    assert isinstance(encoder.log_mel, LogMel)
    assert encoder.log_mel.config == encoder.config.log_mel
    assert log_mel.shape == (2, features.shape[1], encoder.config.log_mel.mel_bands)
    assert torch.equal(log_mel, encoder.log_mel(samples)[0])
    if frontend == LOGMEL:
        assert encoder.log_mel is encoder.frontend
    if isinstance(frontend, JoinedConfig):
        assert torch.equal(features[..., -6:], log_mel)


@settings(deadline=None)
@given(st.sampled_from([8000, 16000]), st.integers(8, 1600))
def test_a_log_mel_can_be_made_for_every_hop(sample_rate_hz: int, hop: int) -> None:
    strides = (hop,) if hop <= 64 else (8, hop // 8)
    if max(strides) > 64:
        strides = (8, 8, hop // 64)
    config = WaveformConfig(sample_rate_hz=sample_rate_hz, strides=strides, kernels=strides)
    LogMel(EncoderConfig(frontend=config, stride=1).log_mel)


@differentiable
def test_every_parameter_learns(frontend: FrontEndConfig) -> None:
    encoder = hearing(frontend).train()
    encoder(voices(4, 16 * encoder.hop_samples))[0].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in encoder.parameters())


def test_stacks_follow_the_number_of_features() -> None:
    for frontend in SMALL_FRONTENDS.values():
        config = EncoderConfig(frontend=frontend, stacks=(StackConfig(dilations=(1,)),), channels=4)
        assert config.feature_channels == build_frontend(frontend)(voices(1, 800))[0].shape[-1]
