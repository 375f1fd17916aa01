"""ICSI Meeting Corpus: 75 meetings of 3 to 10 people, 72 h, 16 kHz, a microphone each (Janin et al. 2003).

From groups.inf.ed.ac.uk/ami/icsi, CC BY 4.0: audio, NXT annotation (`ICSI_core_NXT.zip`) and the original transcripts
(`ICSI_original_transcripts.zip`), which alone say who wears which microphone; also LDC2004S02 and LDC2004T04. Anywhere
under the root:

    ICSI/Words/Bdb001.A.words.xml, ICSI/Segments/Bdb001.A.segs.xml    one file a speaker
    transcripts/Bdb001.mrt                                            <Participant Name="me011" Channel="chan1"/>
    Bdb001/chan1.wav                                                  a file a microphone (or .flac, .sph)

The audio is NIST SPHERE compressed by shorten and must be converted (LDC's sph2pipe -f wav). A meeting in which
somebody speaks who wears no microphone of their own is a bad item: this package needs a channel a speaker.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ssl_tt.data.annotation.assemble import assemble
from ssl_tt.data.annotation.nxt import read_segments
from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.annotation.xml_tree import attribute, read_xml
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.recordings import Recordings
from ssl_tt.errors import InputError


def read(root: Path) -> Iterator[Conversation]:
    """Meetings by name, a channel a participant who speaks, in the order of the channels' names.

    A segment whose words are aligned is those words, joined where at most 0.2 s apart; other segments with words count
    from start to end. Each microphone is a file: `provenance["channel_files"]`, which `prepare` joins.
    """
    segments: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.segs.xml")):
        segments.setdefault(path.name.partition(".")[0], []).append(path)
    if not segments:
        raise InputError(f"{root}: no Segments/Bdb001.A.segs.xml and so on, expected ICSI's annotation in NXT")
    transcripts = {path.stem: path for path in sorted(root.rglob("*.mrt"))}
    return map(partial(_meeting, root, transcripts, Recordings(root)), segments.items())


def _meeting(root: Path, transcripts: dict[str, Path], audio: Recordings, item: tuple[str, list[Path]]) -> Conversation:
    name, paths = item
    if name not in transcripts:
        raise InputError(f"{paths[0]}: no {name}.mrt, expected the original transcript, which has the channels")
    transcript = transcripts[name]
    channels = {
        attribute(transcript, participant, "Name"): participant.attrib["Channel"]
        for participant in read_xml(transcript, "an ICSI transcript", "Meeting").iter("Participant")
        if "Channel" in participant.attrib
    }
    spoken: dict[str, list[Utterance]] = {}
    for path in paths:
        words = path.parent.parent / "Words" / path.name.replace(".segs.xml", ".words.xml")
        for each in read_segments(path, words):
            if each.speaker not in channels:
                raise InputError(
                    f"{path}: participant {each.speaker!r} has no channel in {transcript.name}, expected one of "
                    f"{', '.join(channels)}"
                )
            spoken.setdefault(each.speaker, []).append(each)
    speakers = sorted(spoken, key=lambda speaker: channels[speaker])
    return assemble(
        f"icsi-{name}",
        [f"icsi-{speaker}" for speaker in speakers],
        [spoken[speaker] for speaker in speakers],
        paths[0],
        {"corpus": "icsi", "labels": "annotated"},
        root=root,
        files=[audio.find(channels[speaker], folder=name) for speaker in speakers],
    )
