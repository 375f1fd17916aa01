"""A folder that holds a manifest, such as a simulated corpus or one that was prepared before: ROOT/manifest.jsonl."""

from collections.abc import Iterator
from pathlib import Path

from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import Line, lines


def read(root: Path) -> Iterator[Conversation]:
    """Conversations of the manifest in a folder."""
    return map(Line.parse, lines(root / "manifest.jsonl"))
