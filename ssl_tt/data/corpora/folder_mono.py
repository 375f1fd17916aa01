"""Any folder of mono recordings with one speaker each, with annotation beside them or none, as in `folder`.

A conversation of one channel pretrains an encoder and has no turns. A mono mix of several speakers is refused where its
annotation names them; without annotation nothing tells, and the mix counts as one speaker.
"""

from collections.abc import Iterator
from pathlib import Path

from ssl_tt.data.annotation.beside import one_file_each
from ssl_tt.data.audio import Header
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError


def read(root: Path) -> Iterator[Conversation]:
    """Recordings under the root in order of their paths; a file with several channels is a bad item."""
    return one_file_each(root, "folder-mono", _refuse_several_channels)


def _refuse_several_channels(path: Path, header: Header) -> None:
    if header.channels > 1:
        raise InputError(f"{path}: {header.channels} channels, expected 1; files with a channel a speaker are folder")
