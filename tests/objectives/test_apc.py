import pytest
import torch
from small import ENCODER, HOP, batch, encoder, tones

from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.apc import APC
from ssl_tt.objectives.config import APCConfig


def apc(**changes: object) -> APC:
    objective = build(APCConfig.model_validate({"context_channels": 12, **changes}), encoder())
    assert isinstance(objective, APC)
    return objective


@pytest.mark.parametrize("steps_ahead", [1, 5])
def test_the_first_loss_is_the_mean_absolute_log_mel_of_the_targets(steps_ahead):
    data = batch()
    loss = apc(steps_ahead=steps_ahead)(data)
    log_mel, _ = encoder().log_mel(data.samples.flatten(0, 1))
    ahead = steps_ahead * ENCODER.stride
    torch.testing.assert_close(loss.total, log_mel[:, ahead:].abs().mean())
    torch.testing.assert_close(loss.parts["held"], (log_mel[:, ahead:] - log_mel[:, :-ahead]).abs().mean())


@pytest.mark.parametrize("context", ["lstm", "none"])
def test_what_is_said_of_a_frame_was_said_so_many_frames_before_it(context):
    objective = apc(context=context, steps_ahead=3).eval()
    torch.nn.init.normal_(objective.predictor.weight)
    now, cut = tones(3)[:, 0], 17
    other = now.clone()
    other[:, cut * HOP :] = tones(3, seed=1)[:, 0, cut * HOP :]
    with torch.no_grad():
        before, after = (objective.diagnostics(samples)["prediction"] for samples in (now, other))
        found, _ = objective.representations(now)
        context = found.get("context", found["encoder"])
        expected = objective.predictor(context[:, 7]).view(3, ENCODER.stride, 16)
    first_changed = (cut + 3) * ENCODER.stride
    assert torch.equal(before[:, :first_changed], after[:, :first_changed])
    assert not torch.equal(before[:, first_changed:][:, :2], after[:, first_changed:][:, :2])
    assert torch.equal(before[:, : 3 * ENCODER.stride], torch.zeros(3, 3 * ENCODER.stride, 16))
    torch.testing.assert_close(before[:, 10 * ENCODER.stride : 11 * ENCODER.stride], expected)


def test_representations_are_the_encoder_and_the_context_network_if_there_is_one():
    samples = tones(1)[0]
    assert list(apc().representations(samples)[0]) == ["encoder", "context"]
    assert list(apc(context="none").representations(samples)[0]) == ["encoder"]


def test_a_window_that_holds_no_target_is_refused():
    with pytest.raises(InputError, match=r"window of 4 frames.*more than the 4 that APC predicts.*steps_ahead"):
        apc(steps_ahead=4)(batch(frames=4))
    assert apc(steps_ahead=4)(batch(frames=5)).total.isfinite()
