"""AMI: 171 meetings, most of four people, 100 h, 16 kHz, a headset each (Carletta et al. 2006; CC BY 4.0).

From groups.inf.ed.ac.uk/ami: the "individual headsets" of the meetings, and the manual annotations 1.6.2. Anywhere
under the root:

    ami_public_manual_1.6.2/corpusResources/meetings.xml          who is in a meeting, and on which channel
    ami_public_manual_1.6.2/words/ES2002a.A.words.xml             words by forced alignment, one file a speaker
    amicorpus/ES2002a/audio/ES2002a.Headset-0.wav                 0 is the channel in meetings.xml
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.nxt import read_words
from ssl_tt.data.annotation.xml_tree import attribute, read_xml, where
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError


def read(root: Path) -> Iterator[Conversation]:
    """Meetings in the corpus' order, a channel a headset: words at most 0.2 s apart are a segment, laughter is none.

    Meetings without any words are not annotated and are passed over. The headsets are one file each:
    `provenance["channel_files"]`, which `prepare` joins.
    """
    tables = sorted(root.rglob("corpusResources/meetings.xml"))
    if len(tables) != 1:
        raise InputError(f"{root}: {len(tables)} corpusResources/meetings.xml, expected AMI's manual annotations once")
    words: dict[str, list[Path]] = {}
    for path in sorted(tables[0].parent.parent.glob("words/*.words.xml")):
        words.setdefault(path.name.partition(".")[0], []).append(path)
    meetings = read_xml(tables[0], "AMI's meetings", "root").findall("meeting")
    chosen = [meeting for meeting in meetings if meeting.get("observation") in words]
    if not chosen:
        raise InputError(f"{tables[0]}: no meeting with words, expected files such as words/ES2002a.A.words.xml")
    return map(partial(_meeting, root, tables[0], words, Recordings(root)), chosen)


def _meeting(
    root: Path, table: Path, words: dict[str, list[Path]], audio: Recordings, meeting: Element
) -> Conversation:
    name = attribute(table, meeting, "observation")
    speakers: dict[str, tuple[int, str]] = {}
    for speaker in meeting.findall("speaker"):
        channel = attribute(table, speaker, "channel")
        if not re.fullmatch(r"\d{1,2}", channel):
            raise InputError(f"{where(table, speaker)}: channel {channel[:40]!r}, expected the number of a headset")
        speakers[attribute(table, speaker, "nxt_agent")] = (int(channel), attribute(table, speaker, "global_name"))
    files = {path.name.split(".")[1]: path for path in words[name]}
    for agent, path in files.items():
        if agent not in speakers:
            raise InputError(f"{path}: agent {agent!r} has no channel in {table.name}, expected {', '.join(speakers)}")
    for agent in speakers:
        if agent not in files:
            raise InputError(f"{words[name][0]}: no {name}.{agent}.words.xml, expected the words of every speaker")
    agents = sorted(speakers, key=lambda agent: speakers[agent])
    return assemble(
        f"ami-{name}",
        [f"ami-{speakers[agent][1]}" for agent in agents],
        [read_words(files[agent]) for agent in agents],
        files[agents[0]],
        {"corpus": "ami", "labels": "annotated"},
        root=root,
        files=[audio.find(f"{name}.Headset-{speakers[agent][0]}") for agent in agents],
    )
