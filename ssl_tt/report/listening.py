"""What a run rebuilds of a recording, to be heard and seen beside it."""

import math
from pathlib import Path

import torch
from torch import Tensor

from ssl_tt import timebase
from ssl_tt.data.audio import probe_header, read, write_wav
from ssl_tt.errors import InputError
from ssl_tt.objectives.griffinlim import griffin_lim
from ssl_tt.objectives.objective import Objective
from ssl_tt.objectives.vqvae import VQVAE
from ssl_tt.report import figures
from ssl_tt.training.checkpoint import load_objective

DECIBELS = 10 / math.log(10)  # a nat of power


def write_reconstruction(
    checkpoint: Path, audio: Path, out: Path, start_seconds: float, seconds: float, seed: int
) -> list[float]:
    """Write original.wav, reconstruction.wav and spectrograms.png to `out`; log spectral distance of each channel, dB.

    InputError for a run without a decoder, and for audio as in `read` or shorter than a frame. A recording that ends
    before `seconds` is taken to its end.
    """
    objective = load_objective(checkpoint)
    encoder = objective.encoder
    left = probe_header(audio).duration_seconds - start_seconds
    wanted = timebase.frames(min(seconds, left), encoder.frame_rate_hz) * encoder.hop_samples
    if wanted <= 0:
        raise InputError(
            f"{audio}: {max(left, 0):.3f} s from {start_seconds:g} s on and {seconds:g} s asked for, expected at least "
            f"a frame of {1000 / encoder.frame_rate_hz:g} ms: start earlier or ask for more"
        )
    rate = encoder.sample_rate_hz
    original = torch.from_numpy(read(audio, start_seconds, timebase.seconds(wanted, rate), rate))
    rebuilt = resynthesise(objective, original, seed)
    with torch.inference_mode():
        log_mels = [encoder.log_mel(samples)[0] for samples in (original, rebuilt)]
        distances = log_spectral_distance(*(encoder.log_mel.raw(samples)[0] for samples in (original, rebuilt)))
    write_wav(out / "original.wav", original.numpy(), rate)
    write_wav(out / "reconstruction.wav", rebuilt.numpy(), rate)
    speaker = int(log_mels[0].std(dim=(1, 2)).argmax())  # of whom there is more to see
    log_mel, reconstructed = (each[speaker].numpy() for each in log_mels)
    feature_rate_hz = rate / encoder.log_mel.config.hop_samples
    name = type(objective).__name__.lower()
    figures.save(figures.reconstruction(log_mel, reconstructed, feature_rate_hz, name), out / "spectrograms.png")
    return distances.tolist()


@torch.inference_mode()
def resynthesise(objective: Objective, samples: Tensor, seed: int) -> Tensor:
    """Samples [S, N] as a run in evaluation mode rebuilds them; InputError unless it has one decoder."""
    drawn = objective.diagnostics(samples)
    if "reconstruction" in drawn:
        return griffin_lim(objective.encoder.log_mel, drawn["reconstruction"], seed)
    if isinstance(objective, VQVAE):
        return objective.sound(drawn, seed, drawn["input"])
    raise InputError(
        f"a run of {type(objective).__name__} has no decoder, or several; expected one of an autoencoder, such as "
        'objective.kind "vqvae"'
    )


def log_spectral_distance(first: Tensor, second: Tensor) -> Tensor:
    """Distance of log-mels [S, T, M] in nats of power, dB [S]: over bands the root of the mean square, over time the
    mean. (Gray and Markel 1976, on mel bands.)
    """
    return DECIBELS * (first - second).square().mean(dim=2).sqrt().mean(dim=1)
