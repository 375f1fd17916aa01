"""What a representation costs to compute, and how far back it sees."""

from typing import Any

import torch
from torch import nn

from ssl_tt import timebase
from ssl_tt.encoder.receptive_field import frontend_reach, receptive_field
from ssl_tt.objectives.objective import Objective

Cost = dict[str, float | None]

# Longer than any convolutional context in use, for the gradient to show where one ends.
_MEASURED_SECONDS = 30

NO_COST: Cost = {
    "parameters": 0,
    "head_parameters": 0,
    "macs_per_second_of_audio": None,
    "pretrain_audio_hours": None,
    "pretrain_seconds": None,
    "pretrain_cpu_seconds": None,
    "receptive_field_ms": None,
    "lookahead_ms": 0.0,
}


def representation_cost(objective: Objective, name: str) -> Cost:
    """Cost of a representation of one channel of audio, but for its pretraining.

    The encoder's output and its layers cost the encoder. Whatever else an objective has costs all that it runs: each
    weight beyond the encoder's is used once for each frame that its layer gives (a quantizer's search is not counted).
    The receptive field is None where a recurrent network remembers without end.
    """
    encoder = objective.encoder
    field = receptive_field(encoder)
    cost: Cost = {
        "parameters": encoder.parameter_count,
        "head_parameters": 0,
        "macs_per_second_of_audio": encoder.macs_per_second,
        "pretrain_audio_hours": 0.0,
        "pretrain_seconds": 0.0,
        "pretrain_cpu_seconds": 0.0,
        "receptive_field_ms": field.span_ms,
        "lookahead_ms": field.lookahead_ms,
    }
    with torch.inference_mode():
        own, _ = objective.eval().representations(torch.zeros(1, encoder.sample_rate_hz))
    if name == "encoder" or name not in own:
        return cost
    extra = _modules_run(objective)
    parameters = [parameter for module in extra for parameter in module.parameters(recurse=False)]
    macs_per_second = sum(
        parameter.numel() * frames_per_second
        for module, frames_per_second in extra.items()
        for parameter in module.parameters(recurse=False)
        if parameter.ndim > 1
    )
    recurrent = any(isinstance(module, nn.RNNBase) for module in extra)
    return cost | {
        "parameters": encoder.parameter_count + sum(parameter.numel() for parameter in parameters),
        "macs_per_second_of_audio": encoder.macs_per_second + macs_per_second,
        "receptive_field_ms": None if recurrent else _measured_ms(objective, name, at_least=field.span_ms),
    }


def _modules_run(objective: Objective) -> dict[nn.Module, float]:
    """Modules outside the encoder that computing the representations runs, and frames a second that each gives."""
    encoder = objective.encoder
    seconds = timebase.seconds(objective.cycle_samples, encoder.sample_rate_hz)
    inside = set(encoder.modules())
    run: dict[nn.Module, float] = {}

    def note(module: nn.Module, inputs: Any, outputs: Any) -> None:
        frames = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        run[module] = frames.shape[1] / seconds

    hooks = [module.register_forward_hook(note) for module in objective.modules() if module not in inside]
    try:
        with torch.inference_mode():
            objective.eval().representations(torch.zeros(1, objective.cycle_samples))
    finally:
        for hook in hooks:
            hook.remove()
    return run


def _measured_ms(objective: Objective, name: str, at_least: float) -> float | None:
    """How far back the gradient of a representation's newest frame reaches, None if beyond what was looked at.

    The gradient is that to the front end's frames, which need not have one to the samples they are computed from.
    """
    encoder = objective.encoder
    hop, rate = encoder.config.frontend.hop_samples, encoder.sample_rate_hz
    n_samples = _MEASURED_SECONDS * rate // encoder.hop_samples * encoder.hop_samples
    noise = torch.randn(1, n_samples, generator=torch.Generator().manual_seed(0))
    frames: list[torch.Tensor] = []

    def start_here(module: nn.Module, inputs: Any, outputs: Any) -> tuple[torch.Tensor, Any]:
        frames.append(outputs[0].detach().requires_grad_())
        return frames[0], outputs[1]

    hook = encoder.frontend.register_forward_hook(start_here)
    try:
        newest = objective.eval().representations(noise)[0][name][:, -1]
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(newest.sum(), frames[0])
    first = int(torch.nonzero(gradient[0].any(dim=-1))[0])
    if first < encoder.config.stride:
        return None
    span_samples = n_samples - (first + 1) * hop + frontend_reach(encoder.config.frontend).span
    return max(at_least, 1000 * span_samples / rate)
