import pytest
import torch
from small import HOP, batch, encoder, tones

from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import VQVAE2Config
from ssl_tt.objectives.griffinlim import griffin_lim
from ssl_tt.objectives.top_level import Hold
from ssl_tt.objectives.vqvae2 import VQVAE2


def vqvae2(**changes: object) -> VQVAE2:
    config = VQVAE2Config.model_validate({"codes": 8, "code_channels": 6, "top_channels": 10, **changes})
    objective = build(config, encoder())
    assert isinstance(objective, VQVAE2)
    return objective


def test_a_top_frame_is_held_from_the_frame_that_completes_it():
    top = torch.tensor([1.0, 2.0])[None, :, None]
    held, _ = Hold(4)(top, 9)
    assert held[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("stride", [2, 4, 5])
def test_the_top_says_nothing_that_is_not_known_yet_and_all_that_is(stride):
    objective = vqvae2(top_stride=stride, codes=64)
    objective(batch())  # gives the first codes
    objective.eval()
    now = tones(3)[:, 0]
    with torch.no_grad():
        before, _ = objective.representations(now)
        for last in range(4 * stride, 5 * stride):  # replaced from the frame after it
            other = now.clone()
            other[:, (last + 1) * HOP :] = 3 * tones(3, seed=1)[:, 0, (last + 1) * HOP :]
            after, _ = objective.representations(other)
            # Frame 5 * stride - 1 completes a frame of the top.
            same = (before["top"] == after["top"]).all(dim=2).all(dim=0)
            assert same[: last + 1].all()
            if last < 5 * stride - 1:
                assert not same[5 * stride - 1]


def test_the_top_tells_the_bottom_and_both_tell_the_decoder():
    objective = vqvae2().eval()
    torch.nn.init.normal_(objective.decoder.stacks[0].output.weight)
    samples = tones(2)[:, 0]

    def found() -> tuple[torch.Tensor, torch.Tensor]:
        drawn = objective.diagnostics(samples)
        return drawn["codes_bottom"], drawn["reconstruction"]

    with torch.no_grad():
        codes, _ = found()
        objective.top_quantizer.codebook.normal_(std=5)
        assert not torch.equal(codes, found()[0])
        objective.told[0].weight.zero_()  # what the bottom is told no longer depends on the top's codes
        codes, reconstruction = found()
        objective.top_quantizer.codebook.normal_(std=5)
        assert torch.equal(codes, found()[0])
        assert not torch.equal(reconstruction, found()[1])


def test_diagnostics_show_both_levels_and_what_the_loss_compares():
    objective, data = vqvae2(groups=2), batch()
    loss = objective(data)
    assert {"perplexity_top", "perplexity_bottom"} < loss.parts.keys()
    objective.eval()
    with torch.no_grad():
        loss = objective(data)
        drawn = objective.diagnostics(data.samples.flatten(0, 1))
    assert drawn["codes_bottom"].shape == (8, 40, 2)
    assert drawn["codes_top"].shape == (8, 10, 2)
    assert drawn["input"].shape == drawn["reconstruction"].shape == (8, 80, 16)
    error = (drawn["input"] - drawn["reconstruction"]).square().mean()
    torch.testing.assert_close(error, loss.parts["reconstruction"])
    torch.testing.assert_close(loss.total, error + 0.25 * loss.parts["commitment"])


@pytest.mark.parametrize("groups", [1, 2])
def test_the_codes_of_both_levels_alone_sound_as_the_reconstruction_does(groups):
    objective = vqvae2(groups=groups)
    objective(batch())  # gives the first codes
    objective.eval()
    torch.nn.init.normal_(objective.decoder.stacks[0].output.weight)
    with torch.no_grad():
        drawn = objective.diagnostics(tones(2)[:, 0])
        coded = {name: drawn[name] for name in objective.code_levels}
        sound = objective.sound(coded, seed=3)
        assert sound.shape == (2, 40 * HOP)
        expected = griffin_lim(objective.encoder.log_mel, drawn["reconstruction"], seed=3)
        torch.testing.assert_close(sound, expected, rtol=0, atol=1e-3 * expected.abs().max().item())
        for name, codes in coded.items():
            assert not torch.allclose(sound, objective.sound({**coded, name: (codes + 1) % 8}, seed=3))


def test_one_optimizer_step_updates_both_codebooks_once():
    objective = vqvae2()
    objective(batch())
    objective(batch(seed=1))
    for quantizer in (objective.top_quantizer, objective.bottom_quantizer):
        assert len(quantizer._seen) == 2
    objective.after_optimizer_step()
    for quantizer, n_frames in ((objective.top_quantizer, 10), (objective.bottom_quantizer, 40)):
        assert not quantizer._seen
        # Counts began at 1.1 and went a hundredth of the way to those of two batches of 8 sequences.
        assert quantizer.counts.sum() == pytest.approx(8 * 0.99 * 1.1 + 0.01 * 2 * 8 * n_frames)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"top_stride": 3}, lambda objective: objective.cycle_samples == 3 * HOP),
        ({"top_blocks": 3}, lambda objective: len(objective.told) == 4 and len(objective.top) == 6),
        ({"top_channels": 14}, lambda objective: objective.told[0].out_channels == 14),
        ({"decoder_channels": 18}, lambda objective: objective.decoder.stacks[0].input.out_channels == 18),
    ],
)
def test_settings_are_used(change, found):
    assert found(vqvae2(**change))


def test_a_window_without_a_frame_of_the_top_is_refused():
    with pytest.raises(InputError, match=r"window of 3 frames.*at least the 4.*top_stride"):
        vqvae2()(batch(frames=3))
