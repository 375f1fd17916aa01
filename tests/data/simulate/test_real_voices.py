"""Dialogues cut from a folder of speech: no silence rests on a file's end, and test clips are heard once."""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.audio import read, write_wav
from ssl_tt.data.manifest import check_manifest, read_manifest, split_conversations
from ssl_tt.data.simulate import timing
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.cues import Cues
from ssl_tt.data.simulate.folder import Placed, Stretch, Utterance, cut, dialogues
from ssl_tt.data.simulate.simulate import simulate
from ssl_tt.data.simulate.voices import draw_voice, synthesise
from ssl_tt.errors import InputError

RATE_HZ = 8000
PAUSES_SECONDS = (0.3, 0.3, 0.8, 0.3)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine readers with two files each; a file is five utterances of 1.2 s with the pauses above."""
    folder = tmp_path_factory.mktemp("speech")
    for reader in range(9):
        voice = draw_voice(np.random.default_rng((0, reader)))
        (folder / f"reader{reader}").mkdir()
        for number in range(2):
            rng = np.random.default_rng((1, reader, number))
            parts = [np.zeros(RATE_HZ // 4)]
            for pause in (*PAUSES_SECONDS, 0.1):
                parts.append(synthesise(voice, Cues("level", False, False), int(1.2 * RATE_HZ), RATE_HZ, rng))
                parts.append(np.zeros(int(pause * RATE_HZ)))
            samples = np.concatenate(parts) + 1e-4 * rng.standard_normal(sum(map(len, parts)))
            write_wav(folder / f"reader{reader}" / f"{number}.wav", samples[None], RATE_HZ)
    return folder


def settings(speech: Path, **change: object) -> SimulateConfig:
    fields = {
        "voices": "folder",
        "speech": str(speech),
        "sample_rate_hz": RATE_HZ,
        "hours": 0.1,
        "conversation_seconds": 20.0,
        "validation_share": 0.2,
        "test_share": 0.3,
    }
    return SimulateConfig(**(fields | change))


def test_a_file_is_cut_at_its_pauses(speech: Path) -> None:
    first, last = cut(RATE_HZ, speech / "reader0" / "0.wav")
    assert [len(first.utterances), len(last.utterances)] == [3, 2]
    assert (first.closed, last.closed) == (True, False)
    lengths = [(after.start_sample - before.end_sample) / RATE_HZ for before, after in pairwise(first.utterances)]
    assert lengths == pytest.approx([0.3, 0.3], abs=0.06)


def stretches(speaker: str, count: int = 30) -> list[Stretch]:
    """Files of a stretch that a long pause closes and one that the file's end cuts off."""
    made = []
    for number in range(count):
        path = Path(speaker) / str(number)
        starts = [0, 2, 4, 7, 9]  # seconds; each utterance lasts 1.7 s
        utterances = [Utterance(path, RATE_HZ * s, RATE_HZ * s + int(1.7 * RATE_HZ), 1.0) for s in starts]
        made += [Stretch(tuple(utterances[:3]), True), Stretch(tuple(utterances[3:]), False)]
    return made


def planned(split: str, seconds: float) -> list[list[Placed]]:
    speech = {f"reader{number}": stretches(f"reader{number}") for number in range(5)}
    config = SimulateConfig(voices="folder", speech="unread", sample_rate_hz=RATE_HZ, conversation_seconds=60.0)
    found: Iterator[tuple[tuple[str, str], list[Placed]]] = dialogues(
        split, speech, seconds, timing.builtin(), config, np.random.default_rng(0)
    )
    return [placed for _, placed in found]


def test_a_silence_follows_no_end_but_that_of_a_natural_pause() -> None:
    """A hold rests on a pause inside a stretch, a shift on the long pause that closes one; all else is overlapped."""
    shifts = holds = overlaps = 0
    for placed in planned("train", 3600.0):
        for before, after in pairwise(placed):
            end = before.start_sample + before.utterance.n_samples
            if before.channel == after.channel:
                natural = after.utterance.start_sample - before.utterance.end_sample
                assert before.utterance.path == after.utterance.path
                assert after.start_sample - end == natural
                holds += 1
            elif after.start_sample >= end:
                assert before.utterance.start_sample == 4 * RATE_HZ  # the one before the long pause
                shifts += 1
            else:
                overlaps += 1
    assert min(shifts, holds, overlaps) > 50


def test_only_training_hears_a_clip_more_than_once() -> None:
    def counts(split: str) -> Counter[tuple[Path, int]]:
        return Counter((p.utterance.path, p.utterance.start_sample) for d in planned(split, 7200.0) for p in d)

    assert set(counts("test").values()) == {1}
    assert max(counts("train").values()) > 1


def test_a_corpus_of_real_voices_is_a_proxy_and_says_so(speech: Path, tmp_path: Path) -> None:
    manifest = simulate(settings(speech), tmp_path / "corpus", quiet=True)
    conversations = read_manifest(manifest)
    assert check_manifest(manifest).problems == []
    assert {conversation.provenance["labels"] for conversation in conversations} == {"proxy"}
    splits = split_conversations(conversations, 0.1, 0.1, 0)  # refuses a speaker in two of them
    assert all(splits.values())
    assert sum(c.duration_seconds for c in splits["train"]) > 0.9 * 0.5 * 360
    assert max(c.duration_seconds for c in conversations) <= 20.0
    assert not (manifest.parent / "truth.jsonl").exists()
    again = simulate(settings(speech), tmp_path / "again", workers=3, quiet=True)
    assert [c.sha256 for c in read_manifest(again)] == [c.sha256 for c in conversations]


def test_speech_is_where_the_segments_say(speech: Path, tmp_path: Path) -> None:
    manifest = simulate(settings(speech, noise_snr_db=(50.0, 50.0)), tmp_path / "corpus", quiet=True)
    for conversation in read_manifest(manifest)[:3]:
        samples = read(conversation.audio)
        for channel, segments in enumerate(conversation.segments):
            spoken = np.zeros(samples.shape[1], dtype=bool)
            for start, end in segments:
                spoken[round(start * RATE_HZ) : round(end * RATE_HZ)] = True
            assert samples[channel][spoken].std() > 100 * samples[channel][~spoken].std()


def test_what_is_no_folder_of_speech_is_refused_in_one_line(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no speech in it"):
        simulate(settings(tmp_path / "empty"), tmp_path / "corpus", quiet=True)
    with pytest.raises(InputError, match="no such folder"):
        simulate(settings(tmp_path / "missing"), tmp_path / "corpus", quiet=True)
    (tmp_path / "two").mkdir()
    for reader in "reader0", "reader1":
        shutil.copytree(speech / reader, tmp_path / "two" / reader)
    with pytest.raises(InputError, match="2 speakers, expected 2 or more for each"):
        simulate(settings(tmp_path / "two"), tmp_path / "corpus", quiet=True)


def test_speech_on_two_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    write_wav(path, np.zeros((2, 800)), RATE_HZ)
    with pytest.raises(InputError, match="2 channels, expected 1"):
        cut(RATE_HZ, path)
