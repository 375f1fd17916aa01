"""Several objectives on one encoder: the sum of their losses, the union of what they tell."""

import copy
import typing

import pytest
import torch
from pydantic import ValidationError
from small import HOP, batch, encoder, tones

from ssl_tt.encoder.streaming import Stream
from ssl_tt.objectives import OBJECTIVES, build
from ssl_tt.objectives.config import CPCConfig, CPCPart, JointConfig, Part, VQVAE2Part, VQVAEConfig, VQVAEPart
from ssl_tt.objectives.joint import Joint
from tests.encoder.states import shapes

CPC_SETTINGS = {"context_channels": 12, "steps": 2, "negative_count": 1000}  # all frames, so that nothing is drawn
VQVAE_SETTINGS = {"codes": 16, "code_channels": 6}


def made(contrast: float = 1.0, reconstruction: float = 0.5) -> Joint:
    parts = {
        "contrast": CPCPart.model_validate({**CPC_SETTINGS, "weight": contrast}),
        "reconstruction": VQVAEPart.model_validate({**VQVAE_SETTINGS, "weight": reconstruction}),
    }
    objective = build(JointConfig(parts=parts), encoder())
    assert isinstance(objective, Joint)
    return objective


def test_everything_but_a_joint_objective_can_be_a_part() -> None:
    union, _ = typing.get_args(Part)
    kinds = [part.model_fields["kind"].default for part in typing.get_args(union)]
    assert set(kinds) == set(OBJECTIVES) - {"joint"}


def test_the_loss_and_its_gradient_are_the_weighted_sums_of_the_parts() -> None:
    joint, data = made(contrast=3.0, reconstruction=0.5), batch()
    joint(data)  # gives the quantizer its first codes
    joint.eval()
    joint.zero_grad()
    loss = joint(data)
    loss.total.backward()
    found = [parameter.grad.clone() for parameter in joint.encoder.parameters() if parameter.grad is not None]
    joint.zero_grad()
    contrast, reconstruction = (part(data) for part in joint.parts)
    torch.testing.assert_close(loss.total, 3.0 * contrast.total + 0.5 * reconstruction.total)
    assert loss.parts["contrast.loss"] == contrast.total
    assert loss.parts["reconstruction.perplexity"] == reconstruction.parts["perplexity"]
    (3.0 * contrast.total).backward()
    (0.5 * reconstruction.total).backward()
    for gradient, parameter in zip(found, joint.encoder.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_there_is_one_encoder_in_the_checkpoint_and_in_a_copy() -> None:
    joint = made()
    keys = [key for key in joint.state_dict() if "encoder." in key]
    assert keys
    assert all(key.startswith("encoder.") for key in keys)
    storages = [tensor.data_ptr() for tensor in joint.state_dict().values() if tensor.numel()]
    assert len(set(storages)) == len(storages)
    for each in (joint.double(), copy.deepcopy(joint)):
        assert all(part.encoder is each.encoder for part in each.parts)


def test_representations_are_the_union_of_one_run_of_the_encoder() -> None:
    joint, samples = made().eval(), tones(2)[:, 0]
    runs: list[object] = []
    hook = joint.encoder.register_forward_hook(lambda *_: runs.append(None))
    with torch.no_grad():
        found, _ = joint.representations(samples)
        hook.remove()
        assert len(runs) == 1
        assert list(found) == ["encoder", "context", "codes"]
        contrast, reconstruction = joint.parts
        assert torch.equal(found["context"], contrast.representations(samples)[0]["context"])
        assert torch.equal(found["codes"], reconstruction.representations(samples)[0]["codes"])
    streamed = Stream(joint).push(samples)
    for name, frames in found.items():
        torch.testing.assert_close(streamed[name], frames)


def test_a_stream_comes_round_after_whole_cycles_of_every_part() -> None:
    slow, slower = (VQVAE2Part.model_validate({**VQVAE_SETTINGS, "top_stride": stride}) for stride in (4, 6))
    parts = {"contrast": CPCPart.model_validate(CPC_SETTINGS), "slow": slow, "slower": slower}
    joint = build(JointConfig(parts=parts), encoder()).eval()
    assert joint.cycle_samples == 12 * HOP

    @torch.no_grad()
    def shapes_after(frames: int) -> list[torch.Size]:
        return shapes(joint.representations(tones(1)[0, :, : frames * HOP])[1])

    assert shapes_after(12) == shapes_after(24)
    assert shapes_after(12) != shapes_after(16)


def test_what_several_parts_have_is_called_by_the_part() -> None:
    near, far = (CPCPart.model_validate({**CPC_SETTINGS, "step_frames": frames}) for frames in (1, 8))
    joint = build(JointConfig(parts={"near": near, "far": far}), encoder())
    with torch.no_grad():
        assert set(joint.representations(tones(1)[0])[0]) == {"encoder", "near.context", "far.context"}
        drawn = joint.diagnostics(tones(1)[0])
    assert set(drawn) == {"input"} | {
        f"{part}.{name}" for part in ("near", "far") for name in ("loss_by_step", "accuracy_by_step", "frames_ahead")
    }


def test_the_order_of_the_parts_changes_no_weight() -> None:
    parts = {"a": CPCPart.model_validate(CPC_SETTINGS), "b": VQVAEPart.model_validate(VQVAE_SETTINGS)}
    orders = (parts, dict(reversed(parts.items())))
    first, second = (build(JointConfig(parts=order), encoder()).state_dict() for order in orders)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_after_an_optimizer_step_every_part_is_told() -> None:
    joint = made()
    joint(batch())
    quantizer = joint.parts[1].quantizer
    before = quantizer.codebook.clone()
    joint.after_optimizer_step()
    assert not torch.equal(before, quantizer.codebook)


def test_a_part_is_the_objective_of_its_settings() -> None:
    assert dict(CPCPart()) == {**dict(CPCConfig()), "weight": 1.0}
    assert dict(VQVAEPart()) == {**dict(VQVAEConfig()), "weight": 1.0}


@pytest.mark.parametrize("parts", [{}, {"alone": CPCPart()}])
def test_fewer_than_two_parts_are_refused(parts: dict[str, CPCPart]) -> None:
    with pytest.raises(ValidationError, match=rf"parts holds {len(parts)}, expected two or more"):
        JointConfig(parts=parts)


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_weight_that_counts_for_nothing_is_refused(weight: float) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        CPCPart(weight=weight)
