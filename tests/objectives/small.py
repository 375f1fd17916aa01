"""A small encoder and made-up windows for the tests of the objectives."""

import torch
from torch import Tensor

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.objectives.objective import Objective

HOP = 320
ENCODER = EncoderConfig(
    frontend=LogMelConfig(mel_bands=16),
    channels=32,
    output_channels=24,
    stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=5, dilations=(1, 2))),
)


def encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(ENCODER)


def tones(windows: int, speakers: int = 2, frames: int = 40, seed: int = 0) -> Tensor:
    """Samples [B, S, N]: gliding tones with a loudness that comes and goes, over noise."""
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(frames * HOP) / 16000
    pitch, glide, phase, beat = (torch.rand(windows, speakers, 1, generator=draw) for _ in range(4))
    loudness = torch.sin(2 * torch.pi * (1 + 4 * beat) * time + 6 * phase).square()
    tone = torch.sin(2 * torch.pi * (100 + 1000 * pitch + 2000 * glide * time) * time)
    return 0.3 * loudness * tone + 0.003 * torch.randn(windows, speakers, frames * HOP, generator=draw)


def batch(windows: int = 4, speakers: int = 2, frames: int = 40, seed: int = 0) -> Batch:
    """Windows of `windows // 2` conversations: numbers 0, 0, 1, 1, ..."""
    return Batch(
        samples=tones(windows, speakers, frames, seed),
        activity=None,
        conversation=torch.arange(windows) // 2,
        item=torch.arange(windows),
    )


def train(objective: Objective, data: Batch, steps: int, autocast: bool = False) -> list[float]:
    """Losses of training on one batch again and again, each step under its own seed."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=4e-3, weight_decay=0)
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = objective(data).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        objective.after_optimizer_step()
        losses.append(loss.item())
    return losses
