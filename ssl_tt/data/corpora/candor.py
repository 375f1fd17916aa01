"""CANDOR: 1,656 video calls of two strangers, 850 h (Reece et al. 2023, doi:10.1126/sciadv.adf3197).

On request from betterup.com/research/candor-research, under BetterUp's terms: non-commercial research, no
redistribution. The root holds a folder a conversation, at any depth:

    0020a0c5-.../metadata.json                               speakers with the channels L and R
    0020a0c5-.../transcription/transcribe_output.json        words of Amazon Transcribe; ch_0 is L, ch_1 is R
    0020a0c5-.../processed/0020a0c5-....mp3                  the call, L and R

Words are a recogniser's: a short backchannel may be missing. `metadata.json` and the JSON of the transcription are read
as other programs for this corpus read them; their documentation comes with the corpus only.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.json_text import read_json
from ssl_tt.data.annotation.utterance import Utterance, from_words, time, utterance
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_LABELS: dict[Literal["L", "R"], str] = {"L": "ch_0", "R": "ch_1"}


class _Speaker(BaseModel):
    user_id: str
    channel: Literal["L", "R"]


class _Metadata(BaseModel):
    speakers: list[_Speaker] = Field(min_length=2, max_length=2)


class _Item(BaseModel):
    type: str
    start_time: str | None = None
    end_time: str | None = None


class _Channel(BaseModel):
    channel_label: str
    items: list[_Item]


class _Labels(BaseModel):
    channels: list[_Channel]


class _Results(BaseModel):
    channel_labels: _Labels


class _Transcription(BaseModel):
    results: _Results


def read(root: Path) -> Iterator[Conversation]:
    """Conversations by their folders' names: words at most 0.2 s apart are a segment."""
    folders = sorted(path.parent for path in root.rglob("metadata.json") if (path.parent / "transcription").is_dir())
    if not folders:
        raise InputError(f"{root}: no folder with metadata.json and transcription, expected those of CANDOR")
    return map(partial(_conversation, root, Recordings(root)), folders)


def _conversation(root: Path, audio: Recordings, folder: Path) -> Conversation:
    metadata = read_json(folder / "metadata.json", _Metadata, "CANDOR's metadata")
    speakers = {speaker.channel: speaker.user_id for speaker in metadata.speakers}
    if len(speakers) < len(_LABELS):
        raise InputError(f"{folder / 'metadata.json'}: two speakers on one channel, expected one on L and one on R")
    path = folder / "transcription" / "transcribe_output.json"
    transcription = read_json(path, _Transcription, "Amazon Transcribe's words by channel")
    words: dict[str, list[Utterance]] = {}
    for channel in transcription.results.channel_labels.channels:
        if channel.channel_label not in _LABELS.values():
            raise InputError(f"{path}: words of {channel.channel_label!r}, who has no channel, expected ch_0 and ch_1")
        words[channel.channel_label] = from_words(
            word for number, item in enumerate(channel.items) for word in _words(path, channel, number, item)
        )
    return assemble(
        f"candor-{folder.name}",
        [f"candor-{speakers[channel]}" for channel in _LABELS],
        [words.get(label, []) for label in _LABELS.values()],
        path,
        {"corpus": "candor", "labels": "recognised"},
        root=root,
        files=[audio.find(folder.name, folder="processed")],
    )


def _words(path: Path, channel: _Channel, number: int, item: _Item) -> list[Utterance]:
    """The item's word, none of punctuation, which has no times, or of a word without length."""
    if item.type != "pronunciation":
        return []
    where = f"{path}: {channel.channel_label} item {number}"
    start, end = (time(bound or "none", where) for bound in (item.start_time, item.end_time))
    return [] if start == end else [utterance(where, start, end)]
