"""Every format of annotation gives the same utterances, and what is damaged is refused with its file and line."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_tt.data.annotation import FORMATS, annotations, read_annotation
from ssl_tt.data.annotation.chat import read_chat
from ssl_tt.data.annotation.isip import read_isip
from ssl_tt.data.annotation.ldc import read_ldc
from ssl_tt.data.annotation.nxt import read_segments, read_words
from ssl_tt.data.annotation.text import MAX_BYTES
from ssl_tt.data.annotation.utterance import Utterance, is_speech
from ssl_tt.errors import InputError

TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 4
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "ann"
        xmin = 0
        xmax = 4
        intervals: size = 2
        intervals [1]:
            xmin = 0.25
            xmax = 1.25
            text = "hello there"
        intervals [2]:
            xmin = 1.25
            xmax = 4
            text = " "
    item [2]:
        class = "IntervalTier"
        name = "bob"
        xmin = 0
        xmax = 4
        intervals: size = 1
        intervals [1]:
            xmin = 1.5
            xmax = 2.0
            text = "hi"
"""
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="250"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1250"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1500"/>
        <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2000"/>
        <TIME_SLOT TIME_SLOT_ID="ts5"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="utterance" PARTICIPANT="ann" TIER_ID="A-utterances">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>hello there</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="word" PARENT_REF="A-utterances" PARTICIPANT="ann" TIER_ID="A-words">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts5">
                <ANNOTATION_VALUE>hello</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="utterance" TIER_ID="bob">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
                <ANNOTATION_VALUE/>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
</ANNOTATION_DOCUMENT>
"""
CHAT = (
    "@UTF8\n@Begin\n@Languages:\teng\n@Participants:\tann Adult, bob Adult\n@ID:\teng|test|ann|||||Adult|||\n"
    "@Media:\tcall, audio\n"
    "*ann:\t<hello there>\n\t[>] . \x15250_1250\x15\n%com:\ta tier that depends\n"
    '*bob:\t&=laughs . \x151300_1400\x15\n*bob:\t0 .\n*bob:\thi . \x15%snd:"call"_1500_2000\x15\n@End\n'
)
VTT = """WEBVTT - a call

NOTE made by hand

1
00:00.250 --> 00:01.250 align:start
<v ann>hello there

00:00:01.500 --> 00:00:02.000
<v.loud bob>hi</v>

00:03.000 --> 00:04.000
<v bob>[laughter]
"""

SAMPLES = {
    ".rttm": "SPEAKER call 1 0.25 1.0 <NA> <NA> ann <NA> <NA>\nSPEAKER call 2 1.5 0.5 <NA> <NA> bob <NA> <NA>\n",
    ".ctm": ";; words\ncall A 0.25 0.35 hello 0.98\ncall A 0.80 0.45 there\ncall A 1.25 0.00 .\n"
    "call 2 * * <ALT_BEGIN>\ncall 2 1.5 0.5 hi\ncall 2 * * <ALT>\ncall 2 1.5 0.9 high\ncall 2 * * <ALT_END>\n",
    ".TextGrid": TEXTGRID,
    ".eaf": ELAN,
    ".cha": CHAT,
    ".vtt": VTT,
    ".txt": "0.250000\t1.250000\tann: hello there\n\\\t200.0\t3000.0\n1.500000\t2.000000\tbob:\n3.0\t3.0\ta point\n",
    ".csv": 'speaker, start,end,text\nann,0.25,1.25,"hello, there"\n\nbob,1.5,2.0,hi\n',
}


def write(folder: Path, suffix: str, text: str | bytes) -> Path:
    path = folder / f"call{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_there_is_a_sample_of_every_format() -> None:
    assert {suffix.lower() for suffix in SAMPLES} == FORMATS.keys()


@pytest.mark.parametrize("suffix", SAMPLES)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_format_says_the_same(tmp_path: Path, suffix: str, newline: str) -> None:
    path = write(tmp_path, suffix, SAMPLES[suffix].replace("\n", newline))
    assert annotations(tmp_path) == {tmp_path / "call": [path]}
    found = sorted(read_annotation(path, "call"))
    assert [each.segment for each in found] == [(0.25, 1.25), (1.5, 2.0)]
    by_channel = suffix in (".rttm", ".ctm")
    assert [each.channel for each in found] == ([1, 2] if by_channel else [None, None])
    assert [each.speaker for each in found] == (["", ""] if suffix == ".ctm" else ["ann", "bob"])


def test_a_file_about_other_recordings_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ".rttm", SAMPLES[".rttm"])
    with pytest.raises(InputError, match=r"call.rttm: about 'call', expected 'talk'"):
        read_annotation(path, "talk")


@pytest.mark.parametrize("suffix", SAMPLES)
def test_other_encodings_are_refused_with_the_line(tmp_path: Path, suffix: str) -> None:
    content = SAMPLES[suffix].encode()
    middle = content.index(b"\n", len(content) // 2)
    path = write(tmp_path, suffix, content[:middle] + b"\xff\x80" + content[middle:])
    with pytest.raises(InputError, match=r"^[^\n]*call\.\w+ line \d+: [^\n]*$"):
        read_annotation(path, "call")


@pytest.mark.parametrize("suffix", SAMPLES)
def test_a_missing_and_a_monstrous_file_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call{suffix}"
    with pytest.raises(InputError, match="No such file"):
        read_annotation(path, "call")
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"bytes, expected .* of at most"):
        read_annotation(path, "call")


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".ctm", lambda text: text[: text.index("there")], "line 3: 'call A 0.80 0.45', expected recording, channel"),
        (".ctm", lambda text: text.replace("0.25 0.35", "0.25 -0.35"), "line 2: time -0.35, expected one between 0"),
        (".ctm", lambda text: text.replace("call A 0.25", "call C 0.25"), "line 2: channel 'C', expected A, B or"),
        (".TextGrid", lambda text: text[: len(text) // 2], "line 18: a text whose quotes are never closed"),
        (".TextGrid", lambda text: text.replace("xmin = 0.25", "xmin = 1.5"), "line 18: interval from 1.5 to 1.25 s"),
        (".TextGrid", lambda text: text.replace("size = 2", f"size = {'9' * 5000}", 1), "expected 'size = NUMBER'"),
        (".TextGrid", lambda text: text.replace("xmin = 0.25", "xmin = -0.25"), "line 16: 'xmin = -0.25', expected"),
        (".eaf", lambda text: text[: len(text) // 2], "expected an ELAN file; was it cut short?"),
        (".eaf", lambda text: text.replace('"250"', '"1300"'), "line 15: from 1.3 to 1.25 s, expected a start of 0"),
        (".eaf", lambda text: text.replace('"250"', '"-250"'), "line 7: time -250, expected one between 0"),
        (".eaf", lambda text: text.replace('REF2="ts4"', 'REF2="ts5"'), "line 29: time slot 'ts5' has no time"),
        (".eaf", lambda text: text.replace("ANNOTATION_DOCUMENT", "TABLE"), "<TABLE>, expected <ANNOTATION_DOCUMENT>"),
        (".cha", lambda text: text[: len(text) // 2], "the file ends here, expected CHAT from @Begin to @End"),
        (".cha", lambda text: text.replace("250_1250", "1250_250"), "line 7: from 1.25 to 0.25 s, expected a start"),
        (".cha", lambda text: text.replace(" \x15250_1250\x15", ""), "line 7: an utterance without its time"),
        (".cha", lambda text: text.replace("*ann:", "*eve:"), "line 7: '*eve' is none of @Participants, expected ann"),
        (".vtt", lambda text: text[8:], "line 1: ' a call', expected WEBVTT"),
        (".vtt", lambda text: text.replace("--> 00:01.250", "-->"), "line 6: '00:00.250 --> align:start', expected"),
        (".vtt", lambda text: text.replace("00:00.250", "00:02.250"), "line 6: from 2.25 to 1.25 s, expected a start"),
        (".vtt", lambda text: text.replace("there", "<v bob>yes"), "line 6: the voices ann, bob in one cue"),
        (".txt", lambda text: text[: text.index("ann")].replace("\t", " "), "expected START<tab>END<tab>LABEL"),
        (".txt", lambda text: text.replace("1.500000\t", "2.5\t"), "line 3: from 2.5 to 2.0 s, expected a start"),
        (".txt", lambda text: text.replace("0.250000\t", "-0.25\t"), "line 1: time -0.25, expected one between 0"),
        (".csv", lambda text: text[: text.rindex(",2.0")], "line 4: 2 fields, expected the 4 of line 1"),
        (".csv", lambda text: text[: text.index("there")], "line 2: unexpected end of data, expected CSV"),
        (".csv", lambda text: text.replace("start", "begin"), "line 1: no column start, expected start, end"),
        (".csv", lambda text: text.replace("1.5,2.0", "2.5,2.0"), "line 4: from 2.5 to 2.0 s, expected a start"),
        (".csv", lambda text: text.replace("text", "channel"), "line 2: channel 'hello, there', expected A, B or"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, suffix: str, damage: Callable[[str], str], message: str) -> None:
    path = write(tmp_path, suffix, damage(SAMPLES[suffix]))
    with pytest.raises(InputError) as caught:
        read_annotation(path, "call")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE root [
  {declaration}
]>
<root><w starttime="1" endtime="2">&word;</w></root>
"""


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY word "hi">',
        '<!ENTITY a "0123456789"><!ENTITY word "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY word SYSTEM "file:///etc/passwd">',
        '<!ENTITY % more SYSTEM "http://localhost:9/x.dtd"> %more;',
    ],
)
def test_entities_are_refused_before_they_expand(tmp_path: Path, declaration: str) -> None:
    path = write(tmp_path, ".xml", ENTITIES.format(declaration=declaration))
    with pytest.raises(InputError, match="line 3: declares an entity, expected NXT words without any"):
        read_words(path)


def test_xml_cannot_nest_without_end_nor_fetch_its_document_type(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: more than 100 elements in each other"):
        read_words(write(tmp_path, ".xml", "<a>" * 100_000))
    plain = '<!DOCTYPE root SYSTEM "http://localhost:9/x.dtd"><root><w starttime="1" endtime="2">hi</w></root>'
    assert read_words(write(tmp_path, ".xml", plain)) == [Utterance(1.0, 2.0)]
    with pytest.raises(InputError, match="line 1: undefined entity"):
        read_words(write(tmp_path, ".xml", "<root>&word;</root>"))


WORDS = """<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>
<nite:root nite:id="Bdb001.A.words" xmlns:nite="http://nite.sourceforge.net/">
   <w nite:id="w.1" starttime="1.0" endtime="1.4">Hi</w>
   <w nite:id="w.2" starttime="1.4" endtime="1.4" c="CM">,</w>
   <w nite:id="w.3" starttime="1.6" endtime="2.0">Ann\xe9</w>
   <vocalsound nite:id="w.4" starttime="2.5" endtime="3.0" description="laugh"/>
   <w nite:id="w.5" starttime="3.5" endtime="">so</w>
   <w nite:id="w.6" starttime="" endtime="4.5">well</w>
</nite:root>
"""
SEGMENTS = """<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>
<nite:root nite:id="Bdb001.A.segs" xmlns:nite="http://nite.sourceforge.net/">
   <segment nite:id="s.0" type="supersegment" starttime="0.9" endtime="3.1">
      <segment nite:id="s.1" starttime="0.9" endtime="2.2" participant="me011">
         <nite:child href="Bdb001.A.words.xml#id(w.1)..id(w.3)"/>
      </segment>
      <segment nite:id="s.2" starttime="2.4" endtime="3.1" participant="me011">
         <nite:child href="Bdb001.A.words.xml#id(w.4)"/>
      </segment>
   </segment>
   <segment nite:id="s.3" starttime="3.4" endtime="4.6" participant="me011">
      <nite:child href="Bdb001.A.words.xml#id(w.5)..id(w.6)"/>
   </segment>
</nite:root>
"""


def test_words_are_joined_over_short_gaps_and_what_is_not_aligned_lasts_as_its_segment(tmp_path: Path) -> None:
    words = tmp_path / "words.xml"
    words.write_text(WORDS, encoding="latin-1")
    assert read_words(words) == [Utterance(1.0, 2.0)]
    segments = write(tmp_path, ".segs.xml", SEGMENTS)
    assert sorted(read_segments(segments, words)) == [Utterance(1.0, 2.0, "me011"), Utterance(3.4, 4.6, "me011")]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "was it cut short?"),
        (lambda text: text.replace("id(w.5)", "id(w.9)"), "line 12: 'Bdb001.A.words.xml#id(w.9)..id(w.6)', expected"),
        (lambda text: text.replace('"3.4"', '"5.4"'), "line 11: from 5.4 to 4.6 s, expected a start of 0 or more"),
        (lambda text: text.replace(' participant="me011"', "", 1), "line 4: <segment> without participant"),
    ],
)
def test_segments_that_are_damaged_are_named(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    words = tmp_path / "words.xml"
    words.write_text(WORDS, encoding="latin-1")
    with pytest.raises(InputError) as caught:
        read_segments(write(tmp_path, ".segs.xml", damage(SEGMENTS)), words)
    assert message in str(caught.value)


def test_media_and_participants_of_chat_are_read(tmp_path: Path) -> None:
    chat = read_chat(write(tmp_path, ".cha", CHAT))
    assert (chat.participants, chat.media) == (["ann", "bob"], "call")


def test_laughter_alone_is_no_speech_and_a_word_said_laughing_is(tmp_path: Path) -> None:
    path = tmp_path / "sw2001A-ms98-a-word.text"
    words = ["[silence]", "[laughter]", "[laughter-yes]", "[vocalized-noise]", "[noise]", "<b_aside>", "um"]
    path.write_text(
        "".join(f"sw2001A-ms98-a-0001 {start}.0 {start + 1}.0 {word}\n" for start, word in enumerate(words))
    )
    assert read_isip(path) == [Utterance(2.0, 3.0), Utterance(6.0, 7.0)]
    call = tmp_path / "fe_03_00001.txt"
    call.write_text("# fe_03_00001.sph\n\n1.0 2.0 A: [noise]\n2.0 3.0 B: (( ))\n3.0 4.0 A: [laughter] yes\n")
    assert read_ldc(call) == [Utterance(2.0, 3.0, "B", 2), Utterance(3.0, 4.0, "A", 1)]


@pytest.mark.parametrize(
    ("text", "speech"),
    [
        *(("yes", True), ("5", True), ("(( ))", True), ("[Unintelligible]", True), ("<unk>", True)),
        *(("[noise]", False), ("<sigh> {cough} &=laughs .", False), ("", False), ("...", False)),
    ],
)
def test_a_remark_is_no_word(text: str, speech: bool) -> None:
    assert is_speech(text) is speech


FILES: list[tuple[str, str, Callable[[Path], object]]] = [
    *((f"call{suffix}", text, lambda path: read_annotation(path, "call")) for suffix, text in SAMPLES.items()),
    ("words.xml", WORDS, read_words),
    ("Bdb001.A.segs.xml", SEGMENTS, lambda path: read_segments(path, path.with_name("words.xml"))),
    ("sw2001A-ms98-a-word.text", "sw2001A-ms98-a-0002 0.97 1.22 hi\nsw2001A-ms98-a-0002 1.3 2.22 there\n", read_isip),
    ("fe_03_00001.txt", "# fe_03_00001.sph\n\n1.0 2.0 A: [noise]\n2.0 3.0 B: (( ))\n", read_ldc),
]


@pytest.mark.parametrize(("name", "text", "reader"), FILES, ids=[name for name, *_ in FILES])
def test_a_file_with_random_damage_is_read_or_refused_in_one_line(
    tmp_path: Path, name: str, text: str, reader: Callable[[Path], object]
) -> None:
    (tmp_path / "words.xml").write_text(WORDS, encoding="latin-1")
    content = text.encode("latin-1")
    spare = [
        b"",
        b"-",
        b"9" * 5000,
        b"1e999",
        b"nan",
        b"\0",
        b"\xff",
        b"\n",
        b"\t",
        b"\x15",
        b'"',
        b"<",
        b"&",
        b"[" * 300,
    ]
    rng = random.Random(name)
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(damaged) + 1)
            damaged[start : start + rng.choice([0, 1, 5, 100])] = rng.choice(spare)
        (tmp_path / name).write_bytes(damaged)
        told = str(tmp_path)
        try:
            reader(tmp_path / name)
        except InputError as error:
            told = str(error)
        assert told.startswith(str(tmp_path))
        assert "\n" not in told
