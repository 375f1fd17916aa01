"""Two small variants on the corpus of the comparison's tests, and what is refused before anything is trained."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_tt import recipe
from ssl_tt.cli import main
from ssl_tt.errors import InputError
from ssl_tt.report.study import sentences, write_study
from ssl_tt.report.tables import study_terminal
from ssl_tt.training.compare import Comparison, compare
from ssl_tt.training.config import CompareRecipe, PretrainRecipe, StudyRecipe
from ssl_tt.training.study import Study, study
from tests.training.test_compare import RECIPE, write_corpus

VARIANTS = """
[variants.one-stack]
[variants.two-stacks]
seeds = [1]
encoder.channels = 6
encoder.stacks = [{ kernel = 3, dilations = [1, 3] }, { kernel = 3, dilations = [1, 1] }]
[questions.stacks]
asks = "One stack or several?"
variants = ["one-stack", "two-stacks"]
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def write(corpus: Path, variants: str = VARIANTS) -> Path:
    # One objective is enough here.
    tables = RECIPE.replace('[objectives.vqvae]\nkind = "vqvae"\ncodes = 8\ncode_channels = 4\n', "")
    path = corpus / "study.toml"
    path.write_text(tables.replace("CORPUS", str(corpus)) + variants)
    return path


def load(corpus: Path, variants: str = VARIANTS, *options: str) -> StudyRecipe:
    return recipe.load(write(corpus, variants), StudyRecipe, options)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "out"


@pytest.fixture(scope="module")
def found(corpus: Path, out: Path) -> Study:
    return study(load(corpus), out, quiet=True)


def rows_of(found: Study, variant: str, system: str, task: str = "shift_hold") -> dict[str, dict[str, Any]]:
    rows = [row for row in found.answers["stacks"] if (row["variant"], row["system"]) == (variant, system)]
    return {row["metric"]: row for row in rows if row["task"] == task and row["representation"] == "encoder"}


def test_a_variant_is_the_recipe_but_for_its_changes(corpus: Path) -> None:
    loaded = load(corpus)
    same, other = loaded.variant("one-stack"), loaded.variant("two-stacks")
    shared = {name: getattr(loaded, name) for name in CompareRecipe.model_fields}
    assert same == CompareRecipe.model_construct(**shared)
    changed = {
        "seeds": (1,),
        "encoder": same.encoder.model_copy(update={"channels": 6, "stacks": other.encoder.stacks}),
    }
    assert other == same.model_copy(update=changed)
    assert [stack.block_dilations for stack in other.encoder.stacks] == [(1, 3), (1, 1)]


def test_options_change_every_variant_that_does_not_say_otherwise(corpus: Path) -> None:
    loaded = load(corpus, VARIANTS, "--training.steps", "7", "--seeds", "5")
    assert loaded.variant("one-stack").training.steps == loaded.variant("two-stacks").training.steps == 7
    assert (loaded.variant("one-stack").seeds, loaded.variant("two-stacks").seeds) == ((5,), (1,))


def test_another_kind_replaces_the_table_it_stands_in(corpus: Path) -> None:
    changes = VARIANTS.replace("encoder.channels = 6", 'encoder.frontend = { kind = "waveform", channels = 4 }')
    assert load(corpus, changes).variant("two-stacks").encoder.frontend.model_dump()["channels"] == 4


def test_answers_are_those_of_each_comparison_by_itself(found: Study, out: Path, corpus: Path, tmp_path: Path) -> None:
    alone: Comparison = compare(load(corpus).variant("two-stacks"), tmp_path / "alone", quiet=True)
    for row in alone.rows:
        if row["system"] in ("cpc", "random") and row["representation"] == "encoder":
            same = rows_of(found, "two-stacks", row["system"], row["task"])[row["metric"]]
            keys = ("value", "low", "high", "n_events", "n_seeds")
            assert [same[key] for key in keys] == [row[key] for key in keys]
    assert json.loads((out / "study.json").read_text())["answers"] == found.answers


def test_differences_are_paired_under_the_seeds_that_both_have(found: Study) -> None:
    for system in ("cpc", "random"):
        for metric, row in rows_of(found, "two-stacks", system).items():
            of = {
                variant: [each.scores.values["shift_hold"][metric] for each in comparison.found[system, "encoder"]]
                for variant, comparison in found.comparisons.items()
            }
            assert [len(of["one-stack"]), len(of["two-stacks"])] == [2, 1]
            draws = of["two-stacks"][0] - of["one-stack"][1]  # seed 1 of both
            assert row["difference"] == pytest.approx(draws[0])
            low, high = np.nanquantile(draws[1:], [0.025, 0.975])
            assert (row["difference_low"], row["difference_high"]) == pytest.approx((low, high))
        assert all(row["difference"] is None for row in rows_of(found, "one-stack", system).values())


def test_a_second_call_trains_and_probes_nothing(found: Study, out: Path, corpus: Path) -> None:
    runs = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert runs
    again = study(load(corpus), out, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == runs
    scores = [[{**row, "cost": None} for row in each.answers["stacks"]] for each in (found, again)]
    assert scores[0] == scores[1]


def test_the_report_answers_each_question_in_words_a_picture_and_tables(found: Study, out: Path) -> None:
    page = write_study(found, out).read_text()
    for said in (
        "One stack or several?",
        "one-stack",
        "two-stacks",
        "<svg",
        "MMAC/s",
        *sentences(found.answers["stacks"]),
    ):
        assert said in page
    assert (out / "stacks.png").stat().st_size > 5000
    assert (out / "two-stacks" / "report.html").exists()
    assert "One stack or several?" in study_terminal(found)


def test_a_sentence_says_no_more_than_its_interval(found: Study) -> None:
    def sentence(low: float, high: float) -> str:
        row = rows_of(found, "two-stacks", "cpc")["balanced_accuracy"]
        changed = row | {"difference": (low + high) / 2, "difference_low": low, "difference_high": high}
        (said,) = sentences([rows_of(found, "one-stack", "cpc")["balanced_accuracy"], changed])
        return said

    assert "two-stacks lies 0.030 [0.010, 0.050] above one-stack" in sentence(0.01, 0.05)
    assert "two-stacks lies 0.030 [0.010, 0.050] below one-stack" in sentence(-0.05, -0.01)
    assert "two-stacks and one-stack are not distinguishable (+0.010 [-0.030, +0.050])" in sentence(-0.03, 0.05)


def test_many_systems_share_a_sentence(found: Study) -> None:
    def row(variant: str, name: str, low: float, high: float) -> dict[str, Any]:
        ends = {"difference": (low + high) / 2, "difference_low": low, "difference_high": high}
        return rows_of(found, variant, "cpc")["balanced_accuracy"] | {"representation": name} | ends

    first = rows_of(found, "one-stack", "cpc")["balanced_accuracy"]
    moved = [row("two-stacks", "a", 0.01, 0.05), row("two-stacks", "b", -0.05, -0.01)]
    (sentence,) = sentences([first, *moved, *(row("two-stacks", name, -0.01, 0.01) for name in "cd")])
    assert sentence == (
        "Shift or hold, balanced accuracy: two-stacks is above one-stack with CPC a (0.030 [0.010, 0.050]); below "
        "one-stack with CPC b (0.030 [0.010, 0.050]); not distinguishable with 2 others."
    )
    (sentence,) = sentences([first, *(row("two-stacks", name, -0.01, 0.01) for name in "abc")])
    assert sentence.endswith("two-stacks is not distinguishable with any.")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "encoder.channels = 6",
            "encoder.chanels = 6",
            "variants.two-stacks: unknown key encoder.chanels; did you mean",
        ),
        ("encoder.channels = 6", "encoder.channels = 0", "variants.two-stacks: encoder.channels: given 0, expected"),
        ('"one-stack", "two-stacks"]', '"one-stack", "to-stacks"]', "questions.stacks asks for variant 'to-stacks'"),
        ("[variants.one-stack]", "[variants.one-stack]\n[variants.idle]", "no question asks for variant 'idle'"),
        ("seeds = [1]", 'data.probe = ["elsewhere"]', "variants.two-stacks: data.probe is not that of one-stack"),
        ("seeds = [1]", 'probe.evaluate_on = "validation"', "probe.evaluate_on is not that of one-stack"),
    ],
)
def test_nonsense_is_refused_before_anything_is_trained(
    corpus: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        study(load(corpus, VARIANTS.replace(old, new)), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_other_verbs_say_that_a_study_is_not_theirs(corpus: Path) -> None:
    for model, says in ((PretrainRecipe, "this recipe is one for"), (CompareRecipe, "this recipe is a study")):
        with pytest.raises(InputError, match=says):
            recipe.load(write(corpus), model)


def test_field_shows_every_variant(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["field", str(write(corpus)), "--out", str(tmp_path / "fields.png")]) == 0
    shown = capsys.readouterr().out
    assert shown.index("one-stack\n") < shown.index("two-stacks\n")
    assert (tmp_path / "fields.png").stat().st_size > 2000


def test_a_run_that_two_variants_have_is_made_once(corpus: Path, tmp_path: Path) -> None:
    same = VARIANTS.replace("seeds = [1]\n", "").replace("encoder.channels = 6\n", "training.steps = 3\n")
    same = "\n".join(line for line in same.splitlines() if not line.startswith("encoder.stacks"))
    probed_otherwise = same.replace("training.steps = 3", "probe.pool_seconds = [0.2]")
    found = study(load(corpus, probed_otherwise), tmp_path / "out", quiet=True)
    first, other = (found.comparisons[name].runs for name in ("one-stack", "two-stacks"))
    assert first == other
    assert not (tmp_path / "out" / "two-stacks" / "runs").exists()
    trained_otherwise = study(load(corpus, same), tmp_path / "otherwise", quiet=True)
    first, other = (trained_otherwise.comparisons[name].runs for name in ("one-stack", "two-stacks"))
    assert first != other


# ----------------------------------------------------------------------------------------------------- along a field

SHARES = """
[variants.half]
data.labelled_share = 0.5
[variants.whole]
[variants.most]
data.labelled_share = 0.75
[questions.labels]
asks = "How many labels?"
variants = ["half", "whole", "most"]
along = "data.labelled_share"
"""
CUES = """
[simulate.dialogues]
hours = 0.06
conversation_seconds = 20.0
speakers = 24
test_share = 0.4
validation_share = 0.2
[variants.none]
simulate.dialogues.cue_strength = 0.0
[variants.whole]
simulate.dialogues.cue_strength = 1.0
[questions.cues]
asks = "How strong are the cues?"
variants = ["whole", "none"]
along = "simulate.dialogues.cue_strength"
"""


def load_cues(corpus: Path, variants: str = CUES) -> StudyRecipe:
    path = write(corpus, variants)
    path.write_text(path.read_text().replace(f"{corpus}/manifest.jsonl", "dialogues"))
    return recipe.load(path, StudyRecipe)


@pytest.fixture(scope="module")
def labels(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(load(corpus, SHARES), tmp_path_factory.mktemp("labels") / "out", quiet=True)


@pytest.fixture(scope="module")
def cues(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("cues")
    return study(load_cues(corpus), folder / "out", quiet=True, workdir=folder)


def test_where_variants_stand_is_the_value_in_each(corpus: Path) -> None:
    assert load(corpus, SHARES).along("labels") == {"half": 0.5, "whole": 1.0, "most": 0.75}
    assert load_cues(corpus).along("cues") == {"whole": 1.0, "none": 0.0}
    assert load(corpus).along("stacks") == {}


def test_shares_of_labels_stand_at_their_hours_and_are_paired(labels: Study) -> None:
    hours = {"half": 0.5 * 4 * 18 / 3600, "whole": 4 * 18 / 3600, "most": 0.75 * 4 * 18 / 3600}
    rows = labels.answers["labels"]
    assert {(row["variant"], round(row["at"], 5)) for row in rows} == {(k, round(v, 5)) for k, v in hours.items()}
    for name in hours:
        theirs = [{key: row[key] for key in labels.comparisons[name].rows[0]} for row in rows if row["variant"] == name]
        assert theirs == labels.comparisons[name].rows  # of baselines too
    for row in rows:
        assert (row["difference"] is None) == (row["variant"] == "half")
        if row["variant"] != "half" and (row["system"], row["metric"]) == ("majority", "balanced_accuracy"):
            assert row["difference"] == 0


def test_pretraining_is_shared_by_all_shares_of_labels(labels: Study) -> None:
    runs = [comparison.runs for comparison in labels.comparisons.values()]
    assert runs[0] == runs[1] == runs[2]


def test_other_sound_is_scored_side_by_side_and_not_paired(cues: Study) -> None:
    rows = cues.answers["cues"]
    assert all(row["difference"] is None for row in rows)
    assert {(row["variant"], row["at"]) for row in rows} == {("none", 0.0), ("whole", 1.0)}
    ceilings = {row["variant"]: row["ceiling"] for row in rows}
    assert ceilings == {name: each.ceiling["realised"] for name, each in cues.comparisons.items() if each.ceiling}
    assert ceilings["none"] == 0.5 < ceilings["whole"]


@pytest.mark.parametrize("name", ["labels", "cues"])
def test_the_page_shows_curves_tables_and_from_what_to_what(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found: Study = request.getfixturevalue(name)
    rows, question = found.answers[name], found.recipe.questions[name]
    page = write_study(found, tmp_path).read_text()
    said = sentences(rows, question.along)
    assert len(said) == 4  # encoder and context, two tasks
    scored = {
        row["variant"]: row
        for row in rows
        if (row["system"], row["representation"], row["metric"]) == ("cpc", "encoder", "balanced_accuracy")
    }
    first, last = scored["half" if name == "labels" else "none"], scored["whole"]
    start = f"Shift or hold, balanced accuracy of CPC encoder: from {first['value']:.3f} [{first['low']:.3f}, "
    assert said[0].startswith(start)
    assert f" to {last['value']:.3f} [{last['low']:.3f}, {last['high']:.3f}] along " in said[0]
    if name == "labels":
        assert said[0].endswith(f"; best possible {last['ceiling']:.3f}.")
        assert f"along hours of labelled dialogue 0.01 to 0.02, a difference of {last['difference']:+.3f}" in said[0]
        assert "no paired differences" not in page
    else:
        assert f"along cue strength 0 to 1; the best possible goes from 0.500 to {last['ceiling']:.3f}." in said[0]
        assert "no paired differences are made" in page
        assert "<td>best possible</td>" in page
    for words in (*said, "voice-activity history", "Columns: "):
        assert words in page
    assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert question.asks in study_terminal(found)


@pytest.mark.parametrize(
    ("along", "most", "says"),
    [
        ("data.labeled_share", 0.75, "no field of variant half; did you mean 'data.labelled_share'?"),
        ("name", 0.75, "along 'name': \"tiny\" in variant half, expected a number"),
        ("training.swap_channels", 0.75, "true in variant half, expected a number"),
        ("data.labelled_share", 1.0, "1 in whole and in most, expected another number in each variant"),
        ("data.labelled_share", 1.5, "variants.most: data.labelled_share: given 1.5, expected"),
    ],
)
def test_what_no_question_can_go_along_is_refused_before_anything_is_trained(
    corpus: Path, tmp_path: Path, along: str, most: float, says: str
) -> None:
    variants = SHARES.replace('along = "data.labelled_share', f'along = "{along}').replace("0.75", str(most))
    with pytest.raises(InputError, match=re.escape(says)):
        study(load(corpus, variants), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_other_conversations_are_still_refused_where_no_field_is_gone_along(corpus: Path, tmp_path: Path) -> None:
    beside = CUES.replace('along = "simulate.dialogues.cue_strength"', "")
    with pytest.raises(InputError, match=re.escape("simulate.dialogues is not that of whole")):
        study(load_cues(corpus, beside), tmp_path / "out", quiet=True)
