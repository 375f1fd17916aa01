"""Fixtures that every test may use: a tiny corpus of its own, and the folder of real data where there is one."""

import os
from pathlib import Path

import numpy as np
import pytest

SAMPLE_RATE_HZ = 16000


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder named by SSL_TT_DATA; without it the test is skipped."""
    root = os.environ.get("SSL_TT_DATA")
    if not root:
        pytest.skip("SSL_TT_DATA is not set")
    return Path(root)


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of eight two-channel conversations of 6 s at 16 kHz: 4 train, 2 validation, 2 test, no shared speaker.

    The speakers take turns of about 1 s with silences of 0.3 s between; sound is a harmonic tone over faint noise.
    """
    from ssl_tt.data.audio import write_wav
    from ssl_tt.data.conversation import Conversation, Segment
    from ssl_tt.data.manifest import write_manifest

    folder = tmp_path_factory.mktemp("tiny_corpus")
    splits = ("train",) * 4 + ("validation",) * 2 + ("test",) * 2
    duration_seconds = 6.0
    conversations = []
    for number, split in enumerate(splits):
        rng = np.random.default_rng((0, number))
        seconds = np.arange(int(duration_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        samples = 0.001 * rng.standard_normal((2, seconds.size))
        segments: tuple[list[Segment], list[Segment]] = ([], [])
        start, speaker = 0.2, 0
        while start + 0.8 < duration_seconds:
            end = min(start + rng.uniform(0.8, 1.2), duration_seconds - 0.05)
            segments[speaker].append(Segment(start_seconds=round(start, 3), end_seconds=round(end, 3)))
            speaking = (seconds >= start) & (seconds < end)
            pitch_hz = rng.uniform(90, 250)
            voice = sum(np.sin(2 * np.pi * k * pitch_hz * seconds) / k for k in range(1, 6))
            samples[speaker] += 0.1 * voice * speaking
            start, speaker = end + 0.3, (1 - speaker if rng.random() < 0.6 else speaker)
        path = folder / f"conversation-{number}.wav"
        write_wav(path, samples.astype(np.float32), SAMPLE_RATE_HZ)
        conversations.append(
            Conversation(
                id=f"conversation-{number}",
                audio=path,
                sample_rate_hz=SAMPLE_RATE_HZ,
                channels=2,
                duration_seconds=duration_seconds,
                speakers=(f"speaker-{number}a", f"speaker-{number}b"),
                segments=tuple(tuple(of_speaker) for of_speaker in segments),
                sha256=None,
                split=split,
                provenance={"simulator": "test"},
            )
        )
    manifest = folder / "manifest.jsonl"
    write_manifest(manifest, conversations)
    return manifest


@pytest.fixture(scope="session")
def tiny_recipe(tiny_corpus: Path) -> Path:
    """A recipe that pretrains a very small encoder on `tiny_corpus` in a second; every process uses one thread."""
    path = tiny_corpus.parent / "tiny.toml"
    path.write_text(
        f"""
name = "tiny"
[data]
pretrain = [{str(tiny_corpus)!r}]
window_seconds = 1.0
[encoder]
channels = 8
output_channels = 8
frontend = {{ mel_bands = 10 }}
stacks = [{{ kernel = 3, dilations = [1, 3] }}]
dropout = 0.1
[training]
steps = 40
batch_windows = 4
accumulation = 2
learning_rate = 1e-3
warmup_steps = 5
validate_every_steps = 10
validation_windows = 4
save_every_steps = 5
log_every_steps = 5
[objective]
kind = "cpc"
steps = 2
context_channels = 8
negative_count = 8
"""
    )
    return path
