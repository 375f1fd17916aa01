"""Any folder of recordings with one channel a speaker, with annotation of any format beside them or none.

`call.wav` is described by `call.rttm`, `.ctm`, `.TextGrid`, `.eaf` (ELAN), `.cha` (CHAT), `.vtt` (WebVTT), `.txt`
(Audacity) or `.csv` beside it; `ssl_tt.data.annotation` has a reader of each, and its `channels` says how speakers find
their channel. A recording without annotation is unlabelled, and every channel of it counts as a person of its own.
Where people come back, name them in the manifest's `speakers`, or training and test will share them.
"""

from collections.abc import Iterator
from pathlib import Path

from ssl_tt.data.annotation.beside import one_file_each
from ssl_tt.data.audio import Header
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError


def read(root: Path) -> Iterator[Conversation]:
    """Recordings under the root in order of their paths; a file with one channel is a bad item.

    So is an annotation without its recording, of all formats but Audacity's and CSV, whose endings have other uses.
    """
    return one_file_each(root, "folder", _refuse_one_channel)


def _refuse_one_channel(path: Path, header: Header) -> None:
    if header.channels == 1:
        raise InputError(
            f"{path}: 1 channel, expected 2 (one a speaker); is this a mixed-down release? Files of one speaker each "
            "are folder-speakers (in conversations) or folder-mono"
        )
