"""A comparison on noise that is louder before a shift: small enough to be run, big enough to have every part."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_tt import recipe
from ssl_tt.data.audio import write_wav
from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.data.manifest import read_manifest, write_manifest
from ssl_tt.data.phones import PHONES, Phone, write_phones
from ssl_tt.data.simulate.config import SimulateConfig
from ssl_tt.errors import InputError
from ssl_tt.objectives.config import (
    CPCConfig,
    CPCPart,
    JointConfig,
    QuantizerConfig,
    VQVAE2Config,
    VQVAEConfig,
    VQVAEPart,
)
from ssl_tt.report.findings import findings
from ssl_tt.report.html import page
from ssl_tt.report.tables import terminal
from ssl_tt.training import checkpoint, compare, probe, systems
from ssl_tt.training.compare import Comparison
from ssl_tt.training.config import CompareRecipe
from ssl_tt.training.frame_tasks import FRAME_TASKS
from tests.data.simulate.simulated import write_textgrid

SAMPLE_RATE_HZ = 16000
SPLITS = ("train",) * 4 + ("validation",) * 2 + ("test",) * 3

RECIPE = """
name = "tiny"
seeds = [0, 1]
[data]
pretrain = ["CORPUS/manifest.jsonl"]
window_seconds = 1.0
[encoder]
channels = 8
output_channels = 8
frontend = { mel_bands = 10 }
stacks = [{ kernel = 3, dilations = [1, 3] }]
[training]
steps = 2
batch_windows = 2
precision = "fp32"
validation_windows = 2
[objectives.cpc]
kind = "cpc"
steps = 2
context_channels = 8
negative_count = 8
[objectives.vqvae]
kind = "vqvae"
codes = 8
code_channels = 4
[probe]
bootstrap = 100
folds = 2
"""

SYSTEMS = {
    ("majority", "none"): 1,
    ("activity_history", "activity_history"): 1,
    ("logmel", "logmel"): 1,
    ("logmel", "context"): 1,
    ("random", "encoder"): 2,
    ("random", "context"): 2,
    ("cpc", "encoder"): 2,
    ("cpc", "context"): 2,
    ("vqvae", "encoder"): 2,
    ("vqvae", "codes"): 2,
}


def write_corpus(folder: Path) -> None:
    """Nine dialogues of eight turns of 1.3 s, with silences of 0.4 s between; the simulator's files beside them.

    The first half second of a turn is the phone "a", the rest "b".
    """
    conversations, truths, phones = [], [], {}
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng(number)
        name, start, speaker = f"dialogue-{number}", 0.0, 0
        samples = 0.001 * rng.standard_normal((2, int(18 * SAMPLE_RATE_HZ)))
        segments: tuple[list[Segment], list[Segment]] = ([], [])
        for turn in range(8):
            end = round(start + (3.1 if turn == 0 else 1.3), 3)
            shift = bool(rng.random() < 0.5) if turn > 1 else turn == 0  # of either kind at least one
            speech = slice(int(start * SAMPLE_RATE_HZ), int(end * SAMPLE_RATE_HZ))
            level = np.linspace(0.1, 0.3 if shift else 0.1, speech.stop - speech.start)
            samples[speaker, speech] += level * rng.standard_normal(len(level))
            segments[speaker].append(Segment(start, end))
            # The cue is right three times out of four.
            posterior = 0.75 if shift == (turn % 4 != 3) else 0.25
            truths.append({"conversation": name, "start_seconds": end, "posterior": posterior})
            start, speaker = round(end + 0.4, 3), 1 - speaker if shift else speaker
        phones[name] = [
            [phone for a, b in side for phone in (Phone(a, a + 0.5, "a"), Phone(a + 0.5, b, "b"))] for side in segments
        ]
        path = folder / "audio" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, samples.astype(np.float32), SAMPLE_RATE_HZ)
        conversations.append(
            Conversation(
                id=name,
                audio=path,
                sample_rate_hz=SAMPLE_RATE_HZ,
                channels=2,
                duration_seconds=18.0,
                speakers=(f"a{number}", f"b{number}"),
                segments=(tuple(segments[0]), tuple(segments[1])),
                split=split,
                provenance={"labels": "cue"},
            )
        )
    write_manifest(folder / "manifest.jsonl", conversations)
    (folder / "truth.jsonl").write_text("".join(json.dumps(truth) + "\n" for truth in truths))
    description = {"bayes_balanced_accuracy": 0.75, "config": {"shift_probability": 0.5}}
    (folder / "simulation.json").write_text(json.dumps(description))
    write_phones(folder / PHONES, conversations, phones)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def settings(corpus: Path) -> CompareRecipe:
    return load(corpus)


def load(corpus: Path, *options: str) -> CompareRecipe:
    path = corpus / "recipe.toml"
    path.write_text(RECIPE.replace("CORPUS", str(corpus)))
    return recipe.load(path, CompareRecipe, options)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared") / "out"


@pytest.fixture(scope="module")
def comparison(settings: CompareRecipe, out: Path) -> Comparison:
    return compare.compare(settings, out, quiet=True)


def test_every_system_has_a_row_for_every_task_and_metric(comparison: Comparison) -> None:
    found = {(row["system"], row["representation"], row["task"], row["metric"]): row for row in comparison.rows}
    assert len(found) == len(comparison.rows)
    metrics = {
        ("shift_hold", "balanced_accuracy"),
        ("shift_hold", "weighted_f1"),
        ("shift_hold", "f1_positive"),
        ("shift_hold", "f1_negative"),
        ("shift_hold", "roc_auc"),
        ("shift_hold", "average_precision"),
        ("shift_hold", "brier"),
        ("shift_hold", "expected_calibration_error"),
        ("future_activity", "roc_auc"),
    }
    assert set(found) == {(*system, *metric) for system in SYSTEMS for metric in metrics}
    for (system, representation, task, _), row in found.items():
        assert row["n_seeds"] == SYSTEMS[system, representation]
        assert row["n_conversations"] == 3
        test = comparison.counts["test"]
        assert row["n_events"] == (test["shift"] + test["hold"] if task == "shift_hold" else test["frames"])
        assert row["low"] <= row["value"] <= row["high"]
        assert set(row["cost"]) == {
            "parameters", "head_parameters", "macs_per_second_of_audio", "pretrain_audio_hours", "pretrain_seconds",
            "pretrain_cpu_seconds", "receptive_field_ms", "lookahead_ms",
        }  # fmt: skip


def test_the_report_is_the_list_of_rows(comparison: Comparison, out: Path) -> None:
    assert json.loads((out / "report.json").read_text()) == comparison.rows
    rest = json.loads((out / "comparison.json").read_text())
    assert rest["differences"] == comparison.differences
    assert rest["ceiling"] == comparison.ceiling


def test_the_majority_is_at_chance_and_pretraining_has_its_price(comparison: Comparison) -> None:
    for row in comparison.rows:
        if row["system"] == "majority" and row["metric"] in ("balanced_accuracy", "roc_auc"):
            assert row["value"] == pytest.approx(0.5)
        if row["system"] in ("cpc", "vqvae"):
            assert row["cost"]["pretrain_audio_hours"] == pytest.approx(4 * 18 / 3600)
            assert row["cost"]["pretrain_seconds"] > 0
        if row["system"] == "random":
            assert row["cost"]["pretrain_audio_hours"] == 0


def test_log_mel_hears_what_the_corpus_was_made_of(comparison: Comparison) -> None:
    (row,) = (
        row
        for row in comparison.rows
        if (row["system"], row["representation"], row["metric"]) == ("logmel", "logmel", "balanced_accuracy")
    )
    assert row["value"] > 0.9


def test_differences_are_those_of_the_scores_and_of_equal_memory(comparison: Comparison) -> None:
    values = {(r["task"], r["metric"], r["system"], r["representation"]): r["value"] for r in comparison.rows}
    against = set()
    for d in comparison.differences:
        ours = values[d["task"], d["metric"], d["system"], d["representation"]]
        theirs = values[d["task"], d["metric"], d["other"], d["other_representation"]]
        assert d["value"] == pytest.approx(ours - theirs)
        assert d["low"] <= d["value"] <= d["high"]
        against.add((d["system"], d["representation"], d["other"], d["other_representation"]))
    assert ("cpc", "encoder", "random", "encoder") in against
    assert ("cpc", "context", "random", "context") in against
    assert ("cpc", "context", "logmel", "context") in against
    assert ("vqvae", "codes", "logmel", "logmel") in against
    assert ("cpc", "encoder", "vqvae", "encoder") in against
    assert not any(system in ("random", "logmel") for system, *_ in against)


def test_the_ceiling_is_that_of_the_events_that_were_scored(comparison: Comparison, corpus: Path) -> None:
    assert comparison.ceiling is not None
    assert comparison.ceiling["bayes_balanced_accuracy"] == 0.75
    assert 0.5 < comparison.ceiling["realised"] < 1  # of the four cues of a dialogue one lies
    assert comparison.labels == {str(corpus / "manifest.jsonl"): "cue"}


def test_there_is_no_ceiling_where_an_event_was_not_planned(
    settings: CompareRecipe, corpus: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    (copy / "truth.jsonl").write_text("".join((copy / "truth.jsonl").read_text().splitlines(keepends=True)[:-2]))
    questions = [
        probe.ask(conversation, 50, settings.probe)
        for conversation in read_manifest(copy / "manifest.jsonl")
        if conversation.split == "test"
    ]
    assert compare._ceiling(load(corpus), probe.Asked(questions), tmp_path) is not None
    assert compare._ceiling(load(copy), probe.Asked(questions), tmp_path) is None


def test_a_stretch_to_draw_comes_with_belief_and_examples(comparison: Comparison) -> None:
    belief = comparison.belief
    assert belief is not None
    assert list(belief["systems"]) == ["majority", "activity_history", "logmel", "random", "cpc", "vqvae"]
    for shift in belief["systems"].values():
        assert shift.shape == (len(belief["activity"]),)
    assert belief["events"]
    for event in belief["events"]:
        assert not belief["activity"][event.start : event.end].any()
        assert belief["activity"][event.end, event.speaker]
    assert {"input", "reconstruction", "codes"} <= set(comparison.examples["vqvae"])
    assert "accuracy_by_step" in comparison.examples["cpc"]
    assert {curve.shape for curve in comparison.horizons.values()} == {(60,)}


def test_what_was_probed_is_not_probed_again(
    comparison: Comparison, settings: CompareRecipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("probed again")

    before = (out / "report.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(probe, "read", fail)
        patch.setattr(probe, "answer", fail)
        again = compare.compare(settings, out, quiet=True)
    scores = [{**row, "cost": None} for row in comparison.rows]
    assert [{**row, "cost": None} for row in again.rows] == scores
    assert len((out / "report.json").read_text()) == pytest.approx(len(before), rel=0.01)


def test_scoring_validation_never_opens_test_audio(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    for path in (copy / "audio").iterdir():
        if SPLITS[int(path.stem.rpartition("-")[2])] == "test":
            path.unlink()
    options = ["--probe.evaluate_on", "validation", "--seeds", "[0]", "--probe.tasks", "shift_hold"]
    found = compare.compare(load(copy, *options), tmp_path / "out", quiet=True)
    assert set(found.counts) == {"train", "validation"}
    assert {row["n_conversations"] for row in found.rows} == {2}
    assert {row["task"] for row in found.rows} == {"shift_hold"}


def test_the_random_encoder_is_what_training_starts_from(comparison: Comparison, settings: CompareRecipe) -> None:
    run = comparison.runs["cpc"][1]
    start = checkpoint.load_encoder(run / "checkpoints" / "step-00000000")
    untrained = systems.untrained(settings, "cpc", 1, checkpoint.load_objective(run).encoder)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, untrained.encoder.state_dict()[name]), name


def test_no_untrained_codes_nor_a_context_that_reads_them_are_probed(settings: CompareRecipe) -> None:
    codes = QuantizerConfig(codes=8)
    reads, reads_not = CPCConfig(quantizer=codes), CPCConfig(targets="prelayer", quantizer=codes)
    both = JointConfig(parts={"a": CPCPart(quantizer=codes), "b": CPCPart(), "c": VQVAEPart()})
    objectives = {"reads": reads, "reads_not": reads_not, "vqvae2": VQVAE2Config(), "both": both}
    recipe = settings.model_copy(update={"objectives": objectives})
    coded = {name: systems._coded(recipe, name) for name in objectives}
    assert coded == {
        "reads": {"codes", "context"},
        "reads_not": set(),
        "vqvae2": {"bottom", "top"},
        "both": {"a.codes", "a.context", "c.codes"},
    }


def test_layers_can_be_probed(corpus: Path, tmp_path: Path) -> None:
    options = ["--probe.representations", "stack1.block1", "--probe.baselines", "random", "--seeds", "[0]"]
    found = compare.compare(load(corpus, *options, "--probe.pool_seconds", "0.2"), tmp_path / "out", quiet=True)
    assert {row["representation"] for row in found.rows} == {"stack1.block1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probe.representations", "encodr"], "no objective has 'encodr'; did you mean 'encoder'"),
        (["--probe.representations", "context"], "none of context is vqvae's; it has encoder, codes"),
        (["--objectives.random.kind", "vqvae"], r"objectives\.random: the name of a baseline"),
    ],
)
def test_recipes_that_ask_for_what_is_not_there_are_refused_at_once(
    corpus: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare.compare(load(corpus, *options), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_what_a_recipe_leaves_out_may_be_said_in_it(settings: CompareRecipe) -> None:
    only = settings.model_copy(update={"objectives": {"vqvae": VQVAEConfig()}})  # which has no context
    systems.check_representations(only)
    systems.check_representations(CompareRecipe.model_validate(only.model_dump()))


def test_what_cannot_be_probed_is_refused_before_anything_is_trained(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    (copy / PHONES).unlink()
    with pytest.raises(InputError, match=r"phones\.jsonl: No such file"):
        compare.compare(load(copy, "--probe.tasks", "phone"), tmp_path / "out", quiet=True)
    write_phones(copy / PHONES, [], {})
    with pytest.raises(InputError, match="phone: 0 classes in 0 parts"):
        compare.compare(load(copy, "--probe.tasks", "phone"), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_folder_of_something_else_is_left_alone(settings: CompareRecipe, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        compare.compare(settings, tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_runs_of_another_recipe_are_not_taken_for_this_ones(comparison: Comparison, corpus: Path, out: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint folder of another recipe: training\.steps"):
        compare.compare(load(corpus, "--training.steps", "3"), out, quiet=True)


def test_training_conversations_without_both_classes_are_refused(settings: CompareRecipe, corpus: Path) -> None:
    conversations = read_manifest(corpus / "manifest.jsonl")
    silent = [replace(conversation, segments=((), ())) for conversation in conversations]
    with pytest.raises(InputError, match="shift_hold has hold in 0 training dialogues, expected 2 or more"):
        compare._asked(settings, {"train": silent, "validation": [], "test": conversations}, {})
    with pytest.raises(InputError, match="no conversation for test"):
        compare._asked(settings, {"train": conversations, "validation": [], "test": []}, {})


def test_one_run_scores_by_itself_as_it_does_in_the_comparison(
    comparison: Comparison, settings: CompareRecipe, tmp_path: Path
) -> None:
    run = comparison.runs["vqvae"][1]
    alone = compare.probe_run(settings, run, tmp_path / "probed", quiet=True)
    values = {(row["task"], row["metric"]): row["value"] for row in alone.rows if row["system"] == "vqvae"}
    kept = json.loads((run.parent.parent / "probe" / "vqvae-seed1.json").read_bytes())
    expected = kept["representations"]["codes"]["scores"]["values"]["shift_hold"]["balanced_accuracy"][0]
    assert alone.recipe.seeds == (1,)
    assert {row["system"] for row in alone.rows} >= {"majority", "activity_history", "logmel", "random", "vqvae"}
    assert values["shift_hold", "balanced_accuracy"] == pytest.approx(expected)


@pytest.fixture(scope="module")
def kept(comparison: Comparison, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """What is kept of a frame by one run of the comparison."""
    options = ["--probe.tasks", *FRAME_TASKS, "--probe.frame_every_seconds", "0.1"]
    run = comparison.runs["cpc"][0]
    return compare.probe_run(load(corpus, *options), run, tmp_path_factory.mktemp("kept") / "out", quiet=True)


def test_all_but_who_is_told_who_speaks_are_asked_what_they_keep_of_a_frame(kept: Comparison, corpus: Path) -> None:
    systems = {name for name in SYSTEMS if name[0] not in ("activity_history", "vqvae")}
    for task, metrics in (
        ("voice_activity", {"roc_auc", "balanced_accuracy"}),
        ("speaker", {"accuracy", "macro_recall"}),
        ("phone", {"accuracy", "macro_recall"}),
    ):
        rows = [row for row in kept.rows if row["task"] == task]
        assert {(row["system"], row["representation"]) for row in rows} == systems
        assert {row["metric"] for row in rows} == metrics
        assert {row["n_conversations"] for row in rows} == {3}
        assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
        assert {row["metric"] for row in kept.differences if row["task"] == task} == metrics
    assert not any("activity_history" in (row["system"], row.get("other")) for row in (*kept.rows, *kept.differences))

    def values(system: str) -> dict[tuple[str, str], float]:
        return {(row["task"], row["metric"]): row["value"] for row in kept.rows if row["system"] == system}

    heard, guessed = values("logmel"), values("majority")
    assert heard["voice_activity", "roc_auc"] > 0.95  # speech is 40 dB above the room
    assert heard["voice_activity", "balanced_accuracy"] > 0.9
    assert heard["phone", "macro_recall"] > guessed["phone", "macro_recall"]
    assert guessed["voice_activity", "balanced_accuracy"] == guessed["voice_activity", "roc_auc"] == 0.5
    assert guessed["phone", "macro_recall"] == 0.5
    assert (kept.counts["train"]["speakers"], kept.counts["test"]["speakers"]) == (8, 6)
    assert kept.counts["train"]["phones"] == kept.counts["test"]["phones"] == 2
    # Future activity is known until 15 s, so who it is is asked from 7.5 s on: of those who speak then.
    spoken = [side for c in read_manifest(corpus / "manifest.jsonl") if c.split == "test" for side in c.segments or ()]
    later = [side for side in spoken if any(end > 7.6 for _, end in side)]
    assert guessed["speaker", "macro_recall"] == pytest.approx(1 / len(later))
    share = {row["class_share"] for row in kept.rows if row["task"] == "voice_activity"}
    seconds = sum(min(end, 15) - min(start, 15) for side in spoken for start, end in side)
    assert share.pop() == pytest.approx(seconds / (15 * len(spoken)), abs=0.03)


@pytest.mark.parametrize(("task", "anew"), [("speaker", True), ("voice_activity", False)])
def test_other_names_of_speakers_are_scored_anew_where_they_are_asked_for(
    comparison: Comparison, corpus: Path, tmp_path: Path, task: str, anew: bool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    conversations = read_manifest(copy / "manifest.jsonl")
    options = ["--probe.tasks", task, "--probe.baselines", "majority"]

    def key() -> str:
        compare.probe_run(load(copy, *options), comparison.runs["vqvae"][0], tmp_path / "out", quiet=True)
        return str(json.loads((tmp_path / "out" / "probe" / "majority-seed0.json").read_bytes())["key"])

    before = key()
    renamed = [replace(c, speakers=(f"other {c.id}", c.speakers[1])) for c in conversations]
    write_manifest(copy / "manifest.jsonl", renamed)
    assert (key() != before) == anew


def test_every_task_of_a_frame_is_in_the_report(kept: Comparison) -> None:
    shown, printed = page(kept), terminal(kept)
    for title in "Voice activity: ROC AUC", "Speaker: macro recall", "Phone: accuracy":
        assert title in shown
        assert title in printed
    sentences = findings(kept)
    for does in "tells speech from silence at", "tells speakers apart at", "tells phones apart at":
        assert sum(does in sentence for sentence in sentences) == 1
    (of_phones,) = (sentence for sentence in sentences if "phones apart" in sentence)
    assert "the majority" in of_phones
    assert shown.count("Dashed: chance.") == 3


def test_phones_of_dialogues_spoken_again_are_asked_for(settings: CompareRecipe, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the extra respeak is not installed")
    (tmp_path / "transcripts").mkdir()
    words = (
        "Good morning. What brings you here today?",
        "I have a cough, and my throat hurts.",
        "Since when? Any fever?",
    )
    for number, name in enumerate(("one", "two", "three", "four")):
        for role in (0, 1):  # who say the same, one after the other, so that words do not tell them apart
            turns = [(3.0 * turn + 0.3, words[(turn // 2 + number) % 3]) for turn in range(role, 12, 2)]
            said = [(start, start + 2.4, text) for start, text in turns]
            write_textgrid(tmp_path / "transcripts" / f"{name}_{'ab'[role]}.TextGrid", said, 40.0)
    spoken = SimulateConfig(
        voices="respoken",
        transcripts=str(tmp_path / "transcripts"),
        sample_rate_hz=SAMPLE_RATE_HZ,
        splits={"train": ("one", "two"), "validation": ("three",), "test": ("four",)},
    )
    asks = {"tasks": FRAME_TASKS, "baselines": ("majority", "logmel"), "frame_every_seconds": 0.04}
    recipe = settings.model_copy(
        update={
            "simulate": {"spoken": spoken},
            "data": settings.data.model_copy(update={"pretrain": ("spoken",)}),
            "seeds": (0,),
            "probe": settings.probe.model_copy(update=asks),
        }
    )
    found = compare.compare(recipe, tmp_path / "out", quiet=True, workdir=tmp_path / "work")
    score = {(row["system"], row["task"], row["metric"]): row["value"] for row in found.rows}
    assert found.counts["train"]["phones"] > 20
    assert score["logmel", "phone", "accuracy"] > score["majority", "phone", "accuracy"] + 0.2
    assert score["logmel", "voice_activity", "balanced_accuracy"] > 0.85
    assert score["logmel", "speaker", "macro_recall"] > score["majority", "speaker", "macro_recall"] == 0.5


def test_what_is_no_finished_run_is_not_probed(settings: CompareRecipe, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the directory of a finished run"):
        compare.probe_run(settings, corpus, tmp_path / "probed")
