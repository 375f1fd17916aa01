"""Manifests of lhotse (github.com/lhotse-speech/lhotse, Apache 2.0), whose recipes prepare many more corpora.

The root holds `cuts.jsonl.gz`, or recordings and supervisions, also with names before and after such as
`ami-ihm_supervisions_train.jsonl.gz`, which pair by the rest of their names; `.jsonl` does as well. Audio is read where
the manifests say, relative paths from the folder that lhotse was run in. A conversation is a recording with a channel a
speaker, in one file or in several; cuts must be whole recordings. Needs the extra ssl-tt[lhotse].
"""

from collections.abc import Iterator
from pathlib import Path

from ssl_tt.data.conversation import Conversation
from ssl_tt.data.lhotse_manifests import read_lhotse


def read(root: Path) -> Iterator[Conversation]:
    """Recordings in the order of the manifests; supervisions of a speaker that overlap are joined."""
    return read_lhotse(root)
