import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.utils.flop_counter import FlopCounterMode

from ssl_tt.encoder import encoder as encoder_module
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.errors import InputError
from tests.encoder.configs import SMALL, build, noise

every_config = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())


@every_config
def test_no_output_depends_on_the_future_by_gradient(config):
    encoder = build(config).double()
    n_frames, t = 12, 7
    samples = noise(2, n_frames * encoder.hop_samples, dtype=torch.float64).requires_grad_()
    z, _ = encoder(samples)
    z[:, t].square().sum().backward()
    end = (t + 1) * encoder.hop_samples
    assert samples.grad[:, end:].eq(0).all()
    assert samples.grad[:, end - 1].ne(0).all()


@every_config
@pytest.mark.parametrize("later", [0.5, 1e6, float("nan")])
def test_no_output_depends_on_the_future_by_replacement(config, later):
    encoder = build(config)
    n_frames, t = 12, 7
    samples = noise(2, n_frames * encoder.hop_samples)
    changed = samples.clone()
    end = (t + 1) * encoder.hop_samples
    changed[:, end:] = later
    before, after = encoder(samples)[0], encoder(changed)[0]
    assert torch.equal(after[:, : t + 1], before[:, : t + 1])
    assert not torch.equal(after[:, t + 1], before[:, t + 1])


# Kernels chosen for real sizes may work otherwise than those for small ones.
FULL_SIZE = {
    "default": {},
    "wavenet": {"block": "wavenet"},
    "separable, weight norm": {"separable": True, "normalisation": "weight"},
    "two at every layer": {"stacks": (StackConfig(), StackConfig(kernel=5)), "combine_at": "every_layer"},
    "2d": {"convolution": "2d", "channels": 32, "frequency_stride": 2},
    "2d, separable": {"convolution": "2d", "channels": 32, "frequency_stride": 2, "separable": True},
}


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("settings", FULL_SIZE.values(), ids=FULL_SIZE.keys())
def test_no_output_at_full_size_depends_on_the_future(settings, bf16):
    encoder = build(EncoderConfig(**settings))
    samples = noise(2, 32000)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        before = encoder(samples)[0]
        for later in (100.0, float("nan")):
            changed = samples.clone()
            changed[:, 61 * 320 :] = later
            after = encoder(changed)[0]
            assert torch.equal(after[:, :61], before[:, :61])
            assert not torch.equal(after[:, 61], before[:, 61])


@every_config
def test_shapes_are_as_stated(config):
    encoder = build(config)
    samples = noise(3, 10 * encoder.hop_samples + encoder.hop_samples - 1)
    z, _ = encoder(samples)
    assert z.shape == (3, 10, encoder.output_channels)
    layers = encoder.layers(samples)
    assert all(h.shape[:2] == (3, 10) for h in layers.values())
    assert torch.equal(layers["encoder"], z)
    log_mel, _ = encoder.features(samples[:, : 10 * encoder.hop_samples])
    assert log_mel.shape == (3, 10 * config.stride, config.frontend.mel_bands)
    assert torch.equal(encoder.encode_features(log_mel)[0], z)


def test_the_weights_of_the_default_encoder_keep_their_names():
    layers = ["prelayer", *(f"blocks.{i}.{layer}" for i in range(4) for layer in ("norm", "dilated", "project"))]
    weights = [
        f"stacks.0.{layer}.{kind}"
        for layer in (*layers, "output.norm", "output.project")
        for kind in ("weight", "bias")
    ]
    assert list(build(EncoderConfig()).state_dict()) == ["frontend.mean", "frontend.std", *weights]


@every_config
def test_weights_go_through_a_file_and_come_back(config):
    encoder, other = build(config, seed=0), build(config, seed=1)
    samples = noise(1, 10 * encoder.hop_samples)
    assert not torch.equal(other(samples)[0], encoder(samples)[0])
    other.load_state_dict(load(save(encoder.state_dict())))
    assert torch.equal(other(samples)[0], encoder(samples)[0])


def test_at_every_layer_each_stack_reads_what_the_others_found():
    config = SMALL["mean at every layer"]
    encoder = build(config)
    samples = noise(1, 20 * encoder.hop_samples)
    before = encoder.layers(samples)
    torch.nn.init.normal_(encoder.stacks[1].blocks[0].project.weight)
    after = encoder.layers(samples)
    assert torch.equal(after["stack1.block1"], before["stack1.block1"])
    assert not torch.equal(after["stack1.block2"], before["stack1.block2"])
    streams = [after[f"stack{i}.block2"] for i in (1, 2)]
    expected, _ = encoder.stacks[0].blocks[2]((streams[0] + streams[1]) / 2)
    torch.testing.assert_close(after["stack1.block3"], expected)


def test_joined_streams_start_as_their_mean():
    added, joined = (
        build(SMALL["mean at every layer"].model_copy(update={"combine": combine})) for combine in ("add", "concat")
    )
    samples = noise(1, 10 * added.hop_samples)
    for name, layer in added.layers(samples).items():
        if "stack" in name:
            torch.testing.assert_close(joined.layers(samples)[name], layer)
    assert joined.output_channels == added.output_channels == 5


def test_stacks_are_added_or_joined():
    added, joined = (
        build(SMALL["two stacks added"].model_copy(update={"combine": combine})) for combine in ("add", "concat")
    )
    samples = noise(1, 10 * added.hop_samples)
    parts = joined(samples)[0].split(5, dim=-1)
    torch.testing.assert_close(added(samples)[0], parts[0] + parts[1])


@pytest.mark.parametrize("sample_rate_hz", [8000, 16000])
def test_rates_and_hops_follow_the_settings(sample_rate_hz):
    encoder = build(EncoderConfig(frontend=LogMelConfig(sample_rate_hz=sample_rate_hz, mel_bands=40), channels=4))
    assert (encoder.hop_samples, encoder.sample_rate_hz) == (320, sample_rate_hz)
    assert encoder.frame_rate_hz == sample_rate_hz / 320


@every_config
def test_macs_equal_those_counted(config):
    encoder = build(config)
    with FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 6 * encoder.sample_rate_hz))  # whole frames: 6 s are a multiple of every hop here
    assert encoder.macs_per_second * 6 == pytest.approx(counter.get_total_flops() / 2)


def test_parameters_are_counted():
    config = EncoderConfig(
        channels=2, output_channels=3, frontend=LogMelConfig(mel_bands=10), stacks=(StackConfig(dilations=(1,)),)
    )
    prelayer, block, output = 2 * 10 * 4 + 2, (2 * 2 * 3 + 2) + (2 * 2 + 2) + 4, (2 * 3 + 3) + 4
    assert build(config).parameter_count == prelayer + block + output


@every_config
def test_encoding_in_pieces_equals_encoding_at_once(config, monkeypatch):
    encoder = build(config)
    audio = noise(2, 3000)
    whole = encoder.encode(audio, 8000)
    monkeypatch.setattr(encoder_module, "CHUNK_SECONDS", 0.0377)
    torch.testing.assert_close(encoder.encode(audio, 8000), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole, encoder(audio)[0], rtol=0, atol=1e-5)


def test_encoding_is_frozen_and_leaves_the_mode_alone():
    encoder = build(SMALL["two stacks added"]).train()
    encoder.stacks[0].eval()
    modes = [module.training for module in encoder.modules()]
    audio = noise(2, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = encoder.encode(audio, 8000)
    assert z.dtype == torch.float32
    assert not z.requires_grad
    assert torch.equal(z, encoder.encode(audio.numpy(), 8000))  # dropout is 0.5
    assert [module.training for module in encoder.modules()] == modes


def test_any_float_array_is_encoded():
    encoder = build(SMALL["one stack"])
    audio = noise(2, 1000).numpy()
    swapped = encoder.encode(audio[::-1], 8000)
    assert torch.equal(swapped.flip(0), encoder.encode(audio.astype(np.float64), 8000))
    assert encoder.encode(audio[:, :31], 8000).shape == (2, 0, 5)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((2, 800), np.float32), 16000, "audio at 16000 Hz, expected 8000 Hz"),
        (np.zeros(800, np.float32), 8000, r"audio of shape \[800\], expected \[S, N\]"),
        (np.zeros((0, 800), np.float32), 8000, r"audio of shape \[0, 800\]"),
        (np.zeros((2, 800), np.int16), 8000, "audio of type torch.int16, expected floating point"),
        (np.where(np.arange(800) == 300, np.nan, np.zeros((2, 800))), 8000, "audio has nan at sample 300 of channel 0"),
        (np.full((2, 800), np.inf), 8000, "audio has inf at sample 0"),
        (np.where(np.arange(800) % 2, np.inf, np.full((2, 800), -np.inf)), 8000, "audio has -inf at sample 0"),
    ],
)
def test_wrong_audio_is_refused(audio, rate, message):
    with pytest.raises(InputError, match=message) as error:
        build(SMALL["one stack"]).encode(audio, rate)
    assert "\n" not in str(error.value)


def test_finite_audio_whose_sum_is_not_is_taken():
    audio = torch.full((1, 800), torch.finfo(torch.float32).max)
    assert torch.equal(build(SMALL["one stack"]).check_audio(audio), audio)


@every_config
def test_every_parameter_learns_under_bf16(config):
    encoder = build(config).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, _ = encoder(noise(4, 4000))
    z.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in encoder.parameters())
