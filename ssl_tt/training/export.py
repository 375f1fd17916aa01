"""ONNX for live use, checked against PyTorch before a file is written.

    FOLDER/stream.onnx    a chunk of samples and the states in, frames and the next states out
    FOLDER/encoder.onnx   whole recordings in, of any length, frames out
    FOLDER/export.json    inputs, states and outputs of both, rates, receptive field, and how near they came

The states begin as `export.json` says and go from each output to the input of the same name. The streams of a batch, as
many as one likes, lie along the first axis of everything. With int8 weights, which `stream.onnx` alone can have, a live
frame reads a quarter of the memory and differs by some percent.
"""

import copy
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ssl_tt import __version__, timebase
from ssl_tt.data.atomic import atomically
from ssl_tt.encoder.conv import FEW_FRAMES, CausalConv1d, framed
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.receptive_field import receptive_field
from ssl_tt.encoder.streaming import Stream, mapped
from ssl_tt.errors import InputError, RunError
from ssl_tt.objectives.objective import Objective
from ssl_tt.training.checkpoint import load_objective
from ssl_tt.training.int8 import with_int8_weights

# Largest difference to PyTorch of any number; with int8 weights, rms difference of a representation to its own rms.
TOLERANCE = 1e-4
# Trained encoders of one to four stacks came within 2 to 6 %, of noise and of speech, and random ones within 2 %.
INT8_TOLERANCE = 0.1

# Least share of a graph's learned weights that int8 must reach: the others are read as before.
LEAST_INT8_SHARE = 0.5

Description = dict[str, Any]
Weights = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how near it comes to PyTorch."""

    path: Path
    weights: Weights
    largest_difference: float
    relative_rms_difference: float
    lengths_seconds: tuple[float, ...]
    size_bytes: int

    def __str__(self) -> str:
        lengths = " and ".join(f"{seconds:g}" for seconds in self.lengths_seconds)
        if self.weights == "int8":
            difference = f"rms difference to PyTorch {self.relative_rms_difference:.2%} of the features'"
            most = f"{INT8_TOLERANCE:.0%}"
        else:
            difference, most = f"largest difference to PyTorch {self.largest_difference:.1e}", f"{TOLERANCE:g}"
        return (
            f"{self.path}: {self.size_bytes / 1e6:.1f} MB, {self.weights} weights; {difference} over {lengths} s "
            f"(at most {most})"
        )


def export(
    run: Path | str,
    out: Path,
    representations: Sequence[str] = ("encoder",),
    chunk_ms: float | None = None,
    weights: Weights = "fp32",
) -> list[Exported]:
    """Write a run's best checkpoint, or one checkpoint, as `stream.onnx` with these representations and `encoder.onnx`.

    A chunk is one frame if not given, of the slowest level where an objective has several; `weights` are those of
    `stream.onnx`. InputError for a chunk that is no whole number of these, for representations that the objective does
    not have, for int8 weights where little is made of products, and without the packages for ONNX. RunError, and
    nothing written, where onnxruntime's frames differ from PyTorch's by more than `TOLERANCE` or `INT8_TOLERANCE`.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise InputError(f"export needs {', '.join(missing)}: pip install 'ssl-tt[export]'")
    objective = load_objective(run)  # float32, as the files will be
    encoder = objective.encoder
    names = tuple(representations)
    check_names(objective, names)
    chunk_samples = _chunk_samples(encoder if names == ("encoder",) else objective, chunk_ms)

    with tempfile.TemporaryDirectory() as scratch:
        stream_path, encoder_path = Path(scratch, "stream.onnx"), Path(scratch, "encoder.onnx")
        stream = export_stream(objective, stream_path, names, chunk_samples, weights)
        whole = export_encoder(encoder, encoder_path)
        for name, description in (("stream.onnx", stream), ("encoder.onnx", whole)):
            _check_parity(name, description)
        _write(out / stream_path.name, stream_path.read_bytes())
        _write(out / encoder_path.name, encoder_path.read_bytes())
    _write(out / "export.json", json.dumps({"stream": stream, "encoder": whole}, indent=2).encode() + b"\n")
    return [
        Exported(
            path,
            about["weights"],
            about["largest_difference"],
            about["relative_rms_difference"],
            tuple(about["lengths_seconds"]),
            path.stat().st_size,
        )
        for path, about in ((out / "stream.onnx", stream), (out / "encoder.onnx", whole))
    ]


def check_names(objective: Objective, names: Sequence[str]) -> None:
    """Raise InputError for a representation that the objective does not have."""
    with torch.inference_mode():
        known = objective.representations(torch.zeros(1, objective.encoder.hop_samples))[0]
    if not names:
        raise InputError(f"no representation to export: name some of {', '.join(known)}")
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"representation {unknown[0]!r}: this run has {', '.join(known)}; choose from these")


# --- One chunk after another -----------------------------------------------------------------------------------------


class StreamStep(nn.Module):
    """A chunk [B, n] and flat states in, the named representations and the next states out."""

    def __init__(self, objective: Objective, names: Sequence[str]) -> None:
        super().__init__()
        self.model = copy.deepcopy(objective.encoder if names == ("encoder",) else objective).eval()
        self.names = names
        self.start: Any
        with torch.no_grad():
            _, self.start = self.model.advance(torch.zeros(1, 0))
        _replaced(self.model, nn.LSTM, _LSTM)
        _replaced(self.model, CausalConv1d, _Product)

    def forward(self, samples: Tensor, states: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        given = iter(states)
        state = mapped(
            lambda start: next(given) if start.numel() else start.expand(samples.shape[0], *start.shape[1:]), self.start
        )
        frames, state = self.model.advance(samples, state)
        frames = frames if isinstance(frames, dict) else {"encoder": frames}
        return tuple(frames[name] for name in self.names), tuple(tensor for _, tensor in named(state))


def named(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested state by name, in the order of `mapped`, without those that hold nothing."""
    if isinstance(state, Tensor):
        if state.numel():
            yield name, state
    elif state is not None:
        keys = state if isinstance(state, dict) else getattr(state, "_fields", range(len(state)))
        values = state.values() if isinstance(state, dict) else state
        for key, value in zip(keys, values, strict=True):
            yield from named(value, f"{name}.{key}")


def export_stream(
    objective: Objective, path: Path, names: tuple[str, ...], chunk_samples: int, weights: Weights = "fp32"
) -> Description:
    """Write the model of a chunk and say what it takes and gives, and how far it is from the whole in PyTorch."""
    step = StreamStep(objective, names)
    states = dict(named(step.start))
    streams = torch.export.Dim("streams")
    # Two streams, as an axis of one would be taken for fixed.
    example = (torch.zeros(2, chunk_samples), tuple(tensor.repeat_interleave(2, dim=0) for tensor in states.values()))
    next_names = [f"next_{name}" for name in states]
    with torch.no_grad():
        frames, _ = step(*example)
    description = _about(objective.encoder, weights) | {
        "chunk_samples": chunk_samples,
        "inputs": [{"name": "samples", "type": "float32", "shape": ["streams", chunk_samples]}],
        "states": [
            {
                "name": name,
                "next": following,
                "type": str(tensor.dtype).removeprefix("torch."),
                "shape": ["streams", *tensor.shape[1:]],
                "initial": tensor[0].tolist() if tensor.any() else 0.0,
            }
            for (name, tensor), following in zip(states.items(), next_names, strict=True)
        ],
        "outputs": [
            {"name": name, "type": "float32", "shape": ["streams", *frame.shape[1:]]}
            for name, frame in zip(names, frames, strict=True)
        ],
    }
    shapes = ({0: streams}, tuple({0: streams} for _ in states))
    _write_onnx(step, example, shapes, ["samples", *states], [*names, *next_names], path, description)
    if weights == "int8":
        _make_int8(path, step)

    def run(audio: np.ndarray) -> list[np.ndarray]:
        session = onnx_session(path)
        feed = {name: np.repeat(tensor.numpy(), len(audio), axis=0) for name, tensor in states.items()}
        frames = []
        for start in range(0, audio.shape[1], chunk_samples):
            found = session.run(None, {"samples": audio[:, start : start + chunk_samples], **feed})
            frames.append(found[: len(names)])
            feed = dict(zip(states, found[len(names) :], strict=True))
        return [np.concatenate(pieces, axis=1) for pieces in zip(*frames, strict=True)]

    return description | _parity(objective, names, run, chunk_samples)


# --- Whole recordings ------------------------------------------------------------------------------------------------


class Whole(nn.Module):
    """Samples [B, N] -> [B, T, C], without states."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()

    def forward(self, samples: Tensor) -> Tensor:
        frames, _ = self.encoder(samples)
        return frames


def export_encoder(encoder: Encoder, path: Path) -> Description:
    """Write the encoder alone, for any number of frames, and say how far it is from PyTorch."""
    hop = encoder.hop_samples
    description = _about(encoder, "fp32") | {
        "inputs": [{"name": "samples", "type": "float32", "shape": ["streams", f"{hop}*frames"]}],
        "outputs": [
            {"name": "encoder", "type": "float32", "shape": ["streams", "frames", encoder.output_channels]},
        ],
    }
    # Fewer frames would be traced as a live chunk; what is traced here holds for them too.
    frames = torch.export.Dim("frames", min=FEW_FRAMES + 1)
    shapes = ({0: torch.export.Dim("streams"), 1: hop * frames},)
    example = (torch.zeros(2, 4 * FEW_FRAMES * hop),)
    _write_onnx(Whole(encoder), example, shapes, ["samples"], ["encoder"], path, description)
    session = onnx_session(path)
    return description | _parity(encoder, ("encoder",), lambda audio: session.run(None, {"samples": audio}), hop)


# --- Writing and checking --------------------------------------------------------------------------------------------


def onnx_session(path: Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _write_onnx(
    module: nn.Module,
    example: tuple[Any, ...],
    dynamic_shapes: Any,
    input_names: list[str],
    output_names: list[str],
    path: Path,
    description: Description,
) -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of packages that it would know how to use, and that nothing here does
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                example,
                input_names=input_names,
                output_names=output_names,
                dynamic_shapes=dynamic_shapes,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(f"{path.name}: the exporter cannot write this model ({first}); nothing was written") from error
    finally:
        logger.setLevel(level)
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # where in whose source the exporter has met each node: a tenth of an int8 file
    for key, value in description.items():
        program.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    program.save(path)
    expected = {entry["name"]: entry["shape"] for entry in description["inputs"] + description.get("states", [])}
    for entry in onnx_session(path).get_inputs():
        shape = expected[entry.name]
        if [isinstance(axis, str) for axis in entry.shape] != [isinstance(axis, str) for axis in shape]:
            raise RunError(
                f"{path.name}: input {entry.name} has become {entry.shape}, expected {shape}: the exporter has fixed "
                "an axis that must stay free; nothing was written"
            )


def _make_int8(path: Path, step: StreamStep) -> None:
    import onnx

    model = onnx.load(path)
    products = {f"{name}.weight" for name, module in step.named_modules() if isinstance(module, _Affine)}
    learned = products | {name for name, _ in step.named_parameters()}
    sizes = {each.name: math.prod(each.dims) for each in model.graph.initializer if each.name in learned}
    share = sum(size for name, size in sizes.items() if name in products) / sum(sizes.values())
    if share < LEAST_INT8_SHARE:
        raise InputError(
            f"int8 weights: only {share:.0%} of the weights of {path.name} are in products, expected at least "
            f"{LEAST_INT8_SHARE:.0%}: 2-D convolutions, and those of more than {FEW_FRAMES} frames a chunk, are none; "
            "export fp32 weights, or 1-D convolutions with a shorter chunk"
        )
    with_int8_weights(model, products)
    onnx.save(model, path)


def _parity(model: Any, names: tuple[str, ...], run: Any, multiple: int) -> Description:
    """Largest difference to PyTorch's frames of the whole audio, of one and of three streams, at two lengths.

    Beside it the largest rms difference of a representation, relative to its rms.
    """
    encoder = getattr(model, "encoder", model)
    rate = encoder.sample_rate_hz
    largest, relative, lengths = 0.0, 0.0, []
    for streams, seconds in ((1, 1.0), (3, 1.0 + receptive_field(encoder).span_seconds)):
        n_samples = -(-timebase.samples(seconds, rate) // multiple) * multiple
        audio = _made_up_audio(streams, n_samples, rate)
        expected: Any = Stream(model).push(audio)
        expected = expected if isinstance(expected, dict) else {"encoder": expected}
        for name, found in zip(names, run(audio), strict=True):
            wanted = expected[name].numpy()
            largest = max(largest, float(np.abs(found - wanted).max()))
            relative = max(relative, float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean())))
        lengths.append(round(timebase.seconds(n_samples, rate), 3))
    return {"largest_difference": largest, "relative_rms_difference": relative, "lengths_seconds": lengths}


def _check_parity(name: str, description: Description) -> None:
    """Raise RunError for a graph that comes too far from PyTorch; NaN is too far."""
    if description["weights"] == "int8":
        relative = description["relative_rms_difference"]
        near, difference, most = relative <= INT8_TOLERANCE, f"{relative:.2%} of the features", f"{INT8_TOLERANCE:.0%}"
        mend = "these weights need fp32"
    else:
        largest = description["largest_difference"]
        near, difference, most = largest <= TOLERANCE, f"{largest:.1e}", f"{TOLERANCE:g}"
        mend = "try other versions of onnxscript and onnxruntime"
    if not near:
        raise RunError(
            f"{name}: differs from PyTorch by {difference}, expected at most {most}; nothing was written: {mend}"
        )


def _made_up_audio(streams: int, n_samples: int, rate: int) -> np.ndarray:
    """Noise that swells and falls silent, each stream in its own time."""
    noise = np.random.default_rng(0).standard_normal((streams, n_samples), dtype=np.float32)
    seconds = np.arange(n_samples, dtype=np.float32) / rate + np.arange(streams, dtype=np.float32)[:, None] / 7
    return (0.3 * noise * np.sin(9 * seconds).clip(min=0)).astype(np.float32)


def _chunk_samples(model: Encoder | Objective, chunk_ms: float | None) -> int:
    encoder = model.encoder if isinstance(model, Objective) else model
    hop, rate = model.cycle_samples, encoder.sample_rate_hz
    chunk = hop if chunk_ms is None else timebase.samples(chunk_ms / 1000, rate)
    if chunk < hop or chunk % hop:
        raise InputError(
            f"chunk of {chunk_ms:g} ms is {chunk} samples, expected a multiple of {hop}, a frame of "
            f"{1000 * timebase.seconds(hop, rate):g} ms"
        )
    return chunk


def _about(encoder: Encoder, weights: Weights) -> Description:
    field = receptive_field(encoder)
    return {
        "ssl_tt_version": __version__,
        "weights": weights,
        "tolerance": TOLERANCE if weights == "fp32" else INT8_TOLERANCE,
        "sample_rate_hz": encoder.sample_rate_hz,
        "hop_samples": encoder.hop_samples,
        "frame_rate_hz": encoder.frame_rate_hz,
        "encoder_receptive_field": {
            "samples": field.span_samples,
            "ms": field.span_ms,
            "lookahead_samples": field.lookahead_samples,
        },
    }


class _Affine(nn.Module):
    """Weights [C, K] laid out as onnxruntime reads them: [..., K] -> [..., C]."""

    weight: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().t().contiguous())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class _Product(nn.Module):
    """A causal convolution whose few frames are one product, without turning them: the weights are turned instead."""

    def __init__(self, conv: CausalConv1d) -> None:
        super().__init__()
        self.conv = conv
        self.affine = _Affine(conv.weight.transpose(1, 2).flatten(1), conv.bias)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        conv, stride, dilation = self.conv, self.conv.stride[0], self.conv.dilation[0]
        joined, n_frames, following = framed(x, state, conv.past, stride)
        if n_frames > FEW_FRAMES or conv.groups > 1:
            return conv(x, state)
        if conv.span == 1:
            taps = joined
        elif n_frames == 1:
            taps = joined[:, : conv.span : dilation].reshape(-1, 1, len(self.affine.weight))
        else:
            starts = range(0, conv.span, dilation)
            taps = torch.cat([joined[:, start::stride][:, :n_frames] for start in starts], dim=2)
        return self.affine(taps), following


class _LSTM(nn.Module):
    """An LSTM of plain products, frame by frame: the exporter's own gives other numbers (torch 2.11, off by 0.1)."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.into_gates = nn.ModuleList(_Affine(weight, bias) for weight, _, bias, _ in lstm.all_weights)
        self.from_hidden = nn.ModuleList(_Affine(weight, bias) for _, weight, _, bias in lstm.all_weights)

    def forward(self, z: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, cells = [], []
        for layer, (into_gates, from_hidden) in enumerate(zip(self.into_gates, self.from_hidden, strict=True)):
            h, c = state[0][:, layer], state[1][:, layer]
            outputs = []
            for x in z.unbind(1):
                enter, keep, content, leave = (into_gates(x) + from_hidden(h)).chunk(4, dim=1)
                c = keep.sigmoid() * c + enter.sigmoid() * content.tanh()
                h = leave.sigmoid() * c.tanh()
                outputs.append(h)
            z = torch.stack(outputs, dim=1)
            hidden.append(h)
            cells.append(c)
        return z, (torch.stack(hidden, dim=1), torch.stack(cells, dim=1))


def _replaced(module: nn.Module, kind: type[nn.Module], by: Callable[[Any], nn.Module]) -> None:
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, by(child))
        else:
            _replaced(child, kind, by)


def _write(path: Path, content: bytes) -> None:
    with atomically(path) as file:
        file.write(content)
