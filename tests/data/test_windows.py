"""A window is a function of its number; an epoch takes each once and never crosses an end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from ssl_tt.data.audio import read, write_wav
from ssl_tt.data.cache import Cache
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.index import Conversations, index
from ssl_tt.data.manifest import write_manifest
from ssl_tt.data.windows import Batch, Windows, collate, permuted
from ssl_tt.errors import InputError

RATE_HZ = 8000
N = 1600  # 0.2 s, 10 frames at 50 Hz


@pytest.fixture
def conversations(tmp_path: Path) -> list[Conversation]:
    """Recordings of 1.0, 0.1 and 0.75 s whose samples count: channel 0 upwards from 0, channel 1 downwards."""
    made = []
    for name, n_samples in (("a", 8000), ("b", 800), ("c", 6000)):
        ramp = np.arange(n_samples) / 32768
        write_wav(tmp_path / f"{name}.wav", np.stack([ramp, -ramp]), RATE_HZ)
        seconds = n_samples / RATE_HZ
        segments = ((Segment(0, seconds / 2),), ())
        made.append(
            Conversation(name, tmp_path / f"{name}.wav", RATE_HZ, 2, seconds, (f"{name}1", f"{name}2"), segments)
        )
    return made


def start_of(samples: torch.Tensor) -> int:
    """First sample of a window of the ramps, whichever channel is first."""
    return round(samples.abs().min().item() * 32768)


@settings(deadline=None)
@given(length=st.integers(1, 500), seed=st.integers(0, 2**64), epoch=st.integers(0, 10_000))
def test_every_epoch_is_a_permutation(length: int, seed: int, epoch: int) -> None:
    assert sorted(permuted(index, length, seed, epoch) for index in range(length)) == list(range(length))


@pytest.mark.parametrize("length", [*range(1, 70), 255, 256, 257, 1023, 1024, 1025, 4097])
def test_every_length_is_permuted(length: int) -> None:
    assert len({permuted(index, length, 0, 0) for index in range(length)}) == length


def test_orders_of_seeds_and_epochs_are_unrelated() -> None:
    n = 2000
    orders = [[permuted(index, n, seed, epoch) for index in range(n)] for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(orders[i], orders[j])[0, 1]) < 0.1
    # Nor does an order follow the index: neighbours land a third of the range apart on average.
    for order in orders:
        assert abs(np.corrcoef(order, range(n))[0, 1]) < 0.1
        assert np.abs(np.diff(order)).mean() == pytest.approx(n / 3, rel=0.1)


def test_an_epoch_takes_one_window_from_each_stretch_of_each_conversation(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=0)
    assert len(windows) == 5 + 0 + 3
    starts: dict[int, list[int]] = {0: [], 2: []}
    for item in range(len(windows)):
        window = windows[item]
        starts[window.conversation].append(start_of(window.samples))
    for number, count, last in ((0, 5, 8000 - N), (2, 3, 6000 - N)):
        edges = np.linspace(0, last + 1, count + 1)
        assert np.searchsorted(edges, sorted(starts[number]), side="right").tolist() == list(range(1, count + 1))


def test_windows_reach_both_ends_and_move_between_epochs(conversations: list[Conversation]) -> None:
    windows = Windows(conversations[2:], N, RATE_HZ, 50, seed=0)
    starts = [start_of(windows[item].samples) for item in range(1500)]
    assert min(starts) < 20
    assert 6000 - N - 20 < max(starts) <= 6000 - N
    assert len(set(starts)) > 700


def test_a_window_holds_the_samples_and_the_activity_of_its_place(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=3)
    for item in range(len(windows)):
        window = windows[item]
        start = start_of(window.samples)
        expected = read(conversations[window.conversation].audio, start / RATE_HZ, N / RATE_HZ)
        np.testing.assert_array_equal(window.samples.numpy(), expected)
        middle = conversations[window.conversation].duration_seconds / 2
        active = (start + 160 * np.arange(10) + 80) / RATE_HZ <= middle
        assert window.activity is not None
        np.testing.assert_array_equal(window.activity.numpy(), np.stack([active, np.zeros(10, dtype=bool)], axis=1))


def test_swapping_swaps_sound_and_activity_together_in_half_of_the_windows(conversations: list[Conversation]) -> None:
    plain = Windows(conversations, N, RATE_HZ, 50, seed=0)
    swapping = Windows(conversations, N, RATE_HZ, 50, seed=0, swap_channels=True)
    swapped = 0
    for item in range(100):
        before, after = plain[item], swapping[item]
        assert before.activity is not None
        assert after.activity is not None
        order = [0, 1] if torch.equal(before.samples, after.samples) else [1, 0]
        swapped += order == [1, 0]
        assert torch.equal(before.samples[order], after.samples)
        assert torch.equal(before.activity[:, order], after.activity)
    assert 30 < swapped < 70


def test_a_window_is_a_function_of_its_number_alone(conversations: list[Conversation]) -> None:
    def drawn(items: list[int]) -> dict[int, bytes]:
        windows = Windows(conversations, N, RATE_HZ, 50, seed=5, swap_channels=True)
        return {item: windows[item].samples.numpy().tobytes() for item in items}

    forward = drawn(list(range(40)))
    assert drawn(list(reversed(range(40)))) == forward
    assert drawn([17]) == {17: forward[17]}
    assert len(set(forward.values())) > 35


def test_worker_processes_change_nothing(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=0, swap_channels=True)
    loaded = DataLoader(windows, sampler=range(16), batch_size=4, collate_fn=collate, num_workers=2)
    batch: Batch
    for number, batch in enumerate(loaded):
        assert batch.item.tolist() == list(range(4 * number, 4 * number + 4))
        assert torch.equal(batch.samples, collate([windows[item] for item in batch.item.tolist()]).samples)


def test_a_batch_has_the_shapes_it_says(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=0)
    batch = collate([windows[item] for item in range(3)])
    assert batch.samples.shape == (3, 2, N)
    assert batch.samples.dtype == torch.float32
    assert batch.activity is not None
    assert batch.activity.shape == (3, 10, 2)
    assert batch.activity.dtype == torch.bool
    assert batch.conversation.dtype == batch.item.dtype == torch.int64


def test_without_labels_there_is_no_activity(conversations: list[Conversation]) -> None:
    unlabelled = [replace(conversations[0], segments=None), conversations[2]]
    batch = collate([Windows(unlabelled, N, RATE_HZ, 50, seed=0)[item] for item in range(4)])
    assert batch.activity is None


def test_at_another_rate_a_window_starts_at_a_sample_of_that_rate(conversations: list[Conversation]) -> None:
    windows = Windows(conversations[:1], 2 * N, 2 * RATE_HZ, 50, seed=0)
    whole = read(conversations[0].audio, sample_rate_hz=2 * RATE_HZ)
    assert len(windows) == 5
    for item in range(5):
        samples = windows[item].samples.numpy()
        start = np.abs(whole[0] - samples[0, N]).argmin() - N
        np.testing.assert_allclose(samples, whole[:, start : start + 2 * N], atol=1e-6)


def test_short_conversations_are_left_out_aloud(
    conversations: list[Conversation], caplog: pytest.LogCaptureFixture
) -> None:
    Windows(conversations, N, RATE_HZ, 50, seed=0)
    assert "1 of 3 conversations are shorter than a window of 0.2 s and left out, b first" in caplog.text
    with pytest.raises(InputError, match=r"none of the 1 conversations is as long as a window of 0.2 s"):
        Windows(conversations[1:2], N, RATE_HZ, 50, seed=0)


def test_what_cannot_be_trained_on_is_refused(conversations: list[Conversation]) -> None:
    with pytest.raises(InputError, match="annotation only, expected audio"):
        Windows([Conversation("x", None, None, 2, 60.0, ("ann", "bob"))], N, RATE_HZ, 50, seed=0)
    mono = Conversation("x", conversations[0].audio, RATE_HZ, 1, 1.0, ("ann",))
    with pytest.raises(InputError, match="conversations with 1 and 2 channels, expected one number for all"):
        Windows([*conversations, mono], N, RATE_HZ, 50, seed=0)


def test_a_file_that_breaks_during_training_is_named(conversations: list[Conversation]) -> None:
    windows = Windows(conversations[:1], N, RATE_HZ, 50, seed=0)
    windows[0]
    path = conversations[0].audio
    assert path is not None
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a.wav: truncated"):
        windows[0]


def test_windows_of_a_group_are_of_one_conversation_and_apart(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=2, per_conversation=2)
    assert len(windows) == 4 + 0 + 2  # the last of 5 and of 3 has no partner
    met = []
    for first in range(0, len(windows), 2):
        one, other = windows[first], windows[first + 1]
        assert one.conversation == other.conversation
        distance = abs(start_of(one.samples) - start_of(other.samples))
        # Half of the conversation apart: by two of its four stretches, or by one of its two.
        places = (8000 if one.conversation == 0 else 6000) - N + 1
        assert abs(distance - places / 2) <= 1
        met.append(one.conversation)
    assert sorted(met) == [0, 0, 2]


def test_groups_cover_a_conversation_and_are_another_cut_in_every_epoch(conversations: list[Conversation]) -> None:
    windows = Windows(conversations[:1], N, RATE_HZ, 50, seed=2, per_conversation=2)
    edges = np.linspace(0, 8000 - N + 1, 5)
    starts = [start_of(windows[item].samples) for item in range(40)]
    for epoch in range(10):
        of_epoch = sorted(starts[4 * epoch : 4 * epoch + 4])
        assert np.searchsorted(edges, of_epoch, side="right").tolist() == [1, 2, 3, 4]
    assert len(set(starts)) > 35
    orders = [tuple(np.argsort(starts[4 * epoch : 4 * epoch + 4])) for epoch in range(10)]
    assert len(set(orders)) == 2


def test_a_conversation_of_few_windows_still_fills_a_group(conversations: list[Conversation]) -> None:
    windows = Windows(conversations, N, RATE_HZ, 50, seed=0, per_conversation=4)
    assert [windows[item].conversation for item in range(len(windows))] in ([0] * 4 + [2] * 4, [2] * 4 + [0] * 4)


def test_indexed_conversations_give_the_same_windows(conversations: list[Conversation], tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", conversations)
    found = index(tmp_path / "manifest.jsonl", Cache(tmp_path / "cache"))
    indexed = Windows(Conversations([(found, np.arange(3))]), 2 * N, 2 * RATE_HZ, 50, seed=0, swap_channels=True)
    listed = Windows(conversations, 2 * N, 2 * RATE_HZ, 50, seed=0, swap_channels=True)
    assert len(indexed) == len(listed)
    for item in range(20):
        one, other = indexed[item], listed[item]
        assert torch.equal(one.samples, other.samples)
        assert one.activity is not None
        assert other.activity is not None
        assert torch.equal(one.activity, other.activity)
        assert one[2:] == other[2:]
