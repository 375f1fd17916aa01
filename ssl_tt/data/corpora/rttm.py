"""Any folder of RTTM as diarisation tools write it: `*.rttm` files, with recordings beside them or alone.

Unlike in `folder`, an RTTM without its recording is no bad item but annotation alone. Names that a diariser gives,
SPEAKER_00, are people of this recording; others are the same person in all.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.channels import person
from ssl_tt.data.annotation.rttm import read_rttm
from ssl_tt.data.audio import probe_header
from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

_AUDIO = (".wav", ".flac", ".sph")


def read(root: Path) -> Iterator[Conversation]:
    """Recordings of all `*.rttm` files under the root, in order, with the audio that lies beside the RTTM, if any.

    Audio is `<recording>.wav`, `.flac` or `.sph` and must have each speaker on a channel of their own, as the RTTM's
    channel field says. Without audio a conversation lasts until its last segment ends.
    """
    files = sorted(root.rglob("*.rttm"))
    if not files:
        raise InputError(f"{root}: no *.rttm files")
    return map(partial(_conversation, root), files)


def _conversation(root: Path, path: Path) -> Conversation:
    recordings = read_rttm(path)
    if len(recordings) != 1:
        raise InputError(f"{path}: {len(recordings)} recordings, expected one a file")
    ((recording, utterances),) = recordings.items()
    if Path(recording).name != recording:
        raise InputError(f"{path}: recording {recording!r}, expected a name without folders")
    speakers = sorted({(each.channel, each.speaker) for each in utterances})
    audio = next((file for suffix in _AUDIO if (file := path.with_name(recording + suffix)).exists()), None)
    if audio is not None:
        header = probe_header(audio)
        channels = [channel for channel, _ in speakers]
        if channels != list(range(1, header.channels + 1)):
            raise InputError(
                f"{path}: speakers on channels {', '.join(map(str, channels))}, expected one on each of the "
                f"{header.channels} of {audio.name}: this package needs a channel a speaker"
            )
    return assemble(
        recording,
        [person(recording, speaker) for _, speaker in speakers],
        [[each for each in utterances if each.speaker == speaker] for _, speaker in speakers],
        path,
        {"corpus": "rttm", "labels": "annotated", "file": path.relative_to(root).as_posix()},
        root=root,
        files=[audio],
    )
