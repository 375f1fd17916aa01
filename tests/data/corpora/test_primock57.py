"""PriMock57 becomes conversations of a clinician and a patient, a bad consultation does not hide the others."""

from itertools import pairwise
from pathlib import Path

import pytest

from ssl_tt.data.conversation import Segment
from ssl_tt.data.corpora import read_corpus
from ssl_tt.data.corpora.primock57 import clinician
from ssl_tt.errors import InputError


def write_transcript(root: Path, name: str, *utterances: tuple[float, float]) -> None:
    """A TextGrid of 10 s with these utterances and silence between them."""
    bounds = [0.0, *(time for utterance in utterances for time in utterance), 10.0]
    intervals = "".join(
        f'intervals [{n + 1}]:\nxmin = {start}\nxmax = {end}\ntext = "{"Hello." * (n % 2)}"\n'
        for n, (start, end) in enumerate(pairwise(bounds))
    )
    path = root / "transcripts" / f"{name}.TextGrid"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 10\ntiers? <exists>\nsize = 1\n'
        'item []:\nitem [1]:\nclass = "IntervalTier"\nname = "Speaker"\nxmin = 0\nxmax = 10\n'
        f"intervals: size = {len(bounds) - 1}\n{intervals}"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_transcript(tmp_path, "day2_consultation01_doctor", (1, 2), (5, 6))
    write_transcript(tmp_path, "day2_consultation01_patient", (2.5, 4))
    write_transcript(tmp_path, "day4_consultation06_doctor", (1, 2))
    write_transcript(tmp_path, "day4_consultation06_patient", (3, 4))
    return tmp_path


def test_utterances_are_segments_of_clinician_and_patient(root: Path) -> None:
    first, second = read_corpus("primock57", root)
    assert first.id == "primock57-day2_consultation01"
    assert first.speakers == ("primock57-day2", "primock57-day2_consultation01-patient")
    assert first.segments == ((Segment(1, 2), Segment(5, 6)), (Segment(2.5, 4),))
    assert (first.audio, first.duration_seconds) == (None, 10.0)
    assert second.speakers[0] == "primock57-day4b"


def test_a_bad_consultation_is_named_and_the_next_one_read(root: Path) -> None:
    (root / "transcripts" / "day2_consultation01_patient.TextGrid").unlink()
    items = read_corpus("primock57", root)
    with pytest.raises(InputError, match=r"day2_consultation01_patient.TextGrid: No such file"):
        next(items)
    assert next(items).id == "primock57-day4_consultation06"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transcripts: no TextGrid"):
        read_corpus("primock57", tmp_path)
    with pytest.raises(InputError, match="no such folder, expected that of the corpus primock57"):
        read_corpus("primock57", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"unknown corpus 'primok57', expected one of .*; did you mean primock57\?"):
        read_corpus("primok57", tmp_path)


def test_clinicians_are_told_apart_where_the_transcripts_do() -> None:
    consultations = [(1, 1), (1, 15), (2, 1), (3, 1), (4, 5), (4, 6), (4, 10)]
    assert [clinician(*consultation) for consultation in consultations] == [
        *("day1", "day1", "day2", "day3", "day4a", "day4b", "day4b")
    ]


@pytest.mark.data
def test_the_real_corpus_is_45_consultations_of_5_groups(data_root: Path) -> None:
    conversations = list(read_corpus("primock57", data_root / "primock57"))
    assert len(conversations) == 45
    assert len({conversation.speakers[0] for conversation in conversations}) == 5
    assert len({conversation.speakers[1] for conversation in conversations}) == 45
    assert 5 < sum(conversation.duration_seconds for conversation in conversations) / 3600 < 9
