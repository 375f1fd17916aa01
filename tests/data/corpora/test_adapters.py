"""Every adapter gives each speaker the own channel and the own times, and a damaged conversation hides no other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.audio import read
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.corpora import CORPORA, read_corpus
from ssl_tt.data.manifest import check_manifest
from ssl_tt.data.prepare import prepare
from ssl_tt.errors import InputError
from tests.data.corpora.on_disk import ON_DISK, RATE_HZ, SPOKEN, OnDisk, record, sound, write

NAMES = sorted(ON_DISK)
NAMELESS = {("maptask", "without channel"), ("ami", "without channel")}
"""A file of one speaker names nobody; see the test of missing files."""


@pytest.fixture
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> OnDisk:
    return ON_DISK[request.getfixturevalue("name")](tmp_path / "corpus")


def items(name: str, root: Path) -> Iterator[Conversation | InputError]:
    """Conversations and the errors of bad items, as `prepare` meets them."""
    found = read_corpus(name, root)
    while True:
        try:
            yield next(found)
        except StopIteration:
            return
        except InputError as error:
            yield error


def test_every_corpus_is_tested() -> None:
    assert set(ON_DISK) | {"lhotse", "manifest"} == set(CORPORA)  # which have tests of their own


@pytest.mark.parametrize("name", NAMES)
def test_each_channel_is_its_speaker_and_times_are_inside(name: str, corpus: OnDisk, tmp_path: Path) -> None:
    prepared = prepare(name, tmp_path / "corpus", tmp_path / "out")
    assert prepared.problems == []
    assert prepared.warnings == []
    checked = check_manifest(prepared.manifest)
    assert checked.problems == []
    assert [conversation.speakers for conversation in checked.good] == corpus.speakers
    for conversation, spoken in zip(checked.good, corpus.spoken, strict=True):
        assert conversation.segments is not None
        assert conversation.audio is not None
        assert conversation.duration_seconds == pytest.approx(corpus.seconds, abs=1e-3)
        audio = read(conversation.audio)
        assert len(audio) == len(spoken)
        for channel, segments, bounds in zip(audio, conversation.segments, spoken, strict=True):
            np.testing.assert_allclose(segments, bounds, atol=1e-6)
            assert segments[-1].end_seconds <= conversation.duration_seconds
            inside = np.zeros(len(channel), dtype=bool)
            for start, end in segments:
                inside[round(start * RATE_HZ) : round(end * RATE_HZ)] = True
            # What a channel hears while its speaker is silent is leakage, 26 dB weaker.
            assert np.mean(channel[inside] ** 2) > 50 * np.mean(channel[~inside] ** 2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (name, wrong)
        for name in NAMES
        for wrong in ("cut in half", "reversed", "negative", "without channel", "other encoding")
        if (name, wrong) not in NAMELESS
    ],
)
def test_damaged_annotation_is_named_and_the_next_item_read(
    name: str, wrong: str, corpus: OnDisk, tmp_path: Path
) -> None:
    content = corpus.damaged.read_bytes()
    if wrong == "other encoding":
        content = content[: len(content) // 2] + b"\xff\x00\xfe" + content[len(content) // 2 :]
    else:
        content = corpus.damages[wrong](content.decode("latin-1")).encode("latin-1")
    corpus.damaged.write_bytes(content)
    first, second = items(name, tmp_path / "corpus")
    assert isinstance(first, InputError), wrong
    assert isinstance(second, Conversation)
    assert corpus.damaged.name in str(first)
    assert "\n" not in str(first)
    assert second.speakers == corpus.speakers[1]


@pytest.mark.parametrize("name", NAMES)
def test_annotation_of_another_recording_is_refused_and_rounding_is_not(
    name: str, corpus: OnDisk, tmp_path: Path
) -> None:
    """All recordings are cut a little, then much, before the end of the last utterance."""
    import soundfile

    root = tmp_path / "corpus"
    end = max(end for bounds in corpus.spoken[0] for _, end in bounds)
    offset = 3.5 if name == "callhome" else 0.0
    for before in (0.04, 0.06):
        for path in root.rglob("*"):
            if path.suffix in (".wav", ".flac", ".sph", ".mp3"):
                samples = soundfile.read(path)[0][: round((end + offset - before) * RATE_HZ)]
                form = {"format": "NIST", "subtype": "ULAW"} if path.suffix == ".sph" else {}
                soundfile.write(path, samples, RATE_HZ, **form)
        if before == 0.04:
            prepared = prepare(name, root, tmp_path / "out")
            assert prepared.problems == []
            for conversation in check_manifest(prepared.manifest).good:
                assert conversation.segments is not None
                last = max(segments[-1].end_seconds for segments in conversation.segments)
                assert last == conversation.duration_seconds
        else:
            with pytest.raises(InputError, match=r"none of the 2 items .* ends after the \d\.\d+ s of the recording"):
                prepare(name, root, tmp_path / "out")


LONELY = {
    "switchboard": (
        "20/2001/sw2001B-ms98-a-word.text",
        "no sw2001B-ms98-a-word.text, expected the words of",
    ),
    "maptask": ("q1ec1.f.timed-units.xml", "no q1ec1.f.timed-units.xml, expected those of giver and follower"),
    "ami": ("ES2002a.A.words.xml", "no ES2002a.A.words.xml, expected the words of every speaker"),
    "icsi": ("Bdb001.mrt", "no Bdb001.mrt, expected the original transcript"),
    "candor": ("0020a0c5/metadata.json", None),
    "harpervalley": ("metadata/0001f8c8.json", "0001f8c8.json: No such file"),
}


@pytest.mark.parametrize("name", LONELY)
def test_a_missing_file_is_named(name: str, corpus: OnDisk, tmp_path: Path) -> None:
    lost, message = LONELY[name]
    (path,) = (path for path in (tmp_path / "corpus").rglob("*") if path.as_posix().endswith(lost))
    path.unlink()
    *first, second = items(name, tmp_path / "corpus")
    assert isinstance(second, Conversation)
    if message is None:
        assert first == []  # without its metadata a folder is none of CANDOR's
    else:
        assert [message in str(error) for error in first] == [True]


@pytest.mark.parametrize("name", sorted({"switchboard", "fisher", "callhome", "maptask", "candor", "ami", "icsi"}))
def test_without_any_recording_it_is_annotation_alone(name: str, corpus: OnDisk, tmp_path: Path) -> None:
    recordings = [
        path for path in sorted((tmp_path / "corpus").rglob("*")) if path.suffix in (".wav", ".flac", ".sph", ".mp3")
    ]
    recordings[0].unlink()
    found = list(items(name, tmp_path / "corpus"))
    assert sum(isinstance(item, InputError) and "expected it, as other recordings" in str(item) for item in found) == 1
    for path in recordings[1:]:
        path.unlink()
    for item in items(name, tmp_path / "corpus"):
        assert isinstance(item, Conversation)
        assert item.audio is None
        assert "channel_files" not in item.provenance


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "notes.md", "Dear diary")
    with pytest.raises(InputError, match=f"{tmp_path}.*no |{tmp_path}: 0 "):
        read_corpus(name, tmp_path)


def test_a_word_of_somebody_who_is_not_in_the_meeting_is_refused(tmp_path: Path) -> None:
    corpus = ON_DISK["ami"](tmp_path)
    corpus.damaged.rename(corpus.damaged.with_name("ES2002a.E.words.xml"))
    first, second = items("ami", tmp_path)
    assert "agent 'E' has no channel in meetings.xml, expected A, B, C" in str(first)
    assert isinstance(second, Conversation)


def test_a_map_task_dialogue_whose_audio_does_not_tell_is_refused(tmp_path: Path) -> None:
    ON_DISK["maptask"](tmp_path)
    record(tmp_path / "signals" / "q1ec1.mix.wav", sound(*SPOKEN, leak=0.8))
    first, second = items("maptask", tmp_path)
    assert "the audio does not tell which channel is whose" in str(first)
    assert isinstance(second, Conversation)


def test_the_transcribed_stretch_of_a_call_is_cut_out_to_the_sample(tmp_path: Path) -> None:
    ON_DISK["callhome"](tmp_path / "corpus")
    (conversation, _) = check_manifest(prepare("callhome", tmp_path / "corpus", tmp_path / "out").manifest).good
    assert conversation.audio is not None
    whole = read(tmp_path / "corpus" / "audio" / "en_4065.sph")
    # The first utterance starts at 3.5 s and the last one ends at 10.25 s.
    np.testing.assert_array_equal(read(conversation.audio), whole[:, round(3.5 * RATE_HZ) : round(10.25 * RATE_HZ)])
    assert conversation.provenance["start_seconds"] == 3.5


def test_a_conversion_is_read_instead_of_its_original_and_two_recordings_of_a_name_are_refused(tmp_path: Path) -> None:
    ON_DISK["fisher"](tmp_path)
    original = tmp_path / "audio" / "000" / "fe_03_00001.sph"
    converted = tmp_path / "wav" / "fe_03_00001.wav"
    record(converted, read(original))
    header = b"NIST_1A\n   1024\nsample_coding -s26 ulaw,embedded-shorten-v2.00\nend_head\n"
    original.write_bytes(header.ljust(1024) + b"ajkg")
    first, second = items("fisher", tmp_path)
    assert isinstance(first, Conversation)
    assert first.audio == converted
    record(original.with_suffix(".flac"), read(converted))
    first, second = items("fisher", tmp_path)
    assert "expected one recording of this name" in str(first)
    original.with_suffix(".flac").unlink()
    converted.unlink()
    first, second = items("fisher", tmp_path)
    assert "fe_03_00001.sph: NIST SPHERE compressed by shorten" in str(first)
    assert isinstance(second, Conversation)
