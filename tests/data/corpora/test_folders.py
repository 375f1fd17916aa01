"""Any folder: annotation of every format finds its recording, every speaker the own channel, and nothing is guessed."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.audio import read
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.manifest import check_manifest
from ssl_tt.data.prepare import prepare
from ssl_tt.errors import InputError
from tests.data.corpora.on_disk import RATE_HZ, SPOKEN, record, rttm, sound, textgrid, write

EAF = """<ANNOTATION_DOCUMENT><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="2" TIME_VALUE="1750"/>
<TIME_SLOT TIME_SLOT_ID="3" TIME_VALUE="4000"/><TIME_SLOT TIME_SLOT_ID="4" TIME_VALUE="5500"/>
<TIME_SLOT TIME_SLOT_ID="5" TIME_VALUE="2000"/><TIME_SLOT TIME_SLOT_ID="6" TIME_VALUE="3500"/>
<TIME_SLOT TIME_SLOT_ID="7" TIME_VALUE="6000"/><TIME_SLOT TIME_SLOT_ID="8" TIME_VALUE="7250"/></TIME_ORDER>
<TIER TIER_ID="bob"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="5" TIME_SLOT_REF2="6"/></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="7" TIME_SLOT_REF2="8"/></ANNOTATION></TIER>
<TIER TIER_ID="ann"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="1" TIME_SLOT_REF2="2"/></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="3" TIME_SLOT_REF2="4"/></ANNOTATION></TIER></ANNOTATION_DOCUMENT>
"""
LINES = sorted((*each, name) for name, bounds in zip(("ann", "bob"), SPOKEN, strict=True) for each in bounds)
CHAT = "@UTF8\n@Begin\n@Participants:\tbob Adult, ann Adult\n"
CHAT += "".join(f"*{name}:\thello . \x15{round(1000 * a)}_{round(1000 * b)}\x15\n" for a, b, name in LINES) + "@End\n"
VTT = "WEBVTT\n\n" + "".join(f"00:0{a:.3f} --> 00:0{b:.3f}\n<v {name}>hello\n\n" for a, b, name in LINES)
LABELS = "".join(f"{a}\t{b}\t{name}: hello\n" for a, b, name in LINES)
CSV = "start,end,speaker\n" + "".join(f"{a},{b},{name}\n" for a, b, name in LINES)
CTM = "".join(f"call {1 + (name == 'bob')} {a} {b - a} hello\n" for a, b, name in LINES)

CALLS = {
    ".rttm": rttm("call", ("ann", "bob")),
    ".ctm": CTM,
    ".TextGrid": textgrid({"bob": SPOKEN[1], "ann": SPOKEN[0]}),
    ".eaf": EAF,
    ".cha": CHAT,
    ".vtt": VTT,
    ".txt": LABELS,
    ".csv": CSV,
}


@pytest.mark.parametrize("suffix", CALLS)
def test_every_format_labels_the_channels(tmp_path: Path, suffix: str) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN))
    write(tmp_path / f"call{suffix}", CALLS[suffix])
    (conversation,) = read_corpus("folder", tmp_path)
    assert conversation.segments is not None
    for segments, bounds in zip(conversation.segments, SPOKEN, strict=True):
        np.testing.assert_allclose(segments, bounds)
    assert conversation.speakers == (("call-1", "call-2") if suffix == ".ctm" else ("ann", "bob"))
    assert conversation.provenance["labels"] == "annotated"
    told_by = "annotation" if suffix in (".rttm", ".ctm") else "audio"
    assert conversation.provenance["channels_told_by"] == told_by


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (("A", "B"), ("call-A", "call-B")),
        (("left", "Right"), ("call-left", "call-Right")),
        (("1", "2"), ("call-1", "call-2")),
        (("channel 1", "ch2"), ("call-channel 1", "call-ch2")),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_names_of_channels_count_more_than_what_is_heard(
    tmp_path: Path, names: tuple[str, str], speakers: tuple[str, str], swapped: bool
) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN)[:: -1 if swapped else 1])
    write(tmp_path / "call.TextGrid", textgrid({names[1]: SPOKEN[1], names[0]: SPOKEN[0]}))
    (conversation,) = read_corpus("folder", tmp_path)
    assert conversation.speakers == speakers
    assert conversation.segments == SPOKEN
    prepared = prepare("folder", tmp_path, tmp_path / "out")
    said = [warning for warning in prepared.warnings if "are the channels swapped?" in warning]
    assert len(said) == swapped


def test_names_that_a_diariser_gives_are_other_people_in_every_conversation(tmp_path: Path) -> None:
    for name in ("call1", "call2"):
        record(tmp_path / f"{name}.wav", sound(*SPOKEN))
        write(tmp_path / f"{name}.csv", CSV.replace("ann", "SPEAKER_00").replace("bob", "SPEAKER_01"))
    first, second = read_corpus("folder", tmp_path)
    assert first.speakers == ("call1-SPEAKER_00", "call1-SPEAKER_01")
    assert not set(first.speakers) & set(second.speakers)


def test_a_channel_where_nobody_speaks_is_somebody_without_segments(tmp_path: Path) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN))
    write(tmp_path / "call.ctm", "".join(line for line in CTM.splitlines(keepends=True) if line.startswith("call 2")))
    (conversation,) = read_corpus("folder", tmp_path)
    assert conversation.speakers == ("call-1", "call-2")
    assert conversation.segments == ((), SPOKEN[1])


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".csv", CSV + "7.5,7.75,eve\n", "speakers 'ann', 'bob', 'eve', expected at most the 2 that have a channel"),
        (".csv", CSV + "7.5,7.75,\n", "an utterance without speaker and channel, expected one of the two"),
        (
            ".rttm",
            CALLS[".rttm"].replace("call 2", "call 3"),
            "speaker 'bob' is on channel 3, expected one of the 2",
        ),
        (".rttm", CALLS[".rttm"].replace("call 2", "call 1"), "speakers 'ann', 'bob' on channel 1, expected one"),
        (
            ".csv",
            "start,end,speaker,channel\n1,2,ann,1\n3,4,bob,\n",
            "some utterances have a channel and some have",
        ),
        (".csv", "start,end,speaker\n", "nobody speaks, expected utterances: was it cut short?"),
        (".csv", "start,end,speaker\n0.5,1,ann\n2,2.5,bob\n", "(nobody is heard alone): name them A and B"),
        (".csv", CSV.replace("7.25", "9"), "segment 6.000 to 9.000 s of 'bob' ends after the 8.000 s"),
    ],
)
def test_speakers_without_a_channel_of_their_own_are_refused(
    tmp_path: Path, suffix: str, text: str, message: str
) -> None:
    record(tmp_path / "call.wav", sound(*SPOKEN))
    path = write(tmp_path / f"call{suffix}", text)
    with pytest.raises(InputError) as caught:
        list(read_corpus("folder", tmp_path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_two_annotations_and_an_annotation_alone_are_bad_items(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", sound(*SPOKEN))
    record(tmp_path / "b.wav", sound(*SPOKEN))
    for name in ("a.csv", "a.vtt", "lost.rttm", "notes.csv", "notes.txt"):
        write(tmp_path / name, "Dear diary")
    prepared = prepare("folder", tmp_path, tmp_path / "out")
    assert prepared.n_conversations == 1
    assert [problem.removeprefix(f"{tmp_path}") for problem in prepared.problems] == [
        ": a.csv and a.vtt for one recording, expected one annotation: take the others away",
        "/lost.rttm: no recording of this name beside it: get it, or take the annotation away",
    ]


def write_speakers(root: Path, *files: str) -> None:
    for file, channel in zip(files, sound(*SPOKEN), strict=True):
        record(root / file, channel[None])


def joined(root: Path) -> Conversation:
    prepared = prepare("folder-speakers", root, root / "out", detector=None)
    assert (prepared.problems, prepared.warnings) == ([], [])
    (conversation,) = check_manifest(prepared.manifest).good
    return conversation


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("call-7_ann.wav", "call-7_bob.wav"), "call-7"),
        (("call-ann.wav", "call-bob.wav"), "call"),
        (("call/ann.wav", "call/bob.wav"), "call"),
        (("deep/call.ann.wav", "deep/call.bob.wav"), "deep/call"),
    ],
)
def test_a_file_a_speaker_becomes_a_channel_a_speaker(tmp_path: Path, files: tuple[str, str], name: str) -> None:
    write_speakers(tmp_path, *files)
    conversation = joined(tmp_path)
    assert (conversation.id, conversation.speakers, conversation.segments) == (name, ("ann", "bob"), None)
    assert conversation.audio is not None
    np.testing.assert_array_equal(read(conversation.audio), np.concatenate([read(tmp_path / file) for file in files]))


@pytest.mark.parametrize("beside", ["a file a speaker", "named speakers", "other names", "channels"])
def test_annotation_of_files_of_speakers(tmp_path: Path, beside: str) -> None:
    write_speakers(tmp_path, "call_ann.wav", "call_bob.wav")
    if beside == "a file a speaker":
        for name, bounds in zip(("ann", "bob"), SPOKEN, strict=True):
            write(tmp_path / f"call_{name}.txt", "".join(f"{start}\t{end}\thello\n" for start, end in bounds))
    elif beside == "named speakers":
        write(tmp_path / "call.TextGrid", textgrid({"bob": SPOKEN[1], "ann": SPOKEN[0]}))
    elif beside == "other names":
        write(tmp_path / "call.TextGrid", textgrid({"doctor": SPOKEN[1], "patient": SPOKEN[0]}))
    else:
        write(tmp_path / "call.ctm", CTM)
    conversation = joined(tmp_path)
    assert conversation.speakers == ("ann", "bob")
    assert conversation.segments is not None
    for segments, bounds in zip(conversation.segments, SPOKEN, strict=True):
        np.testing.assert_allclose(segments, bounds)


def test_files_of_speakers_that_are_incomplete_are_bad_items(tmp_path: Path) -> None:
    write_speakers(tmp_path, "a_ann.wav", "a_bob.wav")
    write_speakers(tmp_path, "b_ann.wav", "b_bob.wav")
    write_speakers(tmp_path, "c_ann.wav", "d_ann.wav")
    write_speakers(tmp_path, "e_ann.wav", "e_bob.wav")
    write(tmp_path / "b_ann.csv", "start,end\n1,2\n")
    write(tmp_path / "f_ann.rttm", "")
    write(tmp_path / "e.csv", CSV)
    write(tmp_path / "e_bob.csv", "start,end\n1,2\n")
    prepared = prepare("folder-speakers", tmp_path, tmp_path / "out")
    assert prepared.n_conversations == 1
    messages = ["b_bob.wav: no annotation beside it, expected one as b_ann.csv", "c_ann.wav: the only file of its"]
    messages += ["d_ann.wav: the only file", "e.csv: e_bob.csv is there too", "f_ann.rttm: no recording of this name"]
    assert len(prepared.problems) == len(messages)
    assert all(message in problem for message, problem in zip(messages, prepared.problems, strict=True))


def test_mono_files_are_conversations_of_one(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", sound(SPOKEN[0]))
    record(tmp_path / "b.wav", sound(SPOKEN[0]))
    record(tmp_path / "c.wav", sound(*SPOKEN))
    record(tmp_path / "d.wav", sound(SPOKEN[0]))
    write(tmp_path / "a.vtt", VTT.replace("bob", "ann"))
    write(tmp_path / "d.vtt", VTT)
    prepared = prepare("folder-mono", tmp_path, tmp_path / "out")
    first, second = check_manifest(prepared.manifest).good
    assert (first.speakers, second.speakers) == (("ann",), ("b-1",))
    assert first.segments == (tuple((a, b) for a, b, _ in LINES),)
    assert second.provenance["labels"] == "detected"
    assert second.segments is not None
    np.testing.assert_allclose(second.segments[0], SPOKEN[0], atol=0.02)
    assert len(prepared.problems) == 2
    assert "c.wav: 2 channels, expected 1; files with a channel a speaker are folder" in prepared.problems[0]
    assert "d.vtt: speakers 'ann', 'bob' on channel 1, expected one" in prepared.problems[1]


def test_a_folder_may_be_named_relative_to_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_speakers(tmp_path / "calls", "ann.wav", "bob.wav")
    monkeypatch.chdir(tmp_path / "calls")
    prepared = prepare("folder-speakers", Path(), Path("../out"))
    (conversation,) = check_manifest(prepared.manifest).good
    assert conversation.id == "calls"
    assert conversation.duration_seconds * RATE_HZ == sound(*SPOKEN).shape[1]


def test_what_does_not_fit_in_a_wav_file_is_a_bad_item(tmp_path: Path) -> None:
    write_speakers(tmp_path, "short_ann.wav", "short_bob.wav")
    for speaker in ("ann", "bob"):
        # 2 ** 30 samples of 8 bits, which take no place on the disk
        header = (
            b"RIFF" + struct.pack("<I", 36 + 2**30) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
        )
        (tmp_path / f"long_{speaker}.wav").write_bytes(header + b"data" + struct.pack("<I", 2**30))
        os.truncate(tmp_path / f"long_{speaker}.wav", 44 + 2**30)
    prepared = prepare("folder-speakers", tmp_path, tmp_path / "out")
    assert prepared.n_conversations == 1
    (problem,) = prepared.problems
    assert "long_ann.wav: 37.3 h of 2 channels do not fit in a WAV" in problem
