"""Front ends beside log-mel, from a recipe to a stream."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_tt
from ssl_tt import recipe
from ssl_tt.encoder.normalised import normalised
from ssl_tt.encoder.receptive_field import receptive_field
from ssl_tt.objectives import build
from ssl_tt.report import html
from ssl_tt.training import compare, systems
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.cost import representation_cost
from ssl_tt.training.pretrain import pretrain
from tests.training.test_compare import SYSTEMS, load, write_corpus

FEATURES = '{kind = "features", rate_window_frames = 20}'
FRONTENDS = {
    "waveform": '{kind = "waveform", channels = 8}',
    "features": FEATURES,
    "joined": '{kind = "joined", parts = [{kind = "waveform", channels = 8}, ' + FEATURES + "]}",
}
frontends = pytest.mark.parametrize("frontend", FRONTENDS.values(), ids=FRONTENDS.keys())


@frontends
@pytest.mark.parametrize("objective", ["cpc", "vqvae"])
def test_a_run_is_trained_kept_and_encodes_live(
    frontend: str, objective: str, tiny_recipe: Path, tmp_path: Path
) -> None:
    options = ["--training.steps", "4", "--encoder.frontend", frontend, "--objective.kind", objective]
    settings = recipe.load(tiny_recipe, PretrainRecipe, options)
    run = pretrain(settings, tmp_path / "run", quiet=True)
    encoder = ssl_tt.load_encoder(run)
    assert encoder.config == settings.encoder
    for each in normalised(encoder):  # of the corpus, and none is forgotten: the log-mel beside too
        assert each.mean.any()
        assert not each.std.eq(1).all()
    audio = 0.1 * np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32)
    whole = encoder.encode(audio, 16000)
    stream = ssl_tt.Stream(encoder, 16000)
    pushed = torch.cat([stream.push(chunk) for chunk in np.array_split(audio, 7, axis=1)], dim=1)
    assert whole.shape == (2, 50, 8)
    torch.testing.assert_close(pushed, whole, rtol=0, atol=1e-5)


@frontends
def test_a_comparison_reads_the_log_mel_beside_any_front_end(frontend: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus)
    settings = load(corpus, "--encoder.frontend", frontend, "--seeds", "0")
    comparison = compare.compare(settings, tmp_path / "out", quiet=True)
    assert {(row["system"], row["representation"]) for row in comparison.rows} == set(SYSTEMS)
    field_ms = receptive_field(settings.encoder).span_ms
    sees = {(row["system"], row["representation"]): row["cost"]["receptive_field_ms"] for row in comparison.rows}
    assert sees["cpc", "encoder"] == pytest.approx(field_ms)
    # The baseline hears what the encoder hears, to a frame.
    assert field_ms - 10 < sees["logmel", "logmel"] <= field_ms
    assert "log-mel" in html.page(comparison)


@frontends
def test_an_untrained_encoder_has_the_statistics_of_the_trained(frontend: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").touch()
    settings = load(tmp_path, "--encoder.frontend", frontend)
    torch.manual_seed(3)
    trained = build(settings.objectives["cpc"], systems.Encoder(settings.encoder)).encoder
    for number, each in enumerate(normalised(trained), start=1):
        each.set_statistics(torch.full_like(each.mean, number), torch.full_like(each.std, 2 * number))
    untrained = systems.untrained(settings, "cpc", 0, trained)
    for each, fixed in zip(normalised(untrained.encoder), normalised(trained), strict=True):
        assert torch.equal(each.mean, fixed.mean)
        assert torch.equal(each.std, fixed.std)


@frontends
def test_a_convolutional_context_sees_the_frames_before_and_their_samples(frontend: str, tmp_path: Path) -> None:
    settings = load(tmp_path, "--encoder.frontend", frontend, "--objectives.cpc.context", "conv")
    torch.manual_seed(0)
    objective = build(settings.objectives["cpc"], systems.Encoder(settings.encoder))
    expected = receptive_field(objective.encoder).span_ms + 2 * 20  # one block of kernel 3
    assert representation_cost(objective, "context")["receptive_field_ms"] == pytest.approx(expected, abs=1e-6)
