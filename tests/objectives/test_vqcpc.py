"""CPC whose targets are quantised: what is predicted, what is read, and when the codebook moves."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small import batch, encoder, tones
from torch.nn import functional as F

from ssl_tt import recipe
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import (
    CPC2Config,
    CPCConfig,
    CPCPart,
    IndependentAugmentation,
    JointConfig,
    QuantizerConfig,
    VQVAEPart,
)
from ssl_tt.objectives.cpc import CPC
from ssl_tt.training.config import PretrainRecipe

CODES = {"codes": 64, "code_channels": 12}


def made(quantizer: dict[str, Any] | None = None, **settings: Any) -> CPC:
    quantizer_config = QuantizerConfig.model_validate({**CODES, **(quantizer or {})})
    base = {"context_channels": 20, "steps": 3, "negative_count": 16}
    objective = build(CPCConfig.model_validate({**base, **settings, "quantizer": quantizer_config}), encoder())
    assert isinstance(objective, CPC)
    return objective


def codebook(objective: CPC) -> torch.Tensor:
    assert objective.quantizer is not None
    return objective.quantizer.codebook


@pytest.mark.parametrize("targets", ["encoder", "prelayer"])
@pytest.mark.parametrize("codes", [{}, {"codebook": "learned", "commitment": 2.0}, {"groups": 3, "distance": "cosine"}])
def test_the_first_loss_is_the_logarithm_of_negatives_plus_one_and_the_codebooks(
    targets: str, codes: dict[str, Any]
) -> None:
    objective = made(codes, targets=targets)
    weight = codes.get("commitment", 0.25) + (codes.get("codebook") == "learned")  # both losses are the same distance
    for predictor in objective.predictors.parameters():
        torch.nn.init.zeros_(predictor)
    loss = objective(batch())
    assert loss.parts["commitment"] > 0
    assert loss.total.item() == pytest.approx(math.log(17) + weight * loss.parts["commitment"].item(), rel=1e-5)
    assert 1 < loss.parts["perplexity"] <= loss.parts["used_codes"] <= 64
    assert made(codes, targets=targets)(batch()).parts["loss_first_step"].item() == pytest.approx(math.log(17), abs=0.3)


@pytest.mark.parametrize("targets", ["encoder", "prelayer"])
@torch.no_grad()
def test_what_is_predicted_and_what_stands_against_it_are_the_vectors_of_codes(targets: str) -> None:
    objective, samples = made(targets=targets).eval(), tones(2, frames=12)[:, 0]
    drawn, (found, _) = objective.diagnostics(samples), objective.representations(samples)
    vectors = codebook(objective)[drawn["codes"]]
    for h, predictor in enumerate(objective.predictors, start=1):
        losses = [
            F.cross_entropy(predictor(context[:-h]) @ of_sequence.T, torch.arange(h, 12))
            for context, of_sequence in zip(found["context"], vectors, strict=True)
        ]
        torch.testing.assert_close(drawn["loss_by_step"][h - 1], torch.stack(losses).mean())


@torch.no_grad()
def test_the_context_reads_the_codes_of_the_encoder_but_never_those_of_pre_layers() -> None:
    samples = tones(2)[:, 0]
    for targets, names in (("encoder", ["encoder", "codes", "context"]), ("prelayer", ["encoder", "context"])):
        objective = made(targets=targets).eval()
        found, _ = objective.representations(samples)
        assert list(found) == names
        read = found["codes"] if targets == "encoder" else found["encoder"]
        assert torch.equal(found["context"], objective.context(read)[0])
        if targets == "encoder":
            assert torch.equal(read, codebook(objective)[objective.diagnostics(samples)["codes"]])


def test_a_collapsed_codebook_leaves_nothing_to_tell_apart() -> None:
    objective = made({"codes": 2, "commitment": 0.0})
    data = batch()
    objective(data)
    codebook(objective)[:] = 1.0
    assert objective(data).total.item() == pytest.approx(math.log(17), rel=1e-5)


@pytest.mark.parametrize("targets", ["encoder", "prelayer"])
@pytest.mark.parametrize("augmented", [False, True])
def test_every_encoding_is_quantised_once_for_a_loss(targets: str, augmented: bool) -> None:
    settings = {"augment_future": IndependentAugmentation()} if augmented else {}
    objective = made(targets=targets, **settings)
    assert objective.quantizer is not None
    shapes: list[torch.Size] = []
    objective.quantizer.register_forward_hook(lambda _module, inputs, _outputs: shapes.append(inputs[0].shape))
    objective(batch())
    # Where the context reads codes, those of what predicts and of what is predicted.
    assert shapes == [(16 if augmented and targets == "encoder" else 8, 40, 12)]
    objective.eval()(batch())
    assert shapes[1:] == [(8, 40, 12)]


def test_augmented_audio_predicts_the_codes_of_the_audio_augmented_otherwise() -> None:
    past, future = tones(2)[:, 0], tones(2, seed=1)[:, 0]
    objective = made().eval()
    with torch.no_grad():
        z, context, _ = objective._encode(past, 2, future)
        of_past, of_future = (objective.representations(samples)[0] for samples in (past, future))
    torch.testing.assert_close(z, of_future["codes"])
    torch.testing.assert_close(context, of_past["context"])
    assert not torch.equal(of_past["codes"], of_future["codes"])


@pytest.mark.parametrize("learned", [False, True])
def test_the_codebook_moves_in_training_alone(learned: bool) -> None:
    objective, data = made({"codebook": "learned"} if learned else {}), batch()
    drawn = codebook(objective).detach().clone()
    with torch.no_grad():
        objective(data)
        objective.diagnostics(data.samples[0])
    objective.eval()(data)
    objective.after_optimizer_step()
    assert torch.equal(drawn, codebook(objective))
    objective.train()(data).total.backward()
    first = codebook(objective).detach().clone()
    assert not torch.equal(drawn, first)
    if learned:
        gradient = codebook(objective).grad
        assert gradient is not None
        assert gradient.any()
    else:
        objective.after_optimizer_step()
        assert not torch.equal(first, codebook(objective))


@pytest.mark.parametrize(
    "settings",
    [
        *({"negatives": source, "speech_only": True} for source in ("sequence", "other_channel", "batch", "all_ranks")),
        {"negatives": "same_conversation", "predictor": "mlp"},
        {"negatives": "other_conversation", "predictor": "recurrent"},
        {"predictor": "transformer", "predict_from": "both"},
        {"context": "none", "targets": "prelayer", "predict_from": "both"},
        {"context": "conv", "augment_past": IndependentAugmentation(), "augment_future": IndependentAugmentation()},
    ],
    ids=str,
)
def test_it_learns_with_every_other_setting(settings: dict[str, Any]) -> None:
    objective, data = made(**settings), batch()
    speech = torch.rand(4, 40, 2, generator=torch.Generator().manual_seed(0)) < 0.7
    optimizer, losses = torch.optim.AdamW(objective.parameters(), lr=4e-3), []
    for _ in range(15):
        torch.manual_seed(0)
        loss = objective(data._replace(activity=speech))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        objective.after_optimizer_step()
        losses.append(loss.total.item())
    assert losses[-1] < losses[0]


def test_a_part_has_a_codebook_of_its_own() -> None:
    contrast = CPC2Config(quantizer=QuantizerConfig(codes=16, code_channels=6)).quantizer
    parts = {"contrast": CPCPart(context_channels=8, steps=2, quantizer=contrast), "rebuilt": VQVAEPart(codes=8)}
    joint, data = build(JointConfig(parts=parts), encoder()), batch()
    loss = joint(data)
    assert {"contrast.used_codes", "rebuilt.used_codes"} <= loss.parts.keys()
    found, _ = joint.representations(data.samples[0])
    assert list(found) == ["encoder", "contrast.codes", "context", "rebuilt.codes"]
    before = [part.quantizer.codebook.clone() for part in joint.parts]
    joint.after_optimizer_step()
    assert not any(torch.equal(a, part.quantizer.codebook) for a, part in zip(before, joint.parts, strict=True))


def test_jitter_for_a_decoder_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"quantizer.time_jitter 0.1 is for a decoder.*drop it"):
        CPCConfig(quantizer=QuantizerConfig(time_jitter=0.1))


# --- Recipes


RECIPE = """name = "calls"
[simulate.dialogues]
hours = 1.0
[data]
pretrain = ["dialogues"]
[objective]
kind = "cpc"
"""


@pytest.mark.parametrize(
    ("text", "options", "codes"),
    [
        ("", [], None),
        ("quantizer = {}", [], 512),
        ("quantizer = { codes = 32 }", [], 32),
        ("[objective.quantizer]\ncodes = 32", ["--objective.quantizer.code_channels", "8"], 32),
        ("quantizer = { codes = 32 }", ["--objective.quantizer.codes", "256"], 256),
        ("", ["--objective.quantizer.codes", "256"], 256),
        ("", ["--objective.quantizer", "{ codes = 8 }"], 8),
        ("quantizer = { codes = 32 }", ["--objective.quantizer", "none"], None),
    ],
)
def test_a_recipe_may_have_the_table_or_leave_it_out(
    text: str, options: list[str], codes: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + text)
    settings = recipe.load(path, PretrainRecipe, options)
    assert isinstance(settings.objective, CPCConfig)
    found = settings.objective.quantizer
    assert (found.codes if found else None) == codes
    path.write_text(recipe.dump(settings))
    assert recipe.load(path, PretrainRecipe) == settings


def test_help_shows_the_table_and_its_fields() -> None:
    shown = {(each.table, each.name): each for each in recipe.fields(PretrainRecipe)}
    table = shown["objective", "quantizer"]
    assert (table.metavar, table.default) == ("TABLE|none", "none")
    assert shown["objective.quantizer", "codes"].default == "512"


def test_a_wrong_key_of_the_table_is_named_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + "quantizer = { cdoes = 32 }")
    with pytest.raises(InputError, match=r"unknown key objective.quantizer.cdoes; did you mean objective.quantizer."):
        recipe.load(path, PretrainRecipe)
