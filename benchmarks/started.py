"""One start of a run for benchmarks/data.py, in this process: index or list, split, windows, one window drawn.

    python benchmarks/started.py '["MANIFEST", "CACHE FOLDER", true, 0]'

The last two tell whether the manifest is indexed and which window is drawn. Prints seconds, and the megabytes by which
the memory of this process has grown at its highest, as JSON.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse.csgraph  # noqa: F401  (what an index imports when it is made)

from ssl_tt.data.cache import Cache
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.index import Conversations, index
from ssl_tt.data.manifest import read_manifest, split_conversations
from ssl_tt.data.windows import Windows


class SilentWindows(Windows):
    """Windows of conversations that have no audio yet."""

    def _read(self, conversation: Conversation, start: int) -> np.ndarray:
        return np.zeros((conversation.channels, self.window_samples), dtype=np.float32)


def started(manifest: Path, cache: Path, indexed: bool, item: int) -> dict[str, float]:
    before, began = memory_mb("VmRSS"), time.perf_counter()
    conversations: Sequence[Conversation]
    if indexed:
        found = index(manifest, Cache(cache))
        conversations = Conversations([(found, found.split(0.1, 0.1, 0)["train"])])
    else:
        conversations = split_conversations(read_manifest(manifest), 0.1, 0.1, 0)["train"]
    windows = SilentWindows(conversations, 64_000, 16_000, 100.0, seed=0)
    assert windows[item].item == item
    return {"seconds": time.perf_counter() - began, "megabytes": memory_mb("VmHWM") - before}


def memory_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1e3


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    json.dump(started(Path(given[0]), Path(given[1]), given[2], given[3]), sys.stdout)
