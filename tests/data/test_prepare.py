"""Preparing writes down all that is good and lists all that is not."""

from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.audio import read, write_wav
from ssl_tt.data.conversation import Segment
from ssl_tt.data.manifest import check_manifest, read_manifest
from ssl_tt.data.prepare import prepare, prepare_shards
from ssl_tt.errors import InputError

RATE_HZ = 8000


def speech(*bounds: tuple[float, float], seconds: float = 3.0) -> np.ndarray:
    """Noise inside the bounds over a faint floor: [N]."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    loud = np.zeros(time.size, dtype=bool)
    for start, end in bounds:
        loud |= (time >= start) & (time < end)
    return np.where(loud, 0.1, 1e-4) * np.random.default_rng(0).standard_normal(time.size)


def test_a_folder_is_labelled_and_its_bad_files_listed(tmp_path: Path) -> None:
    root, out = tmp_path / "calls", tmp_path / "prepared"
    write_wav(root / "a.wav", np.stack([speech((0.5, 1.5)), speech((1.7, 2.5))]), RATE_HZ)
    write_wav(root / "deeper" / "b.WAV", np.stack([speech((0.5, 1.5)), np.zeros(3 * RATE_HZ)]), RATE_HZ)
    write_wav(root / "mono.wav", speech((0.5, 1.5))[None], RATE_HZ)
    (root / "text.flac").write_text("Dear diary")
    (root / "notes.txt").write_text("Dear diary")
    prepared = prepare("folder", root, out)
    assert len(prepared.problems) == 2
    assert "mono.wav: 1 channel, expected 2 (one a speaker)" in prepared.problems[0]
    assert "text.flac: not audio" in prepared.problems[1]
    assert len(prepared.warnings) == 1
    assert "b.WAV: channel 1 is silent" in prepared.warnings[0]

    first, second = read_manifest(prepared.manifest)
    assert (first.id, second.id) == ("a", "deeper/b")
    assert first.speakers == ("a-1", "a-2")
    assert first.segments is not None
    np.testing.assert_allclose(first.segments, [[(0.5, 1.5)], [(1.7, 2.5)]], atol=0.02)
    assert second.segments is not None
    assert second.segments[1] == ()
    assert first.provenance == {"corpus": "folder", "labels": "detected", "detector": "energy"}
    assert check_manifest(prepared.manifest).problems == []
    assert sorted(path.name for path in out.iterdir()) == ["manifest.jsonl"]


def test_without_a_detector_nothing_is_labelled(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.stack([speech((0.5, 1.5))] * 2), RATE_HZ)
    (conversation,) = read_manifest(prepare("folder", tmp_path, tmp_path, detector=None).manifest)
    assert conversation.segments is None
    assert conversation.provenance == {"corpus": "folder"}


def test_two_recordings_of_one_name_are_told(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac.wav", "a.aiff"):
        write_wav(tmp_path / name, np.stack([speech((0.5, 1.5))] * 2), RATE_HZ)
    prepared = prepare("folder", tmp_path, tmp_path)
    assert prepared.n_conversations == 2
    assert "another conversation with the id 'a'" in prepared.problems[0]


def test_nothing_good_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings, expected files ending in"):
        prepare("folder", tmp_path, tmp_path / "out")
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the 1 items of folder is good; the first: .*a.wav: empty file"):
        prepare("folder", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


GRID = """File type = "ooTextFile"
Object class = "TextGrid"
xmin = 0
xmax = 3
tiers? <exists>
size = 1
item []:
item [1]:
class = "IntervalTier"
name = "Speaker"
xmin = 0
xmax = 3
intervals: size = 1
intervals [1]:
xmin = 0.5
xmax = 1.5
text = "Hello."
"""


@pytest.fixture
def consultation(tmp_path: Path) -> Path:
    """PriMock57 with one consultation, whose patient's recording is shorter."""
    for role, seconds in (("doctor", 3.0), ("patient", 2.9)):
        name = f"day1_consultation01_{role}"
        (tmp_path / "transcripts").mkdir(exist_ok=True)
        (tmp_path / "transcripts" / f"{name}.TextGrid").write_text(GRID)
        write_wav(tmp_path / "audio" / f"{name}.wav", speech((0.5, 1.5), seconds=seconds)[None], RATE_HZ)
    return tmp_path


def test_one_file_a_speaker_becomes_one_channel_a_speaker(consultation: Path, tmp_path: Path) -> None:
    prepared = prepare("primock57", consultation, tmp_path / "out")
    assert prepared.problems == []
    (conversation,) = check_manifest(prepared.manifest).good
    assert conversation.segments == 2 * ((Segment(0.5, 1.5),),)
    assert conversation.audio is not None
    doctor, patient = read(conversation.audio)
    np.testing.assert_array_equal(doctor, read(consultation / "audio" / "day1_consultation01_doctor.wav")[0])
    np.testing.assert_array_equal(patient[: int(2.9 * RATE_HZ)], doctor[: int(2.9 * RATE_HZ)])
    assert not patient[int(2.9 * RATE_HZ) :].any()


@pytest.mark.parametrize(
    ("channels", "seconds", "rate_hz", "message"),
    [
        (2, 3.0, RATE_HZ, "2 channels, expected 1"),
        (1, 3.0, 2 * RATE_HZ, "16000 Hz, expected 8000 Hz as day1_consultation01_doctor.wav"),
        (0, 3.0, RATE_HZ, "No such file"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    consultation: Path, tmp_path: Path, channels: int, seconds: float, rate_hz: int, message: str
) -> None:
    path = consultation / "audio" / "day1_consultation01_patient.wav"
    path.unlink()
    if channels:
        write_wav(path, np.full((channels, int(seconds * rate_hz)), 0.1), rate_hz)
    with pytest.raises(InputError, match=message):
        prepare("primock57", consultation, tmp_path / "out")


def test_an_annotation_past_the_end_of_its_recording_is_refused(consultation: Path, tmp_path: Path) -> None:
    for role in ("doctor", "patient"):
        write_wav(consultation / "audio" / f"day1_consultation01_{role}.wav", speech(seconds=1.4)[None], RATE_HZ)
    with pytest.raises(InputError, match=r"segment 0.500 to 1.500 s of 'primock57-day1' ends after the 1.400 s"):
        prepare("primock57", consultation, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_annotation_that_ends_long_before_its_recording_is_a_warning(consultation: Path, tmp_path: Path) -> None:
    for role in ("doctor", "patient"):
        path = consultation / "audio" / f"day1_consultation01_{role}.wav"
        write_wav(path, speech((0.5, 1.5), seconds=3.1)[None], RATE_HZ)
    prepared = prepare("primock57", consultation, tmp_path / "out")
    (warning,) = prepared.warnings
    assert "nobody speaks after 1.5 of 3.1 s; was the annotation cut short?" in warning


def test_one_file_a_speaker_is_joined_on_the_way_into_a_shard(consultation: Path, tmp_path: Path) -> None:
    plain = prepare("primock57", consultation, tmp_path / "out")
    shards = prepare_shards("primock57", consultation, tmp_path / "shards", processes=1)
    again = prepare_shards("manifest", tmp_path / "shards", tmp_path / "again", processes=1)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["manifest.jsonl", "shard-00000.tar"]
    expected = read(read_manifest(plain.manifest)[0].audio)
    for prepared in (shards, again):
        (conversation,) = check_manifest(prepared.manifest).good
        np.testing.assert_array_equal(read(conversation.audio), expected)
    for name in ("manifest.jsonl", "shard-00000.tar"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "shards" / name).read_bytes()
