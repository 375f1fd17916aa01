import torch
from torch.nn import functional as F

from ssl_tt.encoder.config import WaveformConfig
from ssl_tt.encoder.conv import CausalConv1d, ChannelNorm
from ssl_tt.encoder.frontend import build_frontend
from ssl_tt.encoder.waveform import Waveform
from tests.encoder.configs import noise


def test_waveform_equals_left_padded_convolutions_written_out() -> None:
    torch.manual_seed(0)
    frontend = Waveform(WaveformConfig(channels=4)).double()
    samples = noise(2, 1600, dtype=torch.float64)
    x = samples[:, None]
    for layer in frontend.layers:
        conv, norm = layer.conv, layer.norm
        x = F.conv1d(F.pad(x, (conv.kernel_size[0] - conv.stride[0], 0)), conv.weight, conv.bias, conv.stride)
        mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, correction=0)
        x = (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None] + norm.bias[:, None]
        x = x.relu()
    torch.testing.assert_close(frontend(samples)[0], x.transpose(1, 2), rtol=0, atol=1e-10)


def test_gradient_of_a_frame_reaches_exactly_465_samples_up_to_the_end_of_its_hop() -> None:
    frontend = Waveform(WaveformConfig(channels=3)).double()
    for module in list(frontend.modules()):
        if isinstance(module, CausalConv1d):
            torch.nn.init.constant_(module.weight, 0.1)
        for name, child in module.named_children():
            if isinstance(child, ChannelNorm):
                setattr(module, name, torch.nn.Identity())
    samples = noise(1, 1600, dtype=torch.float64).abs().requires_grad_()
    frontend(samples)[0][0, 6].sum().backward()
    assert samples.grad is not None
    assert samples.grad[0].nonzero().flatten().tolist() == list(range(7 * 160 - 465, 7 * 160))


def test_settings_are_used() -> None:
    config = WaveformConfig(sample_rate_hz=8000, channels=7, strides=(5, 4, 4), kernels=(9, 6, 5))
    frontend = build_frontend(config)
    assert [tuple(layer.conv.weight.shape) for layer in frontend.layers] == [(7, 1, 9), (7, 7, 6), (7, 7, 5)]
    assert frontend(noise(2, 800))[0].shape == (2, 10, 7)
    assert (config.hop_samples, config.feature_count) == (80, 7)
