"""A simulated corpus: same bytes, whole or not at all, honest about what was drawn, and without a trace in silence."""

import json
from pathlib import Path

import numpy as np
import pytest
from simulated import DECISION_SECONDS, shift_hold_interval

from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import check_manifest, read_manifest, split_conversations
from ssl_tt.data.simulate import cues
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.data.simulate.simulate import simulate
from ssl_tt.errors import InputError

SMALL = SimulateConfig(
    sample_rate_hz=8000, hours=0.04, conversation_seconds=30.0, speakers=8, validation_share=0.25, test_share=0.25
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(SMALL, tmp_path_factory.mktemp("small") / "corpus", workers=1, quiet=True)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> list[Conversation]:
    config = SimulateConfig(sample_rate_hz=8000, hours=1.0, conversation_seconds=120.0, speakers=60, seed=1)
    return read_manifest(simulate(config, tmp_path_factory.mktemp("long") / "corpus", quiet=True))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_settings_make_the_same_bytes_with_any_number_of_processes(small: Path, tmp_path: Path) -> None:
    again = simulate(SMALL, tmp_path / "elsewhere", workers=3, quiet=True)
    assert contents(again.parent) == contents(small.parent)
    assert {"manifest.jsonl", "simulation.json", "truth.jsonl"} < set(contents(small.parent))


def test_another_seed_makes_another_corpus(small: Path, tmp_path: Path) -> None:
    other = simulate(SMALL.model_copy(update={"seed": 1}), tmp_path / "other", quiet=True)
    audio = {name: content for name, content in contents(small.parent).items() if name.startswith("audio")}
    assert all(contents(other.parent)[name] != content for name, content in audio.items())


def test_the_manifest_passes_its_check(small: Path) -> None:
    checked = check_manifest(small)
    assert checked.problems == []
    assert checked.warnings == []
    assert len(checked.good) == 5


def test_splits_have_their_shares_and_no_speaker_in_common(small: Path) -> None:
    splits = split_conversations(read_manifest(small), 0.1, 0.1, 0)  # refuses a speaker in two of them
    assert {split: len(conversations) for split, conversations in splits.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }


def test_truth_agrees_with_the_segments(small: Path) -> None:
    conversations = {conversation.id: conversation for conversation in read_manifest(small)}
    lines = [json.loads(line) for line in (small.parent / "truth.jsonl").read_text().splitlines()]
    assert len(lines) > 20
    for line in lines:
        segments = conversations[line["conversation"]].segments
        (before,) = [c for c in (0, 1) if line["start_seconds"] in {s.end_seconds for s in segments[c]}]
        (after,) = [c for c in (0, 1) if line["end_seconds"] in {s.start_seconds for s in segments[c]}]
        assert line["label"] == ("hold" if before == after else "shift")
        inside = [
            s
            for channel in segments
            for s in channel
            if s.start_seconds < line["end_seconds"] and s.end_seconds > line["start_seconds"]
        ]
        assert inside == []
        assert line["posterior"] == cues.posterior(cues.Cues(**line["cues"]), 1.0, 0.5)


def test_the_description_names_the_ceiling_the_labels_and_the_settings(small: Path) -> None:
    description = json.loads((small.parent / "simulation.json").read_text())
    assert description["bayes_balanced_accuracy"] == cues.ceiling(1.0)
    assert description["labels"] == "cue"
    assert SimulateConfig.model_validate_json(json.dumps(description["config"])) == SMALL
    assert all(conversation.provenance["labels"] == "cue" for conversation in read_manifest(small))


def test_a_corpus_that_is_there_is_left_alone(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.parent.rglob("*")}
    assert simulate(SMALL, small.parent, quiet=True) == small
    assert {path: path.stat().st_mtime_ns for path in small.parent.rglob("*")} == before


def test_a_folder_with_anything_else_in_it_is_refused_and_kept(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        simulate(SMALL.model_copy(update={"seed": 2}), small.parent, quiet=True)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        simulate(SMALL, tmp_path, quiet=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "speech" / "reader").mkdir(parents=True)
    (tmp_path / "speech" / "reader" / "broken.wav").write_bytes(b"RIFF")
    config = SimulateConfig(voices="folder", speech=str(tmp_path / "speech"))
    with pytest.raises(InputError, match=r"broken\.wav"):
        simulate(config, tmp_path / "corpus", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["speech"]


def test_too_few_speakers_or_conversations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 speakers are too few"):
        simulate(SMALL.model_copy(update={"speakers": 5}), tmp_path / "corpus", quiet=True)
    with pytest.raises(InputError, match="1 conversations are too few"):
        simulate(SMALL.model_copy(update={"hours": 0.01}), tmp_path / "corpus", quiet=True)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"voices": "folder"}, "needs `speech`"),
        ({"voices": "respoken"}, "needs `transcripts`"),
        ({"speech": "somewhere"}, "speech is for"),
        ({"voices": "folder", "speech": "somewhere", "cue_strength": 0.5}, "cue_strength is for"),
        ({"splits": {"train": ("a*",)}}, "splits is for"),
        ({"noise_snr_db": (30.0, 20.0)}, "lowest ratio first"),
        ({"validation_share": 0.5, "test_share": 0.5}, "nothing to train on"),
        ({"hours": 0.01}, "less than one conversation"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        SimulateConfig(**wrong)


def test_no_trace_of_the_making_is_in_the_silence(long: list[Conversation]) -> None:
    low, high = shift_hold_interval(long, 0.0, DECISION_SECONDS, 0.0125, 12)
    assert low < 0.5 < high


def test_the_speech_before_a_silence_tells_what_follows(long: list[Conversation]) -> None:
    low, high = shift_hold_interval(long, -0.6, 0.0, 0.0125, 12)
    assert low > 0.53
    assert high < cues.ceiling(1.0) + 0.05


def test_no_sample_is_digital_silence(small: Path) -> None:
    from ssl_tt.data.audio import read

    for conversation in read_manifest(small):
        blocks = read(conversation.audio).reshape(2, -1, 400)
        assert (blocks.std(axis=2) > 1 / 32768).all()
        assert np.abs(blocks).max() < 1
