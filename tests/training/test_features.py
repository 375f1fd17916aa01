from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_tt.data.audio import read
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import read_manifest
from ssl_tt.encoder.config import EncoderConfig, LogMelConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives import build
from ssl_tt.objectives.config import CPCConfig
from ssl_tt.objectives.objective import Objective
from ssl_tt.training import features
from ssl_tt.training.features import Gatherer, logmel_windows
from ssl_tt.turns.activity import activity
from ssl_tt.turns.activity_history import ActivityHistory

SMALL = EncoderConfig(
    frontend=LogMelConfig(mel_bands=10),
    channels=8,
    output_channels=6,
    stacks=(StackConfig(dilations=(1, 3)), StackConfig(kernel=2, dilations=(8,))),
    combine="concat",
)
FRAMES = np.array([3, 90, 91, 250, 299])


@pytest.fixture(scope="module")
def objective() -> Objective:
    torch.manual_seed(0)
    return build(CPCConfig(steps=2, context_channels=5), Encoder(SMALL)).eval()


@pytest.fixture(scope="module")
def conversation(tiny_corpus: Path) -> Conversation:
    return read_manifest(tiny_corpus)[0]


@pytest.mark.parametrize("blocks", [1, 2, 7, 100])
def test_means_do_not_depend_on_how_the_sequence_is_cut(blocks: int) -> None:
    sequence = torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0))
    windows, ends = [(1, 0), (10, 0), (30, 10)], np.array([1, 5, 25, 26, 99, 100])
    gatherer = Gatherer(windows, ends)
    for block in torch.tensor_split(sequence, blocks, dim=1):
        gatherer.push(block)
    found = gatherer.result()
    assert found.shape == (6, 2, 9)
    for p, end in enumerate(ends):
        for w, (older, newer) in enumerate(windows):
            stretch = sequence[:, max(0, end - older) : max(0, end - newer)]
            expected = stretch.mean(dim=1) if stretch.shape[1] else torch.zeros(2, 3)
            np.testing.assert_allclose(found[p, :, 3 * w : 3 * w + 3], expected, atol=1e-6)


def test_a_frame_past_the_end_is_refused() -> None:
    gatherer = Gatherer([(1, 0)], np.array([5, 11]))
    gatherer.push(torch.zeros(2, 10, 1))
    with pytest.raises(ValueError, match="frame 10"):
        gatherer.result()


@pytest.mark.parametrize("block_seconds", [0.5, 30.0])
def test_what_is_read_is_the_representation_of_the_whole(
    objective: Objective, conversation: Conversation, block_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK_SECONDS", block_seconds)
    names = ["encoder", "context", "stack1.block2"]
    found = features.objective_reader(objective, names, pool_seconds=[0.1])(conversation, FRAMES)
    assert conversation.audio is not None
    samples = torch.from_numpy(read(conversation.audio))
    with torch.inference_mode():
        whole = objective.representations(samples)[0] | {
            "stack1.block2": objective.encoder.layers(samples)["stack1.block2"]
        }
    for name in names:
        width = whole[name].shape[2]
        last = whole[name][:, FRAMES].transpose(0, 1)
        mean = torch.stack([whole[name][:, max(0, t - 4) : t + 1].mean(dim=1) for t in FRAMES])
        np.testing.assert_allclose(found[name][:, :, :width], last, atol=1e-4)
        np.testing.assert_allclose(found[name][:, :, width:], mean, atol=1e-4)


def test_log_mel_is_that_of_the_frames_before_the_end_of_the_frame(
    objective: Objective, conversation: Conversation
) -> None:
    encoder = objective.encoder
    found = features.logmel_reader(encoder, {"logmel": [(10, 0), (20, 10)]})(conversation, FRAMES)["logmel"]
    assert conversation.audio is not None
    with torch.inference_mode():
        logmel, _ = encoder.features(torch.from_numpy(read(conversation.audio)))
    t = 2 * (91 + 1)  # two front-end frames a frame
    np.testing.assert_allclose(found[2, :, :10], logmel[:, t - 10 : t].mean(dim=1), atol=1e-5)
    np.testing.assert_allclose(found[2, :, 10:], logmel[:, t - 20 : t - 10].mean(dim=1), atol=1e-5)


def test_nothing_is_read_from_the_future(objective: Objective, conversation: Conversation, tmp_path: Path) -> None:
    from ssl_tt.data.audio import write_wav

    assert conversation.audio is not None
    assert conversation.sample_rate_hz is not None
    audio = read(conversation.audio)
    audio[:, 92 * 320 :] = 0.3  # frame 91 ends here
    write_wav(tmp_path / "other.wav", audio, conversation.sample_rate_hz)
    other = replace(conversation, audio=tmp_path / "other.wav", sha256=None)
    for reader in (
        features.objective_reader(objective, ["encoder", "context"], [0.2]),
        features.logmel_reader(objective.encoder, {"logmel": logmel_windows(50, 100)}),
    ):
        here, there = reader(conversation, FRAMES), reader(other, FRAMES)
        for name in here:
            np.testing.assert_array_equal(here[name][:3], there[name][:3])
            assert (here[name][3:] != there[name][3:]).any()


def test_activity_history_is_read_at_the_frames(conversation: Conversation) -> None:
    frames = np.array([0, 7, 120])
    found = features.activity_reader(50.0)(conversation, frames)["activity_history"]
    whole, _ = ActivityHistory(50.0)(torch.from_numpy(activity(conversation, 50.0)).T)
    assert found.shape == (3, 2, 11)
    np.testing.assert_array_equal(found, whole[:, frames].transpose(0, 1))


def test_log_mel_stretches_are_fine_over_a_second_and_double_beyond() -> None:
    assert logmel_windows(25, 100) == [(10, 0), (20, 10), (25, 20)]
    fine = [(10 * i + 10, 10 * i) for i in range(10)]
    assert logmel_windows(300, 100) == [*fine, (120, 100), (160, 120), (240, 160), (300, 240)]


def test_names_are_those_of_the_objective_and_of_the_layers(objective: Objective) -> None:
    names = features.representation_names(objective)
    assert names[:2] == ["encoder", "context"]
    assert {"stack1.prelayer", "stack1.block1", "stack2.block1"} <= set(names)


def test_mono_is_refused(objective: Objective, conversation: Conversation) -> None:
    mono = replace(conversation, channels=1, speakers=("a",), segments=((),))
    with pytest.raises(InputError, match="1 channels, expected 2"):
        features.objective_reader(objective, ["encoder"])(mono, FRAMES)
