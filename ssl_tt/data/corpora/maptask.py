"""HCRC Map Task: 128 dialogues of two, one who tells a route and one who draws it, 15 h, 20 kHz (Anderson et al. 1991).

From groups.inf.ed.ac.uk/maptask/maptasknxt.html, CC BY-NC-SA 2.5: annotation `hcrcmaptask.nxtformatv2-1.zip` and audio
`signals/dialogues/*.mix.wav`; also LDC93S12, under LDC's user agreement, whose raw audio must be converted. Anywhere
under the root:

    maptaskv2-1/Data/timed-units/q1ec1.g.timed-units.xml   and .f.: giver and follower
    signals/dialogues/q1ec1.mix.wav                        two channels, one a speaker in spite of the name

Which channel is the giver's could not be found in the documentation and is told by the audio, dialogue by dialogue;
where it does not tell, the dialogue is a bad item. Four people, a quad, hold 8 dialogues among them and nothing here
says who is in which, so giver and follower of a quad (q1e, q1n, ...) count as one person each: no split cuts a quad.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.channels import on_channels
from ssl_tt.data.annotation.nxt import read_words
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError

_ROLES = {"g": "giver", "f": "follower"}


def read(root: Path) -> Iterator[Conversation]:
    """Dialogues by name: words at most 0.2 s apart are a segment; silences and noises of the timed units are none."""
    files = {path.name.removesuffix(".timed-units.xml"): path for path in sorted(root.rglob("*.timed-units.xml"))}
    if not files:
        raise InputError(f"{root}: no q1ec1.g.timed-units.xml and so on, expected the annotation of HCRC Map Task")
    dialogues = sorted({name.rpartition(".")[0] for name in files})
    return map(partial(_dialogue, root, files, Recordings(root)), dialogues)


def _dialogue(root: Path, files: dict[str, Path], audio: Recordings, dialogue: str) -> Conversation:
    missing = [role for role in _ROLES if f"{dialogue}.{role}" not in files]
    if missing:
        other = next(path for name, path in files.items() if name.startswith(f"{dialogue}."))
        raise InputError(f"{other}: no {dialogue}.{missing[0]}.timed-units.xml, expected those of giver and follower")
    utterances = [
        each._replace(speaker=f"maptask-{dialogue[:3]}-{role}")
        for letter, role in _ROLES.items()
        for each in read_words(files[f"{dialogue}.{letter}"], "tu", "start", "end")
    ]
    annotation = files[f"{dialogue}.g"]
    provenance = {"corpus": "maptask", "labels": "annotated"}
    recording = audio.find(f"{dialogue}.mix")
    if recording is None:
        speakers = [f"maptask-{dialogue[:3]}-{role}" for role in _ROLES.values()]
        sides = [[each for each in utterances if each.speaker == speaker] for speaker in speakers]
        return assemble(f"maptask-{dialogue}", speakers, sides, annotation, provenance, root=root)
    told = on_channels(dialogue, utterances, len(_ROLES), annotation, [recording])
    name = f"maptask-{dialogue}"
    return assemble(name, told.speakers, told.utterances, annotation, provenance, root=root, files=[recording])
