"""Dialogues spoken again by espeak-ng: at their real times, cut at their own pauses, each split with its own people."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from simulated import DECISION_SECONDS, shift_hold_interval, write_textgrid

from ssl_tt.data.annotation.textgrid import Interval
from ssl_tt.data.audio import read
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import check_manifest, read_manifest
from ssl_tt.data.phones import read_phones
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.respoken import spoken_text, words_per_minute
from ssl_tt.data.simulate.simulate import simulate
from ssl_tt.errors import InputError

pytest.importorskip("espeakng_loader", reason="the extra respeak is not installed")

DOCTOR = [
    (0.5, 6.0, "Good morning. What brings you <UNSURE>here today</UNSURE>, and how can I help you?"),
    (9.5, 10.1, "<UNIN/>"),
    (10.5, 13.0, "For how many days has that been going on?"),
]
PATIENT = [
    (6.4, 9.5, "Well, I have a bit of a cough."),
    (13.5, 15.0, "About a week, maybe more."),
    (15.1, 15.7, "Yes."),
]


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    """Three dialogues; the first two are of one doctor."""
    folder = tmp_path / "transcripts"
    folder.mkdir()
    for name in "monday1", "monday2", "tuesday1":
        write_textgrid(folder / f"{name}_doctor.TextGrid", DOCTOR, 18.0)
        write_textgrid(folder / f"{name}_patient.TextGrid", PATIENT, 18.0)
    return folder


def settings(folder: Path, **change: object) -> SimulateConfig:
    fields = {
        "voices": "respoken",
        "transcripts": str(folder),
        "sample_rate_hz": 8000,
        "people": {"Dr Monday": ("monday*_doctor",)},
        "splits": {"train": ("monday*",), "test": ("tuesday*",)},
    }
    return SimulateConfig(**(fields | change))


def test_same_settings_make_the_same_bytes_whatever_was_said_before(transcripts: Path, tmp_path: Path) -> None:
    one = simulate(settings(transcripts), tmp_path / "one", workers=1, quiet=True)
    two = simulate(settings(transcripts), tmp_path / "two", workers=2, quiet=True)
    for name in "manifest.jsonl", "phones.jsonl":
        assert one.with_name(name).read_bytes() == two.with_name(name).read_bytes()  # digests of the audio among them
    for name in "monday1", "monday2":
        (transcripts / f"{name}_doctor.TextGrid").unlink()
        (transcripts / f"{name}_patient.TextGrid").unlink()
    alone = settings(transcripts, splits={"test": ("tuesday*",)}, people={})
    last = read_manifest(one)[-1]
    (only,) = read_manifest(simulate(alone, tmp_path / "alone", quiet=True))
    assert (only.id, only.segments) == (last.id, last.segments)


def test_a_breathy_voice_does_not_depend_on_the_time_of_day() -> None:
    program = (
        "import sys; from ssl_tt.data.simulate.espeak import EspeakVoice, say; "
        "sys.stdout.buffer.write(say('Well, yes.', EspeakVoice('en-029+f5', 50, 50), 175)[0].tobytes())"
    )

    def spoken() -> bytes:
        return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout

    now = spoken()
    time.sleep(1.1)  # espeak-ng seeds its noise with the second
    assert spoken() == now
    assert now


def test_to_be_told_the_phones_changes_no_sample() -> None:
    program = (
        "import sys; from ssl_tt.data.simulate import espeak; "
        "espeak._PHONEME_EVENTS = espeak._PHONEMES_IN_IPA = int(sys.argv[1]); "
        "said = [espeak.say(text, espeak.EspeakVoice('en-gb-scotland+m3', 50, 50), 175) "
        "for text in ('Papa, stop it. A cat?', 'Well, yes.')]; "
        "sys.stdout.buffer.write(b''.join(speech.samples.tobytes() for speech in said)); "
        "print(sum(len(speech.phones) for speech in said), file=sys.stderr)"
    )

    def spoken(flags: int) -> tuple[bytes, int]:
        found = subprocess.run([sys.executable, "-c", program, str(flags)], check=True, capture_output=True)
        return found.stdout, int(found.stderr)

    (told, phones), (untold, none) = spoken(3), spoken(0)
    assert told == untold
    assert len(told) > 4 * 22050
    assert (phones > 15, none) == (True, 0)


def test_utterances_start_at_their_real_times_and_nobody_talks_over_themselves(
    transcripts: Path, tmp_path: Path
) -> None:
    manifest = simulate(settings(transcripts), tmp_path / "corpus", quiet=True)
    assert check_manifest(manifest).problems == []
    for conversation in read_manifest(manifest):  # which refuses overlapping segments of one speaker
        assert conversation.provenance["labels"] == "annotated"
        is_patient = [speaker.endswith("patient") for speaker in conversation.speakers]
        doctor, patient = (conversation.segments[is_patient.index(wanted)] for wanted in (False, True))
        starts = [segment.start_seconds for segment in (*doctor, *patient)]
        for start in (0.5, 10.5, 6.4, 13.5):
            assert min(abs(np.array(starts) - start)) < 2e-3
        assert not any(9.4 < segment.start_seconds < 10.4 for segment in doctor)  # what could not be heard
        assert len(doctor) > 2  # cut at the stop and the comma


def test_phones_are_where_they_sound(transcripts: Path, tmp_path: Path) -> None:
    manifest = simulate(
        settings(transcripts, sample_rate_hz=16000, noise_snr_db=(40.0, 40.0)), tmp_path / "c", quiet=True
    )
    conversations = read_manifest(manifest)
    phones = read_phones(manifest, conversations)
    levels: dict[str, list[float]] = {}
    for conversation in conversations:
        samples = read(conversation.audio)
        for channel, (spoken, segments) in enumerate(zip(phones[conversation.id], conversation.segments, strict=True)):
            bounds = np.array(segments)
            assert len(spoken) > 10
            for start, end, label in spoken:
                place = np.searchsorted(bounds[:, 0], start + 1e-4, side="right") - 1
                assert bounds[place, 0] - 1e-4 <= start < end <= bounds[place, 1] + 1e-4, "outside every segment"
                inside = samples[channel, int(16000 * start) : int(16000 * end)]
                levels.setdefault(label, []).append(float(np.sqrt(np.mean(inside**2))))
            # Speech is all phones, but for a little at the edges.
            covered = sum(end - start for start, end, _ in spoken)
            assert 0.85 < covered / (bounds[:, 1] - bounds[:, 0]).sum() <= 1.0
    assert not any(set(label) & set("ˈˌ") or not label for label in levels)
    vowels, quiet = (
        [np.median(levels[label]) for label in labels if label in levels]
        for labels in (["uː", "ʌ", "æ", "a", "ɐ"], ["f", "k", "t", "h"])
    )
    assert len(vowels) > 1
    assert len(quiet) > 1
    assert min(vowels) > max(quiet), "phones are shifted against the sound"


def test_a_corpus_of_before_there_were_phones_is_made_anew_only_by_hand(transcripts: Path, tmp_path: Path) -> None:
    manifest = simulate(settings(transcripts), tmp_path / "corpus", quiet=True)
    audio, phones = read_manifest(manifest)[0].sha256, manifest.with_name("phones.jsonl")
    before = phones.read_bytes()
    phones.unlink()
    assert simulate(settings(transcripts), tmp_path / "corpus", quiet=True) == manifest
    assert not phones.exists()
    with pytest.raises(InputError, match=f"remove {manifest.parent} for it to be made anew"):
        read_phones(manifest, read_manifest(manifest))
    shutil.rmtree(manifest.parent)
    simulate(settings(transcripts), tmp_path / "corpus", quiet=True)
    assert (read_manifest(manifest)[0].sha256, phones.read_bytes()) == (audio, before)


def test_people_keep_their_voice_and_their_split(transcripts: Path, tmp_path: Path) -> None:
    manifest = simulate(settings(transcripts), tmp_path / "corpus", quiet=True)
    monday1, monday2, tuesday = read_manifest(manifest)
    assert (monday1.split, monday2.split, tuesday.split) == ("train", "train", "test")
    assert set(monday1.speakers) == {"Dr Monday", "monday1_patient"}

    def doctor(conversation: Conversation) -> np.ndarray:
        channel = [not speaker.endswith("patient") for speaker in conversation.speakers].index(True)
        return np.array(conversation.segments[channel])

    # What espeak-ng said before moves a bound by a frame; another voice and accent moves more.
    assert doctor(monday1) == pytest.approx(doctor(monday2), abs=0.03)
    assert doctor(monday1) != pytest.approx(doctor(tuesday), abs=0.03)


def test_training_dialogues_are_spoken_again_in_other_voices(transcripts: Path, tmp_path: Path) -> None:
    once = read_manifest(simulate(settings(transcripts), tmp_path / "once", quiet=True))
    twice = read_manifest(simulate(settings(transcripts, renditions=2), tmp_path / "twice", quiet=True))
    assert [(c.id, c.split) for c in twice] == [
        *((c.id, c.split) for c in once),
        ("respoken-monday1-voices2", "train"),
        ("respoken-monday2-voices2", "train"),
    ]
    assert [c.sha256 for c in twice[:3]] == [c.sha256 for c in once]
    first, _, _, again, _ = twice
    assert first.dialogue == again.dialogue != twice[1].dialogue
    assert set(again.speakers) == {"Dr Monday, voice 2", "monday1_patient, voice 2"}
    ends = [sorted(segment.end_seconds for side in c.segments for segment in side) for c in (first, again)]
    assert ends[0] != pytest.approx(ends[1], abs=0.03)  # another voice takes another time


def test_between_the_segments_there_is_only_room_noise(transcripts: Path, tmp_path: Path) -> None:
    manifest = simulate(settings(transcripts, noise_snr_db=(50.0, 50.0)), tmp_path / "corpus", quiet=True)
    for conversation in read_manifest(manifest):
        samples = read(conversation.audio)
        for channel, segments in enumerate(conversation.segments):
            silent = np.ones(samples.shape[1], dtype=bool)
            for start, end in segments:
                silent[round(start * 8000) : round(end * 8000)] = False
            assert np.abs(samples[channel][silent]).max() < 0.05 * np.abs(samples[channel][~silent]).max()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"splits": {"train": ("monday*",)}}, "tuesday1 matches none"),
        ({"splits": {"train": ("*",), "test": ("tuesday*",)}}, "tuesday1 matches train and test"),
        ({"splits": {"train": ("monday1", "tuesday1"), "test": ("monday2",)}}, "speaker 'Dr Monday' is in"),
        ({"people": {"a": ("monday*",), "b": ("*_doctor",)}}, "is both 'a' and 'b'"),
        ({"transcripts": "$SSL_TT_NOT_SET"}, "not set"),
    ],
)
def test_splits_and_people_that_cannot_be_are_refused(
    transcripts: Path, tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        simulate(settings(transcripts, **change), tmp_path / "corpus", quiet=True)


def test_a_dialogue_of_one_is_refused(transcripts: Path, tmp_path: Path) -> None:
    (transcripts / "monday1_patient.TextGrid").unlink()
    with pytest.raises(InputError, match="1 TextGrids of the dialogue 'monday1', expected 2"):
        simulate(settings(transcripts), tmp_path / "corpus", quiet=True)


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        ("Hello there.", "Hello there."),
        ("I'm Doctor <UNSURE>Deen Mirza</UNSURE> from Babylon.", "I'm Doctor Deen Mirza from Babylon."),
        ("<INAUDIBLE_SPEECH/>. Good morning.", "Good morning."),
        ("It's <UNIN/>, yes?", "It's, yes?"),
        ("<UNIN/>", ""),
        (" . ", ""),
    ],
)
def test_what_was_heard_is_spoken_and_markup_is_not(transcript: str, expected: str) -> None:
    assert spoken_text(transcript) == expected


def test_fast_speakers_are_spoken_fast() -> None:
    def rate(seconds: float) -> int:
        return words_per_minute([(Interval(0.0, seconds, ""), "one two three four five six seven eight")])

    assert 130 <= rate(3.2) < rate(2.5) <= 260
    assert (rate(100.0), rate(0.1)) == (130, 260)


@pytest.mark.data
def test_no_trace_of_the_making_tells_a_shift_from_a_hold_in_real_dialogues(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "transcripts").mkdir()
    for path in (data_root / "primock57" / "transcripts").glob("day3_consultation*.TextGrid"):
        shutil.copy(path, tmp_path / "transcripts")
    config = SimulateConfig(
        voices="respoken",
        transcripts=str(tmp_path / "transcripts"),
        sample_rate_hz=8000,
        splits={"train": ("*",)},
    )
    conversations = read_manifest(simulate(config, tmp_path / "corpus", quiet=True))
    low, high = shift_hold_interval(conversations, 0.0, DECISION_SECONDS, 0.0125, 12)
    assert low < 0.5 < high
    low, _ = shift_hold_interval(conversations, -1.0, 0.0, 0.1, 20)
    assert low > 0.5
