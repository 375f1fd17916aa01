"""Every corpus with two small conversations, written as its documentation says the real one is."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8000
SECONDS = 8.0

Bounds = tuple[tuple[float, float], ...]

SPOKEN: tuple[Bounds, Bounds] = (((0.5, 1.75), (4.0, 5.5)), ((2.0, 3.5), (6.0, 7.25)))
"""When the first and the second speaker of every conversation speak, seconds."""

Damage = Callable[[str], str]


@dataclass
class OnDisk:
    """A corpus as it lies on disk, and how to damage the annotation of its first conversation."""

    speakers: list[tuple[str, ...]]
    """Of the two conversations."""
    damaged: Path
    """The file to damage."""
    damages: dict[str, Damage]
    """What is wrong, and what makes it so in the file's text."""
    spoken: list[tuple[Bounds, ...]] = field(default_factory=lambda: [SPOKEN, SPOKEN])
    seconds: float = SECONDS


def half(text: str) -> str:
    return text[: len(text) // 2]


def replaced(old: str, new: str) -> Damage:
    def damage(text: str) -> str:
        assert old in text, text
        return text.replace(old, new, 1)

    return damage


def sound(*speakers: Bounds, leak: float = 0.05, seconds: float = SECONDS) -> np.ndarray:
    """Noise on each speaker's channel while they speak, a little of it on the others: [S, N]."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    voices = np.zeros((len(speakers), time.size))
    for voice, bounds in zip(voices, speakers, strict=True):
        for start, end in bounds:
            spoken = (time >= start) & (time < end)
            voice[spoken] = 0.1 * rng.standard_normal(spoken.sum())
    mixed = (1 - leak) * voices + leak * voices.sum(axis=0)
    return mixed + 1e-4 * rng.standard_normal(mixed.shape)


def record(path: Path, channels: np.ndarray) -> None:
    """Write a recording in the format that the ending says; NIST SPHERE as LDC's, in u-law."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".sph":
        soundfile.write(path, channels.T, RATE_HZ, format="NIST", subtype="ULAW")
    else:
        soundfile.write(path, channels.T, RATE_HZ)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def textgrid(tiers: dict[str, Bounds], seconds: float = SECONDS) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, bounds) in enumerate(tiers.items(), start=1):
        lines += [f"item [{number}]:", 'class = "IntervalTier"', f'name = "{name}"', "xmin = 0", f"xmax = {seconds}"]
        lines.append(f"intervals: size = {len(bounds)}")
        for place, (start, end) in enumerate(bounds, start=1):
            lines += [f"intervals [{place}]:", f"xmin = {start}", f"xmax = {end}", 'text = "Hello."']
    return "\n".join(lines) + "\n"


def rttm(recording: str, speakers: Sequence[str]) -> str:
    return "".join(
        f"SPEAKER {recording} {channel} {start:.3f} {end - start:.3f} <NA> <NA> {name} <NA> <NA>\n"
        for channel, (name, bounds) in enumerate(zip(speakers, SPOKEN, strict=True), start=1)
        for start, end in bounds
    )


RTTM_DAMAGES = {
    "cut in half": lambda text: text[:60],
    "reversed": replaced("1.250 <NA>", "-1.250 <NA>"),
    "negative": replaced("0.500", "-0.500"),
    "without channel": replaced("call1 2 6.000 1.250 <NA> <NA> bob", "call1 3 6.000 1.250 <NA> <NA> eve"),
}


def folder(root: Path) -> OnDisk:
    for name, speakers in (("call1", ("ann", "bob")), ("deep/call2", ("cid", "dot"))):
        record(root / f"{name}.wav", sound(*SPOKEN))
        # The second speaker first: what counts is who is heard where, not the order of the tiers.
        write(root / f"{name}.TextGrid", textgrid(dict(reversed(list(zip(speakers, SPOKEN, strict=True))))))
    return OnDisk(
        [("ann", "bob"), ("cid", "dot")],
        root / "call1.TextGrid",
        {
            "cut in half": half,
            "reversed": replaced("xmin = 2.0", "xmin = 3.75"),
            "negative": replaced("xmin = 2.0", "xmin = -2.0"),
            "without channel": lambda text: textgrid({"ann": SPOKEN[0], "bob": SPOKEN[1], "eve": ((7.5, 7.75),)}),
        },
    )


def folder_speakers(root: Path) -> OnDisk:
    for name, speakers in (("call1", ("ann", "bob")), ("call2", ("cid", "dot"))):
        for channel, speaker in zip(sound(*SPOKEN), speakers, strict=True):
            record(root / f"{name}_{speaker}.flac", channel[None])
        write(root / f"{name}.rttm", rttm(name, speakers))
    return OnDisk([("ann", "bob"), ("cid", "dot")], root / "call1.rttm", RTTM_DAMAGES)


def folder_mono(root: Path) -> OnDisk:
    for name, speaker in (("call1", "ann"), ("call2", "bob")):
        record(root / f"{name}.wav", sound(SPOKEN[0]))
        rows = "".join(f"{start},{end},{speaker}\n" for start, end in SPOKEN[0])
        write(root / f"{name}.csv", f"start,end,speaker\n{rows}")
    return OnDisk(
        [("ann",), ("bob",)],
        root / "call1.csv",
        {
            "cut in half": lambda text: text[:23],
            "reversed": replaced("0.5,1.75", "1.75,0.5"),
            "negative": replaced("0.5,", "-0.5,"),
            "without channel": replaced("5.5,ann", "5.5,eve"),
        },
        spoken=[SPOKEN[:1], SPOKEN[:1]],
    )


def rttm_corpus(root: Path) -> OnDisk:
    for name, speakers in (("call1", ("ann", "bob")), ("call2", ("cid", "dot"))):
        record(root / f"{name}.wav", sound(*SPOKEN))
        write(root / f"{name}.rttm", rttm(name, speakers))
    return OnDisk([("ann", "bob"), ("cid", "dot")], root / "call1.rttm", RTTM_DAMAGES)


def switchboard(root: Path) -> OnDisk:
    transcripts = root / "swb_ms98_transcriptions"
    for call in ("2001", "2005"):
        record(root / "swb1" / f"sw0{call}.sph", sound(*SPOKEN))
        for side, bounds in zip("AB", SPOKEN, strict=True):
            lines = [f"sw{call}{side}-ms98-a-0001 0.000000 {bounds[0][0]:.6f} [silence]"]
            for number, (start, end) in enumerate(bounds, start=2):
                middle = start + 0.5
                lines.append(f"sw{call}{side}-ms98-a-{number:04} {start:.6f} {middle:.6f} hi")
                lines.append(f"sw{call}{side}-ms98-a-{number:04} {middle + 0.1:.6f} {end:.6f} [laughter-there]")
            write(transcripts / call[:2] / call / f"sw{call}{side}-ms98-a-word.text", "\n".join(lines) + "\n")
    write(
        root / "tables" / "call_con_tab.csv",
        '2001, "A", 1011, "X", 2\n2001, "B", 1012, "Y", 2\n2005, "A", 1012, "Z", 1\n',
    )
    return OnDisk(
        [("switchboard-1011", "switchboard-1012"), ("switchboard-1012", "switchboard-sw2005B")],
        transcripts / "20" / "2001" / "sw2001A-ms98-a-word.text",
        {
            "cut in half": lambda text: text[: text.index("hi")],
            "reversed": replaced("0.500000 1.000000 hi", "1.000000 0.500000 hi"),
            "negative": replaced("0.500000 1.000000 hi", "-0.500000 1.000000 hi"),
            "without channel": replaced("sw2001A-ms98-a-0002", "sw2001B-ms98-a-0002"),
        },
    )


def fisher(root: Path) -> OnDisk:
    for call in ("00001", "00002"):
        record(root / "audio" / "000" / f"fe_03_{call}.sph", sound(*SPOKEN))
        lines = sorted((start, end, side) for side, bounds in zip("AB", SPOKEN, strict=True) for start, end in bounds)
        said = "".join(f"\n{start:.2f} {end:.2f} {side}: and i generally prefer\n" for start, end, side in lines)
        header = f"# fe_03_{call}.sph\n# Transcribed at the LDC\n"
        text = f"{header}{said}\n7.50 7.75 A: [noise]\n"
        write(root / "fe_03_p1_tran" / "data" / "trans" / "000" / f"fe_03_{call}.txt", text)
    write(
        root / "fe_03_p1_tran" / "doc" / "fe_03_p1_calldata.tbl",
        "CALL_ID,DATE_TIME,TOPICID,SIG_GRADE,CNV_GRADE,APIN,ASX.DL,BPIN,BSX.DL\n"
        "00001,20021206_16:08:36,ENG01,3,4,2602,f.a,1790,f.a\n00002,20021206_16:08:36,ENG01,3,4,1790,f.a,0,f.a\n",
    )
    return OnDisk(
        [("fisher-2602", "fisher-1790"), ("fisher-1790", "fisher-00002B")],
        root / "fe_03_p1_tran" / "data" / "trans" / "000" / "fe_03_00001.txt",
        {
            "cut in half": lambda text: text[: text.index(" B:")],
            "reversed": replaced("0.50 1.75", "1.75 0.50"),
            "negative": replaced("0.50 1.75", "-0.50 1.75"),
            "without channel": replaced("1.75 A:", "1.75 C:"),
        },
    )


def callhome(root: Path) -> OnDisk:
    begin = 3.0  # of the stretch that is transcribed
    for call in ("4065", "4074"):
        lines = sorted((start, end, side) for side, bounds in zip("AB", SPOKEN, strict=True) for start, end in bounds)
        said = [
            f"*{side}:\thello there . \x15{round(1000 * (start + begin))}_{round(1000 * (end + begin))}\x15"
            for start, end, side in lines
        ]
        header = ["@UTF8", "@Begin", "@Languages:\teng", "@Participants:\tA Subject, B Subject"]
        header += ["@ID:\teng|CallHome|A||female|||Subject|||", f"@Media:\t{call}, audio"]
        write(root / "eng" / f"{call}.cha", "\n".join([*header, *said, "@End"]) + "\n")
        before = np.full((2, int(begin * RATE_HZ)), 1e-4)
        # Before and after, both speak and nobody transcribed it.
        before[:, :RATE_HZ] = 0.1 * np.random.default_rng(1).standard_normal((2, RATE_HZ))
        record(root / "audio" / f"en_{call}.sph", np.concatenate([before, sound(*SPOKEN), before], axis=1))
    return OnDisk(
        [(f"callhome-eng/{call}-A", f"callhome-eng/{call}-B") for call in ("4065", "4074")],
        root / "eng" / "4065.cha",
        {
            "cut in half": half,
            "reversed": replaced("3500_4750", "4750_3500"),
            "negative": replaced("3500_4750", "-3500_4750"),
            "without channel": lambda text: text.replace("B Subject", "EVE Subject").replace("*B:", "*EVE:"),
        },
        spoken=[tuple(tuple((start - 0.5, end - 0.5) for start, end in bounds) for bounds in SPOKEN)] * 2,
        seconds=7.25 - 0.5,
    )


def nxt_words(name: str, bounds: Bounds, tag: str, start: str, end: str) -> str:
    lines = ['<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>']
    lines.append(f'<nite:root nite:id="{name}" xmlns:nite="http://nite.sourceforge.net/">')
    for number, (first, last) in enumerate(bounds):
        middle = round(first + 0.5, 3)
        one, two = f'nite:id="{name}.{2 * number}"', f'nite:id="{name}.{2 * number + 1}"'
        lines.append(f'<{tag} {one} {start}="{first}" {end}="{middle}">Hi</{tag}>')
        lines.append(f'<{tag} {two} {start}="{middle + 0.1:.3f}" {end}="{last}">Zo\xeb</{tag}>')
    return "\n".join([*lines, "</nite:root>"]) + "\n"


def maptask(root: Path) -> OnDisk:
    # In the first dialogue the giver is on the first channel, in the second on the second.
    for dialogue, roles in (("q1ec1", "gf"), ("q1ec2", "fg")):
        record(root / "signals" / f"{dialogue}.mix.wav", sound(*SPOKEN))
        for role, bounds in zip(roles, SPOKEN, strict=True):
            text = nxt_words(f"{dialogue}.{role}", bounds, "tu", "start", "end")
            text = text.replace("</nite:root>", '<sil id="s" start="7.5" end="8.0"/></nite:root>')
            units = root / "maptaskv2-1" / "Data" / "timed-units" / f"{dialogue}.{role}.timed-units.xml"
            write(units, text, "latin-1")
    return OnDisk(
        [("maptask-q1e-giver", "maptask-q1e-follower"), ("maptask-q1e-follower", "maptask-q1e-giver")],
        root / "maptaskv2-1" / "Data" / "timed-units" / "q1ec1.g.timed-units.xml",
        {
            "cut in half": half,
            "reversed": replaced('start="0.5"', 'start="1.5"'),
            "negative": replaced('start="0.5"', 'start="-0.5"'),
        },
    )


def candor(root: Path) -> OnDisk:
    for folder_name, users in (("0020a0c5", ("u1", "u2")), ("0f3c", ("u3", "u4"))):
        place = root / "no_media_part1" / folder_name
        record(place / "processed" / f"{folder_name}.mp3", sound(*SPOKEN))
        people = [{"user_id": users[1], "channel": "R"}, {"user_id": users[0], "channel": "L"}]
        write(place / "metadata.json", json.dumps({"id": folder_name, "speakers": people}))
        channels = []
        for label, bounds in zip(("ch_0", "ch_1"), SPOKEN, strict=True):
            items: list[dict[str, object]] = []
            for start, end in bounds:
                word = {"type": "pronunciation", "alternatives": [{"confidence": "1.0", "content": "hi"}]}
                items.append({"start_time": f"{start}", "end_time": f"{start + 0.5}", **word})
                items.append({"start_time": f"{start + 0.6:.2f}", "end_time": f"{end}", **word})
                items.append({"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]})
            channels.append({"channel_label": label, "items": items})
        results = {"transcripts": [], "channel_labels": {"channels": channels, "number_of_channels": 2}}
        write(place / "transcription" / "transcribe_output.json", json.dumps({"jobName": "x", "results": results}))
    return OnDisk(
        [("candor-u1", "candor-u2"), ("candor-u3", "candor-u4")],
        root / "no_media_part1" / "0020a0c5" / "transcription" / "transcribe_output.json",
        {
            "cut in half": half,
            "reversed": replaced('"start_time": "0.5"', '"start_time": "1.5"'),
            "negative": replaced('"start_time": "0.5"', '"start_time": "-0.5"'),
            "without channel": replaced("ch_1", "ch_2"),
        },
    )


MEETING: tuple[Bounds, ...] = (*SPOKEN, ((1.8, 1.95), (7.2, 7.9)))


def ami(root: Path) -> OnDisk:
    meetings = []
    for name, people in (("ES2002a", ("MEE006", "FEE005", "MEE007")), ("ES2002b", ("MEE006", "FEE005", "MEE008"))):
        # Agents and headsets are not in the same order.
        agents = dict(zip("BCA", range(3), strict=True))
        rows = []
        for agent in "ABC":
            channel = agents[agent]
            rows.append(
                f'<speaker nite:id="{name}_{channel}" channel="{channel}" nxt_agent="{agent}" '
                f'global_name="{people[channel]}" role="PM"/>'
            )
            text = nxt_words(f"{name}.{agent}", MEETING[channel][-1:], "w", "starttime", "endtime")
            others = "".join(
                f'<w nite:id="{name}.{agent}.o{start}" starttime="{start}" endtime="{end}">Yes</w>\n'
                f'<w nite:id="{name}.{agent}.p{start}" starttime="{end}" endtime="{end}" punc="true">.</w>\n'
                for start, end in MEETING[channel][:-1]
            )
            laugh = f'<vocalsound nite:id="{name}.{agent}.v" starttime="0.1" endtime="0.2" type="laugh"/>\n'
            text = text.replace("</nite:root>", f"{laugh}{others}</nite:root>")
            write(root / "manual" / "words" / f"{name}.{agent}.words.xml", text, "latin-1")
            audio = sound(*MEETING)[channel][None]
            record(root / "amicorpus" / name / "audio" / f"{name}.Headset-{channel}.wav", audio)
        meetings.append(f'<meeting nite:id="m_{name}" observation="{name}" duration="8">{"".join(rows)}</meeting>')
    write(
        root / "manual" / "corpusResources" / "meetings.xml",
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<nite:root nite:id="meet" '
        f'xmlns:nite="http://nite.sourceforge.net/">{"".join(meetings)}'
        '<meeting nite:id="m" observation="EN2003a"/></nite:root>\n',
    )
    return OnDisk(
        [("ami-MEE006", "ami-FEE005", "ami-MEE007"), ("ami-MEE006", "ami-FEE005", "ami-MEE008")],
        root / "manual" / "words" / "ES2002a.B.words.xml",
        {
            "cut in half": half,
            "reversed": replaced('starttime="0.5"', 'starttime="2.5"'),
            "negative": replaced('starttime="0.5"', 'starttime="-0.5"'),
        },
        spoken=[MEETING, MEETING],
    )


def icsi(root: Path) -> OnDisk:
    for name in ("Bdb001", "Bed002"):
        participants = []
        # The first agent wears the last microphone.
        for place, (agent, channel) in enumerate(zip("ABC", (2, 0, 1), strict=True)):
            person = f"me0{place}1"
            participants.append(f'<Participant Name="{person}" Channel="chan{channel + 1}" />')
            bounds = MEETING[channel]
            words = nxt_words(f"{name}.{agent}", bounds, "w", "starttime", "endtime")
            if channel == 2:  # nobody could align these
                words = re.sub(r'(start|end)time="[\d.]+"', r'\1time=""', words)
            write(root / "ICSI" / "Words" / f"{name}.{agent}.words.xml", words, "latin-1")
            pointer = f"{name}.{agent}.words.xml#id({name}.{agent}."
            segments = "".join(
                f'<segment nite:id="{name}.{agent}.s{n}" starttime="{start}" endtime="{end}" participant="{person}">\n'
                f'<nite:child href="{pointer}{2 * n})..id({name}.{agent}.{2 * n + 1})"/>\n</segment>\n'
                for n, (start, end) in enumerate(bounds)
            )
            text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<nite:root nite:id="s" '
            text += f'xmlns:nite="http://nite.sourceforge.net/">\n{segments}</nite:root>\n'
            write(root / "ICSI" / "Segments" / f"{name}.{agent}.segs.xml", text, "latin-1")
            record(root / "audio" / name / f"chan{channel + 1}.flac", sound(*MEETING)[channel][None])
        mrt = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE Meeting SYSTEM "meeting.dtd">\n'
        mrt += f'<Meeting Session="{name}"><Preamble><Participants DefaultMic="c1">{"".join(participants)}'
        mrt += '<Participant Name="fn002" /></Participants></Preamble><Transcript/></Meeting>\n'
        write(root / "transcripts" / f"{name}.mrt", mrt, "latin-1")
    return OnDisk(
        [("icsi-me011", "icsi-me021", "icsi-me001")] * 2,
        root / "ICSI" / "Segments" / "Bdb001.A.segs.xml",
        {
            "cut in half": half,
            "reversed": replaced('starttime="7.2"', 'starttime="7.95"'),
            "negative": replaced('starttime="7.2"', 'starttime="-7.2"'),
            "without channel": lambda text: text.replace("me001", "fn002"),
        },
        spoken=[MEETING, MEETING],
    )


def harpervalley(root: Path) -> OnDisk:
    for call in ("0001f8c8", "ff0296d0"):
        segments = []
        for role, bounds, channel in zip(("caller", "agent"), SPOKEN, sound(*SPOKEN), strict=True):
            record(root / "data" / "audio" / role / f"{call}.wav", channel[None])
            for index, (start, end) in enumerate(bounds):
                segments.append(
                    {
                        "channel_index": 1 + (role == "agent"),
                        "duration_ms": round(1000 * (end - start)),
                        "human_transcript": "hello this is harper valley",
                        "index": index,
                        "offset_ms": round(1000 * start),
                        "speaker_role": role,
                        "start_ms": round(1000 * start) - 400,
                        "word_durations_ms": [500, round(1000 * (end - start)) - 600],
                        "word_offsets_ms": [0, 600],
                    }
                )
        segments.append({**segments[0], "offset_ms": 7500, "human_transcript": "[noise]"})
        write(root / "data" / "transcript" / f"{call}.json", json.dumps(segments))
        people = {"agent": {"speaker_id": 40}, "caller": {"speaker_id": 60}}
        write(root / "data" / "metadata" / f"{call}.json", json.dumps({"sid": call, **people}))
    return OnDisk(
        [("harpervalley-60", "harpervalley-40")] * 2,
        root / "data" / "transcript" / "0001f8c8.json",
        {
            "cut in half": half,
            "reversed": replaced('"word_durations_ms": [500', '"word_durations_ms": [-500'),
            "negative": replaced('"offset_ms": 500', '"offset_ms": -500'),
            "without channel": replaced('"speaker_role": "agent"', '"speaker_role": "supervisor"'),
        },
    )


def primock57(root: Path) -> OnDisk:
    for name in ("day2_consultation01", "day4_consultation06"):
        for role, bounds, channel in zip(("doctor", "patient"), SPOKEN, sound(*SPOKEN), strict=True):
            write(root / "transcripts" / f"{name}_{role}.TextGrid", textgrid({"Speaker": bounds}))
            record(root / "audio" / f"{name}_{role}.wav", channel[None])
    return OnDisk(
        [
            ("primock57-day2", "primock57-day2_consultation01-patient"),
            ("primock57-day4b", "primock57-day4_consultation06-patient"),
        ],
        root / "transcripts" / "day2_consultation01_doctor.TextGrid",
        {
            "cut in half": half,
            "reversed": replaced("xmin = 0.5", "xmin = 1.9"),
            "negative": replaced("xmin = 0.5", "xmin = -0.5"),
            "without channel": lambda text: textgrid({"Speaker": SPOKEN[0], "eve": ((7.5, 7.75),)}),
        },
    )


ON_DISK: dict[str, Callable[[Path], OnDisk]] = {
    "folder": folder,
    "folder-speakers": folder_speakers,
    "folder-mono": folder_mono,
    "rttm": rttm_corpus,
    "switchboard": switchboard,
    "fisher": fisher,
    "callhome": callhome,
    "maptask": maptask,
    "candor": candor,
    "ami": ami,
    "icsi": icsi,
    "harpervalley": harpervalley,
    "primock57": primock57,
}
"""All of `CORPORA` but lhotse, whose manifests lhotse itself writes."""
