"""Frozen features of whole conversations, computed once and kept on the disk while heads are trained on them.

FOLDER/DIGEST.npy    [S, T, C] float32 of one conversation, read through the page cache
"""

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from ssl_tt.data.atomic import atomically
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.windows import Windows, length_samples
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.encoder.streaming import Stream
from ssl_tt.training.features import audio_blocks


class FeatureCache:
    """What an encoder makes of conversations, as it would live: the whole past of a frame is in its features."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.folder = folder
        self.encoder = encoder

    def features(self, conversation: Conversation) -> NDArray[np.float32]:
        """Features [S, T, C] of a conversation; encoded when they are first asked for."""
        facts = f"{conversation.audio} {conversation.sha256} {conversation.duration_seconds}"
        path = self.folder / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.npy"
        if not path.exists():
            stream = Stream(self.encoder)
            n_frames = length_samples(conversation, self.encoder.sample_rate_hz) // self.encoder.hop_samples
            blocks = [stream.push(samples) for samples in audio_blocks(conversation, self.encoder, n_frames)]
            with atomically(path) as file:
                np.save(file, torch.cat(blocks, dim=1).numpy())
        found: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return found

    def fill(self, conversations: Sequence[Conversation]) -> None:
        """Encode what is not there yet, conversations side by side on a thread each, a share of them on each process.

        On the CPU, where several processes of a machine share its cores.
        """
        state = PartialState()
        own = conversations[state.process_index :: state.num_processes]
        with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(self.features, own))
        state.wait_for_everyone()

    def remove(self) -> None:
        """Free the disk: an hour of two channels of 128 features at 50 Hz takes 184 MB."""
        shutil.rmtree(self.folder, ignore_errors=True)


class FeatureWindows(Windows):
    """`Windows` that begin with a frame and hold features [S, T, C] in the place of samples."""

    def __init__(
        self,
        conversations: Sequence[Conversation],
        window_samples: int,
        cache: FeatureCache,
        seed: int,
        swap_channels: bool = False,
        past_frames: int = 0,
        per_conversation: int = 1,
    ) -> None:
        encoder = cache.encoder
        self._cache, self._hop = cache, encoder.hop_samples
        rates = encoder.sample_rate_hz, encoder.frame_rate_hz
        super().__init__(
            conversations, window_samples, *rates, seed, swap_channels, self._hop, past_frames, per_conversation
        )

    def _read(self, conversation: Conversation, start: int) -> NDArray[np.float32]:
        first = start // self._hop
        features = self._cache.features(conversation)[:, first : first + self.window_samples // self._hop]
        return np.array(features)
