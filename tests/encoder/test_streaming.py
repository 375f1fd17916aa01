import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.errors import InputError
from tests.encoder.configs import SMALL, build, encoder_configs, noise
from tests.encoder.states import held_bytes


def pushed(encoder: Encoder, audio: torch.Tensor, cuts: list[int]) -> torch.Tensor:
    stream = Stream(encoder)
    return torch.cat([stream.push(chunk) for chunk in audio.tensor_split(sorted(cuts), dim=-1)], dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("chunk_samples", [1, 7, 48, 1000])
def test_any_chunk_size_equals_the_whole(dtype, tolerance, chunk_samples):
    for config in SMALL.values():
        encoder = build(config).to(dtype)
        audio = noise(2, 400, dtype=dtype)
        whole = encoder.encode(audio, 8000)
        frames = pushed(encoder, audio, list(range(chunk_samples, 400, chunk_samples)))
        torch.testing.assert_close(frames, whole, rtol=0, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(encoder_configs(), st.lists(st.integers(0, 900), max_size=8))
def test_any_cut_of_any_encoder_equals_the_whole(config, cuts):
    encoder = build(config).double()
    audio = noise(2, 900, dtype=torch.float64)
    whole = encoder.encode(audio, config.frontend.sample_rate_hz)
    assert whole.shape[1] == 900 // encoder.hop_samples
    torch.testing.assert_close(pushed(encoder, audio, cuts), whole, rtol=0, atol=1e-10)


def test_streams_of_a_batch_do_not_mix():
    encoder = build(SMALL["two stacks added"])
    audio = noise(3, 1000)
    together = pushed(encoder, audio, [301, 640])
    for alone, frames in zip(audio, together, strict=True):
        torch.testing.assert_close(pushed(encoder, alone, [77])[0], frames, rtol=0, atol=1e-5)


def test_frame_is_out_with_the_last_sample_of_its_hop():
    stream = Stream(build(SMALL["one stack"]))
    assert stream.push(np.zeros(stream.encoder.hop_samples - 1, np.float32)).shape == (1, 0, 5)
    assert stream.push(np.zeros(1, np.float32)).shape == (1, 1, 5)


def test_reset_forgets_everything():
    stream, audio = Stream(build(SMALL["one stack"])), noise(2, 500)
    first = stream.push(audio)
    assert not torch.equal(stream.push(audio)[:, : first.shape[1]], first)
    stream.reset()
    assert torch.equal(stream.push(audio), first)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("n_before", [0, 500, 480])
def test_a_row_starts_anew_while_the_others_go_on(name, n_before):
    encoder = build(SMALL[name]).double()
    before, after = noise(3, n_before + 700, dtype=torch.float64).tensor_split([n_before], dim=1)
    stream, undisturbed = Stream(encoder), Stream(encoder)
    stream.push(before)
    undisturbed.push(before)
    stream.reset(1)
    frames, expected = stream.push(after), undisturbed.push(after)
    assert torch.equal(frames[[0, 2]], expected[[0, 2]])
    # The frame under way when a row starts anew begins with zeros.
    under_way = torch.zeros(1, n_before % encoder.hop_samples, dtype=torch.float64)
    fresh = Stream(encoder).push(torch.cat((under_way, after[1:2]), dim=1))
    torch.testing.assert_close(frames[1:2], fresh, rtol=0, atol=1e-10)


def test_channels_swapped_by_a_view_are_read():
    encoder, audio = build(SMALL["one stack"]), noise(2, 500).numpy()
    assert torch.equal(Stream(encoder).push(audio[::-1]), Stream(encoder).push(audio[::-1].copy()))


def test_memory_of_a_stream_does_not_grow():
    stream = Stream(build(SMALL["three stacks joined"]))

    stream.push(noise(1, 480))
    after_one = held_bytes(stream.state)
    for seed in range(20):
        stream.push(noise(1, 480, seed=seed))
    assert held_bytes(stream.state) <= 2 * after_one


def test_wrong_chunks_are_refused():
    encoder = build(SMALL["one stack"])
    with pytest.raises(InputError, match="audio at 16000 Hz, expected 8000 Hz"):
        Stream(encoder, 16000)
    stream = Stream(encoder, 8000)
    stream.push(noise(2, 100))
    with pytest.raises(InputError, match="chunk of 1 channels, expected 2"):
        stream.push(noise(100))
    with pytest.raises(InputError, match="audio has nan"):
        stream.push(torch.full((2, 10), float("nan")))
    with pytest.raises(InputError, match="reset of row 2, expected rows of the 2"):
        stream.reset([0, 2])
    with pytest.raises(InputError, match="reset of row 0, expected rows of the 0"):
        Stream(encoder).reset(0)
