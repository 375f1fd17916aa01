"""Heads beside the probes of a comparison, on the dialogues of `test_compare`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ssl_tt
from ssl_tt import cli
from ssl_tt.data.conversation import Conversation
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.training import compare, corpora, grid, probe, systems
from ssl_tt.training.compare import Comparison
from ssl_tt.training.config import CompareRecipe, FinetuneRecipe
from ssl_tt.training.cost import NO_COST
from ssl_tt.training.event_tasks import EVENT_TASKS
from ssl_tt.training.feature_windows import FeatureCache
from ssl_tt.training.head_run import finetune
from ssl_tt.training.questions import Asked, ask
from ssl_tt.turns import metrics, vap
from ssl_tt.turns.activity import activity
from ssl_tt.turns.config import ActivityTargetConfig, FutureTargetConfig, TargetConfig, VAPTargetConfig
from tests.training.test_compare import load, write_corpus
from tests.training.test_event_tasks import dialogue as talk

SMALL = (
    "window_seconds=9.0, batch_windows=2, steps=4, validate_every_steps=2, validation_windows=2, held_out_share=0.25"
)
OPTIONS = (
    *("--seeds", "0", "--probe.baselines", "majority", "random", "--probe.representations", "encoder"),
    *("--heads.fc", f"{{head={{kind='fc', channels=8}}, {SMALL}}}"),
    *("--heads.rnn-tuned", f"{{mode='finetune', head={{kind='rnn', channels=4}}, {SMALL}}}"),
    *("--heads.fc-scratch", f"{{mode='scratch', head={{kind='fc', channels=8}}, {SMALL}}}"),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> CompareRecipe:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return load(folder, *OPTIONS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared") / "out"


@pytest.fixture(scope="module")
def comparison(settings: CompareRecipe, out: Path) -> Comparison:
    return compare.compare(settings, out, quiet=True)


def test_every_head_has_a_row_on_every_encoder_it_is_for(comparison: Comparison) -> None:
    rows = {
        (row["system"], row["representation"]): row
        for row in comparison.rows
        if row["task"] == "shift_hold" and row["metric"] == "balanced_accuracy"
    }
    assert list(rows) == [
        ("majority", "none"),
        *(("random", name) for name in ("encoder", "fc")),
        *((name, each) for name in ("cpc", "vqvae") for each in ("encoder", "fc", "rnn-tuned")),
        ("scratch", "fc-scratch"),
    ]
    assert rows["cpc", "fc"]["cost"]["head_parameters"] == 2 * 8 + (16 + 1) * 8 + (8 + 1)
    assert rows["cpc", "encoder"]["cost"]["head_parameters"] == 0
    assert rows["cpc", "fc"]["n_events"] == rows["cpc", "encoder"]["n_events"]


def test_a_head_is_not_asked_what_its_target_does_not_tell(comparison: Comparison) -> None:
    asked = {row["representation"] for row in comparison.rows if row["task"] == "future_activity"}
    assert asked == {"none", "encoder"}


def test_heads_are_set_against_the_line_and_the_same_head_from_scratch(comparison: Comparison) -> None:
    found = {
        (row["system"], row["representation"], row["other"], row["other_representation"])
        for row in comparison.differences
        if row["task"] == "shift_hold"
    }
    assert {
        ("cpc", "fc", "random", "fc"),
        ("cpc", "fc", "cpc", "encoder"),
        ("cpc", "fc", "scratch", "fc-scratch"),
        ("cpc", "rnn-tuned", "vqvae", "rnn-tuned"),
    } <= found


def test_what_was_trained_and_scored_is_taken_as_it_is(
    comparison: Comparison, settings: CompareRecipe, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list((out / "features").iterdir())
    monkeypatch.setattr(grid, "train_head", None)
    again = compare.compare(settings, out, quiet=True)
    assert [row | {"cost": None} for row in again.rows] == [row | {"cost": None} for row in comparison.rows]


def test_a_head_by_the_name_of_a_representation_is_refused(settings: CompareRecipe) -> None:
    clash = settings.model_copy(update={"heads": {"encoder": settings.heads["fc"]}})
    with pytest.raises(InputError, match=r"heads\.encoder: the name of a representation"):
        systems.check_representations(clash)


@pytest.fixture(scope="module")
def asked(settings: CompareRecipe) -> tuple[Asked, Asked]:
    return compare._asked(settings, corpora.conversations(settings)[1], {})


@pytest.fixture
def start(settings: CompareRecipe) -> grid.Start:
    torch.manual_seed(0)
    return grid.Start("random", 0, Encoder(settings.encoder).eval(), None, NO_COST, {"fc": settings.heads["fc"]})


def test_no_answer_depends_on_the_truth_about_what_is_scored(
    settings: CompareRecipe, asked: tuple[Asked, Asked], start: grid.Start, tmp_path: Path
) -> None:
    train, test = asked
    turned = [
        replace(
            question,
            events={
                "shift_hold": [
                    replace(event, kind="hold" if event.kind == "shift" else "shift", speaker=1 - event.speaker)
                    for event in question.events["shift_hold"]
                ]
            },
            future=~question.future,
        )
        for question in test.questions
    ]
    said = []
    for number, questions in enumerate((test, Asked(turned))):
        out = tmp_path / f"{number}"
        found = grid.answers(start, "fc", settings, train, questions, out, cache(start, out), quiet=True)
        said.append(found.events["shift_hold"].score)
    assert np.array_equal(said[0], said[1])
    assert not np.array_equal(*(each.rows("shift_hold").truth for each in (test, Asked(turned))))


class Seer(FeatureCache):
    """Features that tell who speaks next after each frame, for each speaker: the other, or himself."""

    def features(self, conversation: Conversation) -> NDArray[np.float32]:
        spoken = activity(conversation, self.encoder.frame_rate_hz)
        later = [np.append(np.flatnonzero(channel), len(spoken)) for channel in spoken.T]
        now = np.arange(len(spoken))
        first = np.stack([channel[np.searchsorted(channel, now)] for channel in later])  # [S, T]
        found = np.zeros((2, len(spoken), self.encoder.output_channels), dtype=np.float32)
        found[..., 0], found[..., 1] = first < first[::-1], first > first[::-1]
        return found


def cache(start: grid.Start, out: Path) -> FeatureCache:
    return FeatureCache(out / "features", start.encoder)


def test_a_head_that_is_given_the_future_is_always_right(
    settings: CompareRecipe, asked: tuple[Asked, Asked], start: grid.Start, tmp_path: Path
) -> None:
    train, test = asked
    longer = {"steps": 60, "validate_every_steps": 20, "learning_rate": 0.02, "patience": 0}
    start = replace(start, heads={"fc": settings.heads["fc"].model_copy(update=longer)})
    seer = Seer(tmp_path / "features", start.encoder)
    said = grid.answers(start, "fc", settings, train, test, tmp_path, seer, quiet=True)
    scores = probe.score(said, test, metrics.draws(len(test.questions), 100))
    assert scores.values["shift_hold"]["balanced_accuracy"][0] == 1.0


class Prophet(FeatureCache):
    """Features that tell which of the next bins each speaker will fill."""

    def features(self, conversation: Conversation) -> NDArray[np.float32]:
        spoken = torch.from_numpy(activity(conversation, self.encoder.frame_rate_hz))[None]
        bins = vap.vap_bins(torch.nn.functional.pad(spoken, (0, 0, 0, 200)), self.encoder.frame_rate_hz)[0]
        found = np.zeros((2, spoken.shape[1], self.encoder.output_channels), dtype=np.float32)
        found[..., :4] = bins[:, : spoken.shape[1]]
        return found


@pytest.mark.parametrize(
    "target",
    [VAPTargetConfig(form="independent"), VAPTargetConfig(form="comparative"), VAPTargetConfig(), FutureTargetConfig()],
    ids=["independent", "comparative", "discrete", "future"],
)
def test_a_head_that_foresees_every_frame_tells_shifts_without_having_been_asked_about_them(
    target: TargetConfig, settings: CompareRecipe, asked: tuple[Asked, Asked], start: grid.Start, tmp_path: Path
) -> None:
    train, test = asked
    change = {"target": target, "steps": 80, "validate_every_steps": 40, "learning_rate": 0.02, "patience": 0}
    start = replace(start, heads={"fc": settings.heads["fc"].model_copy(update=change)})
    prophet = Prophet(tmp_path / "features", start.encoder)
    said = grid.answers(start, "fc", settings, train, test, tmp_path, prophet, quiet=True)
    scores = probe.score(said, test, metrics.draws(len(test.questions), 100)).values
    assert scores["shift_hold"]["roc_auc"][0] > 0.97
    assert said.regularisation.keys() == {"shift_hold"}, "no threshold was chosen"
    if isinstance(target, FutureTargetConfig):
        assert scores["future_activity"]["roc_auc"][0] > 0.8
    else:
        assert "future_activity" not in scores


def test_a_head_that_foresees_every_frame_foretells_shifts_and_tells_short_from_long(
    settings: CompareRecipe, start: grid.Start, tmp_path: Path
) -> None:
    config = settings.probe.model_copy(update={"tasks": EVENT_TASKS})
    recipe, rate = settings.model_copy(update={"probe": config}), start.encoder.frame_rate_hz
    talks = [replace(talk(number), audio=Path("never-read.wav"), sample_rate_hz=16_000) for number in range(8)]
    train, test = (Asked([ask(each, rate, config) for each in part]) for part in (talks[:4], talks[4:]))
    change = {"target": VAPTargetConfig(), "steps": 80, "validate_every_steps": 40, "learning_rate": 0.02}
    start = replace(start, heads={"fc": settings.heads["fc"].model_copy(update=change)})
    prophet = Prophet(tmp_path / "features", start.encoder)
    said = grid.answers(start, "fc", recipe, train, test, tmp_path, prophet, quiet=True)
    scores = probe.score(said, test, metrics.draws(len(test.questions), 100)).values
    assert said.regularisation.keys() == set(EVENT_TASKS)
    for task in EVENT_TASKS:
        assert scores[task]["roc_auc"][0] > 0.9, task


def test_a_head_that_says_who_speaks_now_answers_nothing_about_what_comes(
    settings: CompareRecipe, asked: tuple[Asked, Asked], start: grid.Start, tmp_path: Path
) -> None:
    heads = {"fc": settings.heads["fc"].model_copy(update={"target": ActivityTargetConfig()})}
    said = grid.answers(
        replace(start, heads=heads), "fc", settings, *asked, tmp_path, cache(start, tmp_path), quiet=True
    )
    assert (said.events, said.future, said.stretch) == ({}, None, None)


def test_a_run_directory_of_a_head_tells_what_it_is(comparison: Comparison, out: Path) -> None:
    run = out / "heads" / "cpc-seed0-rnn-tuned"
    cost: dict[str, Any] = json.loads((run / "cost.json").read_text())
    assert cost["head_parameters"] > 0
    assert {"recipe.toml", "environment.json", "metrics.jsonl", "checkpoints"} <= {p.name for p in run.iterdir()}


def test_one_head_is_trained_and_scored_from_the_command_line(
    comparison: Comparison, settings: CompareRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "head.toml"
    path.write_text(
        f'''
name = "head"
[data]
pretrain = ["{settings.data.pretrain[0]}"]
[training]
head = {{ kind = "rnn", channels = 4 }}
{SMALL.replace(", ", chr(10))}
'''
    )
    run = comparison.runs["cpc"][0]
    command = ["finetune", str(path), "--out", str(tmp_path / "out"), "--run", str(run), "--training.mode", "finetune"]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert f"shift_hold balanced_accuracy: {scores['shift_hold']['balanced_accuracy']['value']:.3f}" in printed
    assert ssl_tt.load_turn_taking(tmp_path / "out").encoder.config == settings.encoder
    assert cli.main([*command, "--encoder.channels", "9"]) == 2
    assert "its encoder is another than the recipe's" in capsys.readouterr().err
    assert cli.main([*command[:4], "--training.mode", "finetune"]) == 2
    assert "without a run" in capsys.readouterr().err


def test_an_untrained_encoder_has_the_statistics_of_its_training_corpus(
    settings: CompareRecipe, tmp_path: Path
) -> None:
    training = settings.heads["fc-scratch"]
    recipe = FinetuneRecipe(name="head", data=settings.data, encoder=settings.encoder, training=training)
    finetune(recipe, tmp_path / "out", quiet=True)
    assert not torch.equal(ssl_tt.load_turn_taking(tmp_path / "out").encoder.log_mel.mean, torch.zeros(10))
