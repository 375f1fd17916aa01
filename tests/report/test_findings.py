from dataclasses import replace

import pytest

from ssl_tt.objectives.config import CPCConfig
from ssl_tt.report.findings import findings
from ssl_tt.training.config import HeadTraining
from tests.report import made_up


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return made_up.comparison(tmp_path_factory.mktemp("runs"))


def with_difference(comparison, other, value, half):
    return replace(
        comparison,
        differences=[made_up.difference("shift_hold", "balanced_accuracy", "cpc", other, value, half)],
    )


@pytest.mark.parametrize(
    ("other", "value", "half", "said"),
    [
        ("random", 0.05, 0.03, ": 0.050 [0.020, 0.080] above the random encoder."),
        ("random", -0.05, 0.03, ": 0.050 [0.020, 0.080] below the random encoder."),
        ("random", 0.02, 0.03, ": not distinguishable from the random encoder (+0.020 [-0.010, +0.050])."),
        ("random", -0.02, 0.03, ": not distinguishable from the random encoder (-0.020 [-0.050, +0.010])."),
        ("vqvae", 0.05, 0.03, "For shift or hold, CPC encoder lies 0.050 [0.020, 0.080] above VQ-VAE encoder."),
        ("vqvae", -0.05, 0.03, "For shift or hold, CPC encoder lies 0.050 [0.020, 0.080] below VQ-VAE encoder."),
        (
            "vqvae",
            0.01,
            0.03,
            "For shift or hold, CPC encoder and VQ-VAE encoder are not distinguishable (+0.010 [-0.020, +0.040]).",
        ),
    ],
)
def test_a_finding_says_of_a_difference_what_its_interval_allows(comparison, other, value, half, said):
    sentences = findings(with_difference(comparison, other, value, half))
    assert sum(sentence.endswith(said) for sentence in sentences) == 1


def test_baselines_of_one_verdict_are_named_together(comparison):
    differences = [
        made_up.difference("shift_hold", "balanced_accuracy", "cpc", other, value, 0.03, other_representation)
        for other, value, other_representation in (
            ("random", 0.01, "encoder"),
            ("majority", 0.2, "none"),
            ("activity_history", 0.1, "activity_history"),
            ("logmel", -0.01, "logmel"),
        )
    ]
    assert findings(replace(comparison, differences=differences))[0].endswith(
        ": 0.100 [0.070, 0.130] above voice-activity history and not distinguishable from the random encoder "
        "(+0.010 [-0.020, +0.040]) or log-mel (-0.010 [-0.040, +0.020])."
    )


@pytest.mark.parametrize(("value", "half", "at_chance"), [(0.6, 0.05, False), (0.52, 0.03, True), (0.48, 0.03, True)])
def test_a_score_whose_interval_holds_chance_is_said_to_be_at_chance(comparison, value, half, at_chance):
    rows = [made_up.row("shift_hold", "balanced_accuracy", name, "encoder", value, half) for name in ("cpc", "vqvae")]
    sentences = findings(replace(comparison, rows=rows, differences=[]))
    assert sentences[0].startswith(f"CPC's frozen encoder tells shift from hold at {value:.3f} [")
    assert ("not distinguishable from chance (0.5)" in sentences[0]) is at_chance


def test_where_chance_depends_on_the_data_the_majority_is_named(comparison):
    rows = [made_up.row("phone", "accuracy", name, "encoder", 0.4, 0.02) for name in ("cpc", "vqvae")]
    differences = [made_up.difference("phone", "accuracy", "cpc", "majority", 0.3, 0.02, "none")]
    assert findings(replace(comparison, rows=rows, differences=differences))[0] == (
        "CPC's frozen encoder tells phones apart at 0.400 [0.380, 0.420] accuracy: 0.300 [0.280, 0.320] above the "
        "majority."
    )


@pytest.mark.parametrize("n_heads", [1, 2])
def test_the_highest_head_stands_against_from_scratch_and_a_line(comparison, n_heads):
    recipe = comparison.recipe.model_copy(
        update={"heads": {"deep": HeadTraining(), "shallow": HeadTraining()}, "objectives": {"cpc": CPCConfig()}}
    )
    scores = {"encoder": 0.53, "deep": 0.56, "shallow": 0.55}
    names = ["encoder", "deep", "shallow"][: 1 + n_heads]
    rows = [made_up.row("shift_hold", "balanced_accuracy", "cpc", name, scores[name], 0.02) for name in names]
    differences = [
        made_up.difference("shift_hold", "balanced_accuracy", "cpc", other, value, 0.03, against)
        | {"representation": "deep"}
        for other, value, against in (("scratch", 0.06, "deep"), ("cpc", 0.02, "encoder"), ("logmel", 0.1, "logmel"))
    ]
    which = "deep, the highest of 2 heads," if n_heads > 1 else "head deep"
    assert (
        f"For shift or hold, CPC's {which} reaches 0.560 [0.540, 0.580]: 0.060 [0.030, 0.090] above from scratch deep "
        "and not distinguishable from CPC encoder (+0.020 [-0.010, +0.050])."
    ) in findings(replace(comparison, recipe=recipe, rows=rows, differences=differences))


def test_the_objectives_own_output_speaks_for_it_and_not_its_best_representation(comparison):
    assert findings(comparison)[0].startswith("CPC's frozen encoder tells shift from hold at 0.712 ")
    assert "The highest score for shift or hold is that of CPC context: 0.731 [0.710, 0.752]." in findings(comparison)


def test_without_an_encoder_row_the_first_representation_speaks(comparison):
    rows = [row for row in comparison.rows if row["system"] != "cpc" or row["representation"] != "encoder"]
    assert findings(replace(comparison, rows=rows))[0].startswith(
        "CPC's frozen context tells shift from hold at 0.731 "
    )


def test_the_ceiling_is_stated_with_how_far_the_best_comes(comparison):
    sentence = next(sentence for sentence in findings(comparison) if "Bayes" in sentence)
    assert "0.852" in sentence
    assert "0.847" in sentence
    assert f"{100 * (0.731 - 0.5) / (0.847 - 0.5):.0f} % of the way" in sentence


def test_without_a_ceiling_none_is_claimed(comparison):
    assert not any("Bayes" in sentence for sentence in findings(replace(comparison, ceiling=None)))


def test_proxy_labels_are_named_with_the_score(comparison):
    sentences = findings(replace(comparison, labels={"voices": "proxy"}))
    scores = [sentence for sentence in sentences if "tells shift from hold" in sentence]
    assert len(scores) == 2
    assert all("balanced accuracy (proxy labels)" in sentence for sentence in scores)


def test_a_task_without_events_is_said_to_have_no_score(comparison):
    rows = [row | {"value": None, "low": None, "high": None} for row in comparison.rows]
    sentences = findings(replace(comparison, rows=rows, differences=[], ceiling=None))
    assert (
        sentences[0]
        == "CPC's frozen encoder has no score for shift or hold: the conversations scored hold too few events."
    )
    assert len(sentences) == 4
