"""Any folder of recordings with one mono file a speaker, with annotation of any format beside them or none.

Files are named CONVERSATION_SPEAKER (`call1_ann.wav`, `call1_bob.wav`; also with - or .), or lie in a folder a
conversation (`call1/ann.wav`). Annotation is a file a recording (`call1_ann.TextGrid`), all of whose utterances are
this speaker's, or a file a conversation (`call1.rttm`, `call1/call1.rttm`), whose speakers are those of the files'
names or find their file as they would find a channel (`ssl_tt.data.annotation.channels`).
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation import annotations, read_annotation
from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.beside import (
    Found,
    no_recordings,
    of_recording,
    refuse_without_recording,
    without_recording,
)
from ssl_tt.data.annotation.channels import on_channels, person
from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import recordings
from ssl_tt.errors import InputError

_NAME = re.compile(r"(.+)[_.-]([^_.-]+)")


def read(root: Path) -> Iterator[Conversation]:
    """Conversations in order of their paths, with `provenance["channel_files"]`, which `prepare` joins into one file.

    Bad items are a conversation of one file, an annotation without its recording, and a conversation that has
    annotation for some of its files only.
    """
    groups: dict[Path, list[Path]] = {}
    for path in recordings(root):
        match = _NAME.fullmatch(path.stem)
        groups.setdefault(path.parent / match[1] if match else path.parent, []).append(path)
    if not groups:
        raise no_recordings(root)
    found = annotations(root)
    stems = {file.with_suffix("") for files in groups.values() for file in files}
    stems |= {stem for conversation in groups for stem in (conversation, conversation / conversation.name)}
    items: list[tuple[Path, list[Path]]] = [*groups.items(), *((path, []) for path in without_recording(found, stems))]
    return map(partial(_conversation, root, found), items)


def _conversation(root: Path, found: Found, item: tuple[Path, list[Path]]) -> Conversation:
    conversation, files = item
    if not files:
        refuse_without_recording(conversation)
    if len(files) == 1:
        raise InputError(
            f"{files[0]}: the only file of its conversation, expected one a speaker, named CONVERSATION_SPEAKER or in "
            "a folder a conversation"
        )
    name = conversation.relative_to(root).as_posix() if conversation != root else root.resolve().name
    names = [match[2] if (match := _NAME.fullmatch(file.stem)) else file.stem for file in files]
    speakers = [person(name, speaker) for speaker in names]
    shared = of_recording(found, conversation) or of_recording(found, conversation / conversation.name)
    own = {file: each for file in files if (each := of_recording(found, file.with_suffix(""))) is not None}
    provenance: dict[str, object] = {"corpus": "folder-speakers"}
    if shared is None and not own:
        return assemble(name, speakers, None, files[0], provenance, root=root, files=files)
    provenance["labels"] = "annotated"
    if shared is not None:
        if own:
            raise InputError(f"{shared}: {next(iter(own.values())).name} is there too, expected one of the two")
        utterances = read_annotation(shared, conversation.name)
        if {each.speaker for each in utterances} <= set(names):
            sides = [[each for each in utterances if each.speaker == speaker] for speaker in names]
        else:
            sides = on_channels(name, utterances, len(files), shared, files).utterances
        return assemble(name, speakers, sides, shared, provenance, root=root, files=files)
    if len(own) < len(files):
        missing = next(file for file in files if file not in own)
        raise InputError(f"{missing}: no annotation beside it, expected one as {next(iter(own.values())).name}")
    sides = [_of_one(file, annotation) for file, annotation in own.items()]
    return assemble(name, speakers, sides, next(iter(own.values())), provenance, root=root, files=files)


def _of_one(file: Path, annotation: Path) -> list[Utterance]:
    return on_channels(file.stem, read_annotation(annotation, file.stem), 1, annotation, [file]).utterances[0]
