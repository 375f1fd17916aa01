"""ONNX files give PyTorch's frames, at any length and for any number of streams, or are not written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_tt import recipe
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import (
    CPCConfig,
    CPCPart,
    JointConfig,
    ObjectiveConfig,
    VQVAE2Part,
    VQVAEConfig,
)
from ssl_tt.objectives.objective import Objective
from ssl_tt.training import export as exporting
from ssl_tt.training.config import PretrainRecipe
from ssl_tt.training.export import export, export_encoder, export_stream, onnx_session
from ssl_tt.training.int8 import BLOCK, int8_blocks
from ssl_tt.training.pretrain import pretrain
from tests.encoder import configs as encoders
from tests.encoder.frontends import SMALL_FRONTENDS, hearing, voices
from tests.objectives.small import ENCODER, HOP, tones

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

OBJECTIVES: dict[str, tuple[ObjectiveConfig, tuple[str, ...]]] = {
    "cpc lstm": (CPCConfig(context="lstm", context_channels=12, context_layers=2), ("encoder", "context")),
    "cpc gru": (CPCConfig(context="gru", context_channels=12), ("context",)),
    "cpc conv": (CPCConfig(context="conv", context_channels=12, context_layers=2), ("context", "encoder")),
    "vqvae": (VQVAEConfig(codes=8, code_channels=6, groups=2, distance="cosine"), ("codes",)),
    "joint": (
        JointConfig(
            parts={
                "contrast": CPCPart(context="gru", context_channels=12),
                "reconstruction": VQVAE2Part(codes=8, code_channels=6, top_channels=10, top_stride=2, top_blocks=1),
            }
        ),
        ("top", "context", "bottom"),
    ),
}


def small(config: ObjectiveConfig, encoder: EncoderConfig = ENCODER) -> Objective:
    torch.manual_seed(0)
    return build(config, Encoder(encoder)).eval()


def streamed(path: Path, audio: np.ndarray, description: dict[str, Any]) -> list[np.ndarray]:
    """Outputs of a stream model, as anybody would run it who has read its description alone."""
    session, size = onnx_session(path), description["chunk_samples"]
    outputs = [entry["name"] for entry in description["outputs"]]
    states = description["states"]
    feed = {
        state["name"]: np.broadcast_to(
            np.asarray(state["initial"], state["type"]),
            [len(audio) if axis == "streams" else axis for axis in state["shape"]],
        )
        for state in states
    }
    chunks = []
    for start in range(0, audio.shape[1] - size + 1, size):
        samples = audio[:, start : start + size]
        found = session.run([*outputs, *(state["next"] for state in states)], {"samples": samples, **feed})
        chunks.append(found[: len(outputs)])
        feed = {state["name"]: value for state, value in zip(states, found[len(outputs) :], strict=True)}
    return [np.concatenate(pieces, axis=1) for pieces in zip(*chunks, strict=True)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_long_stream_of_chunks_equals_the_whole(name: str, tmp_path: Path) -> None:
    config, names = OBJECTIVES[name]
    objective, path = small(config), tmp_path / "stream.onnx"
    description = export_stream(objective, path, names, objective.cycle_samples)
    assert description["largest_difference"] < 1e-4
    audio = tones(2, speakers=2, frames=300).flatten(0, 1)
    whole = Stream(objective).push(audio)
    for rows in (slice(0, 1), slice(0, 4)):
        for representation, found in zip(names, streamed(path, audio[rows].numpy(), description), strict=True):
            np.testing.assert_allclose(found, whole[representation][rows], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "frames_a_chunk"),
    [
        ("no norm, no stride", 3),
        ("three stacks joined", 1),
        ("three stacks joined", 20),
        ("2d", 1),
        ("separable, weight norm", 1),
    ],
)
def test_encoders_are_exported_for_any_chunk(config: str, frames_a_chunk: int, tmp_path: Path) -> None:
    encoder, path = encoders.build(encoders.SMALL[config]), tmp_path / "stream.onnx"
    objective = build(VQVAEConfig(codes=8, code_channels=6), encoder).eval()
    description = export_stream(objective, path, ("encoder",), frames_a_chunk * encoder.hop_samples)
    audio = encoders.noise(2, 60 * encoder.hop_samples)
    (found,) = streamed(path, audio.numpy(), description)
    np.testing.assert_allclose(found, encoder.encode(audio, 8000), rtol=0, atol=1e-4)


def test_the_encoder_alone_takes_any_length(tmp_path: Path) -> None:
    encoder, path = small(VQVAEConfig()).encoder, tmp_path / "encoder.onnx"
    assert export_encoder(encoder, path)["largest_difference"] < 1e-4
    session = onnx_session(path)
    for streams, frames in ((1, 1), (3, 5), (2, 100), (1, 1501)):
        audio = 0.1 * torch.randn(streams, frames * HOP, generator=torch.Generator().manual_seed(frames))
        (found,) = session.run(None, {"samples": audio.numpy()})
        assert found.shape == (streams, frames, 24)
        np.testing.assert_allclose(found, encoder.encode(audio, 16000), rtol=0, atol=1e-4)


def test_extracted_features_beside_a_waveform_are_exported(tmp_path: Path) -> None:
    encoder = hearing(SMALL_FRONTENDS["features and waveform"])
    objective = build(VQVAEConfig(codes=8, code_channels=6), encoder).eval()
    description = export_stream(objective, tmp_path / "stream.onnx", ("encoder",), encoder.hop_samples)
    export_encoder(encoder, tmp_path / "encoder.onnx")
    audio = voices(3, 200 * encoder.hop_samples)
    (live,) = streamed(tmp_path / "stream.onnx", audio.numpy(), description)
    (whole,) = onnx_session(tmp_path / "encoder.onnx").run(None, {"samples": audio.numpy()})
    for found in (live, whole):
        np.testing.assert_allclose(found, encoder.encode(audio, 8000), rtol=0, atol=1e-4)


INT8 = {
    "lstm": (CPCConfig(context="lstm", context_channels=12, context_layers=2), ENCODER),
    "gated, separable": (
        VQVAEConfig(codes=8, code_channels=6),
        encoders.SMALL["wavenets joined at every layer"].model_copy(update={"channels": 64}),
    ),
}


@pytest.mark.parametrize("name", INT8)
def test_int8_weights_give_nearly_the_same_frames(name: str, tmp_path: Path) -> None:
    config, encoder = INT8[name]
    objective, path = small(config, encoder), tmp_path / "stream.onnx"
    hop, names = objective.encoder.hop_samples, ("encoder", "context") if name == "lstm" else ("encoder",)
    description = export_stream(objective, path, names, hop, "int8")
    assert description["weights"] == "int8"
    assert 1e-4 < description["relative_rms_difference"] < description["tolerance"] == exporting.INT8_TOLERANCE
    audio = 0.1 * torch.randn(2, 300 * hop, generator=torch.Generator().manual_seed(1))
    whole = Stream(objective).push(audio)
    for representation, found in zip(names, streamed(path, audio.numpy(), description), strict=True):
        wanted = whole[representation].numpy()
        assert np.square(found - wanted).mean() < description["tolerance"] ** 2 * np.square(wanted).mean()


def test_int8_weights_are_off_by_half_a_level_at_most() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 2 * BLOCK + 7)).astype(np.float32)
    weight[1, :BLOCK] = 0
    levels, scales = int8_blocks(weight)
    assert levels.shape == (5, 3, BLOCK)
    assert levels.dtype == np.uint8
    assert scales.dtype == np.float32
    meant = ((levels - 128.0) * scales[..., None]).reshape(5, -1)
    assert np.array_equal(meant[:, weight.shape[1] :], np.zeros((5, BLOCK - 7)))
    most = np.abs(weight).max() / 254
    np.testing.assert_allclose(meant[:, : weight.shape[1]], weight, rtol=0, atol=most * (1 + 1e-5))
    assert np.array_equal(meant[1, :BLOCK], np.zeros(BLOCK))


def test_int8_weights_are_refused_where_little_is_a_product(tmp_path: Path) -> None:
    objective = small(VQVAEConfig(codes=8, code_channels=6), encoders.SMALL["2d"])
    with pytest.raises(
        InputError, match=r"only \d+% of the weights of stream.onnx are in products, expected at least 50"
    ):
        export_stream(objective, tmp_path / "stream.onnx", ("encoder",), objective.encoder.hop_samples, "int8")


@pytest.fixture(scope="module")
def run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = recipe.load(tiny_recipe, PretrainRecipe, ["--training.steps", "2", "--encoder.channels", "64"])
    return pretrain(settings, tmp_path_factory.mktemp("runs") / "run", quiet=True)


def test_files_describe_themselves(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "exported"
    exported = export(run, out, ("encoder", "context"), chunk_ms=40)
    assert sorted(path.name for path in out.iterdir()) == ["encoder.onnx", "export.json", "stream.onnx"]
    for each in exported:
        assert each.size_bytes == each.path.stat().st_size
        assert len(set(each.lengths_seconds)) == 2
        assert f"{each.largest_difference:.1e} over 1 and " in str(each)
    sidecar = json.loads((out / "export.json").read_text())
    for name, description in sidecar.items():
        session = onnx_session(out / f"{name}.onnx")
        metadata = session.get_modelmeta().custom_metadata_map
        assert json.loads(metadata["sample_rate_hz"]) == description["sample_rate_hz"] == 16000
        assert json.loads(metadata["encoder_receptive_field"]) == description["encoder_receptive_field"]
        assert metadata["ssl_tt_version"] == description["ssl_tt_version"]
        states = description.get("states", [])
        shapes = {entry["name"]: entry["shape"] for entry in description["inputs"] + states}
        assert shapes == {entry.name: entry.shape for entry in session.get_inputs()}
        given = [entry["name"] for entry in description["outputs"]] + [state["next"] for state in states]
        assert given == [entry.name for entry in session.get_outputs()]
        assert description["weights"] == metadata["weights"] == "fp32"
        assert str(Path(exporting.__file__).parent) not in (out / f"{name}.onnx").read_bytes().decode(errors="ignore")
    assert sidecar["stream"]["chunk_samples"] == 640
    assert sidecar["stream"]["outputs"][1]["shape"] == ["streams", 2, 8]


def test_what_differs_from_pytorch_is_not_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "TOLERANCE", 0.0)
    with pytest.raises(RunError, match=r"stream.onnx: differs from PyTorch by \d\.\de-0\d, expected at most 0"):
        export(run, tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_an_int8_stream_is_small_and_says_how_near_it_came(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fp32, _), (int8, whole) = export(run, tmp_path / "fp32"), export(run, tmp_path / "int8", weights="int8")
    assert int8.size_bytes < 0.6 * fp32.size_bytes
    assert f"int8 weights; rms difference to PyTorch {int8.relative_rms_difference:.2%} of the features'" in str(int8)
    assert whole.weights == "fp32"
    sidecar = json.loads((tmp_path / "int8" / "export.json").read_text())
    assert [about["weights"] for about in sidecar.values()] == ["int8", "fp32"]
    monkeypatch.setattr(exporting, "INT8_TOLERANCE", 0.0)
    with pytest.raises(RunError, match=r"stream.onnx: differs from PyTorch by \d\.\d\d% of .*these weights need fp32"):
        export(run, tmp_path / "refused", weights="int8")
    assert not (tmp_path / "refused").exists()


def test_wrong_wishes_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "exported"
    with pytest.raises(InputError, match="chunk of 30 ms is 480 samples, expected a multiple of 320, a frame of 20 ms"):
        export(run, out, chunk_ms=30)
    with pytest.raises(InputError, match="chunk of 0 ms"):
        export(run, out, chunk_ms=0)
    with pytest.raises(InputError, match="representation 'codes': this run has encoder, context"):
        export(run, out, ("encoder", "codes"))
    with pytest.raises(InputError, match="no representation to export: name some of encoder, context"):
        export(run, out, ())
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match=r"export needs onnxruntime: pip install 'ssl-tt\[export\]'"):
        export(run, out)
    assert list(tmp_path.iterdir()) == []


def test_an_axis_that_the_exporter_fixes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "Dim", lambda name, min=None: None)
    with pytest.raises(RunError, match="the exporter has fixed an axis that must stay free"):
        export_stream(small(VQVAEConfig()), tmp_path / "stream.onnx", ("encoder",), HOP)
