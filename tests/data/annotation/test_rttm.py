"""RTTM gives utterances by recording, and audio only where every speaker has a channel."""

from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.annotation.rttm import read_rttm
from ssl_tt.data.annotation.utterance import Utterance
from ssl_tt.data.audio import write_wav
from ssl_tt.data.conversation import Segment
from ssl_tt.data.corpora import read_corpus
from ssl_tt.errors import InputError

RTTM = """;; a comment
SPKR-INFO call 1 <NA> <NA> <NA> unknown ann <NA> <NA>
SPEAKER call 2 1.5 0.5 <NA> <NA> bob <NA> <NA>
SPEAKER call 1 3.0 1.0 <NA> <NA> ann <NA> <NA>

SPEAKER call 1 0.25 1.0 <NA> <NA> ann <NA>
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "call.rttm"
    path.write_text(RTTM)
    return path


def test_utterances_are_in_order_with_speaker_and_channel(path: Path) -> None:
    assert read_rttm(path) == {
        "call": [Utterance(0.25, 1.25, "ann", 1), Utterance(1.5, 2.0, "bob", 2), Utterance(3.0, 4.0, "ann", 1)]
    }


def test_without_audio_it_is_annotation_until_the_last_segment(path: Path) -> None:
    (conversation,) = read_corpus("rttm", path.parent)
    assert conversation.speakers == ("ann", "bob")
    assert conversation.segments == ((Segment(0.25, 1.25), Segment(3.0, 4.0)), (Segment(1.5, 2.0),))
    assert (conversation.audio, conversation.duration_seconds) == (None, 4.0)


def test_what_overlaps_of_one_speaker_is_joined(path: Path) -> None:
    path.write_text(RTTM + "SPEAKER call 1 3.5 1.0 <NA> <NA> ann <NA> <NA>")
    (conversation,) = read_corpus("rttm", path.parent)
    assert conversation.segments is not None
    assert conversation.segments[0] == (Segment(0.25, 1.25), Segment(3.0, 4.5))


def test_names_of_a_diariser_are_people_of_this_recording_alone(path: Path) -> None:
    path.write_text(RTTM.replace("ann", "SPEAKER_00"))
    (conversation,) = read_corpus("rttm", path.parent)
    assert conversation.speakers == ("call-SPEAKER_00", "bob")


def test_audio_beside_it_has_a_channel_for_each_speaker(path: Path) -> None:
    write_wav(path.with_name("call.wav"), np.ones((2, 8000 * 5)) / 2, 8000)
    (conversation,) = read_corpus("rttm", path.parent)
    assert (conversation.audio, conversation.duration_seconds) == (path.with_name("call.wav"), 5.0)
    path.write_text(RTTM.replace("call 2", "call 1"))
    with pytest.raises(InputError, match=r"speakers on channels 1, 1, expected one on each of the 2 of call.wav"):
        list(read_corpus("rttm", path.parent))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SPEAKER call 1 5.0 0.0 <NA> <NA> ann <NA> <NA>", "line 7: from 5.0 to 5.0 s, expected a start of 0 or more"),
        ("SPEAKER call 1 -5.0 1.0 <NA> <NA> ann <NA> <NA>", "line 7: time -5.0, expected one between 0 and"),
        ("SPEAKER call 1 soon 1.0 <NA> <NA> ann <NA> <NA>", "line 7: 'soon', expected a time as a number"),
        ("SPEAKER call 1 inf 1.0 <NA> <NA> ann <NA> <NA>", "line 7: time inf, expected one between 0 and"),
        ("SPEAKER call ² 1.0 1.0 <NA> <NA> ann <NA> <NA>", "line 7: channel '²', expected A, B or a whole number"),
        ("SPEAKER call 2 5.0 1.0 <NA> <NA> ann <NA> <NA>", "line 7: 'ann' on channel 2, expected 1 as before"),
        ("SPEAKER call 1 5.0", "line 7: 'SPEAKER call 1 5.0', expected SPEAKER and 8 or 9 more fields"),
        ("Dear diary", "line 7: 'Dear diary', expected SPEAKER"),
        ("SPEAKER more 1 5.0 1.0 <NA> <NA> ann <NA> <NA>", "2 recordings, expected one a file"),
    ],
)
def test_wrong_lines_are_named(path: Path, line: str, message: str) -> None:
    path.write_text(RTTM + line)
    with pytest.raises(InputError) as caught:
        list(read_corpus("rttm", path.parent))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recording_cannot_name_a_file_elsewhere(path: Path) -> None:
    path.write_text("SPEAKER ../../call 1 5.0 1.0 <NA> <NA> ann <NA> <NA>")
    with pytest.raises(InputError, match=r"recording '\.\./\.\./call', expected a name without folders"):
        list(read_corpus("rttm", path.parent))
