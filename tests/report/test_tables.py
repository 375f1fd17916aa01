from dataclasses import replace

import pytest

from ssl_tt.report.tables import (
    Table,
    all_metrics_table,
    cost_table,
    difference_table,
    markdown_table,
    score_table,
    silence_table,
    terminal,
    verdict,
)
from tests.report import made_up


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return made_up.comparison(tmp_path_factory.mktemp("runs"))


def test_numbers_stand_to_the_right_and_words_to_the_left():
    table = Table(("system", "n"), [("log-mel", "7"), ("CPC", "1,304")], best=frozenset({1}))
    assert table.plain().splitlines() == [
        "  system       n",
        "  ───────  ─────",
        "  log-mel      7",
        "* CPC      1,304",
    ]


def test_markdown_sets_off_the_best_and_escapes_what_would_break_a_row():
    table = Table(("system", "n"), [("a|b*", "7"), ("CPC", "")], best=frozenset({1}))
    assert table.markdown().splitlines() == ["| system | n |", "| :-- | --: |", "| a\\|b\\* | 7 |", "| **CPC** |  |"]


def test_every_system_of_a_task_has_a_line_with_score_interval_and_numbers(comparison):
    table = score_table(comparison.rows, "shift_hold")
    assert len(table.rows) == len(made_up.SHIFT_HOLD)
    assert table.rows[4] == ("CPC encoder", "0.712", "[0.690, 0.734]", "1,304", "48", "3")
    assert [table.rows[i][0] for i in table.best] == ["CPC context"]


def test_a_score_that_is_not_defined_is_a_dash_and_never_the_best(comparison):
    undefined = {"value": None, "low": None, "high": None}
    rows = [row | undefined for row in comparison.rows]
    table = score_table(rows, "shift_hold")
    assert {row[1:3] for row in table.rows} == {("—", "")}
    assert not table.best


def test_all_metrics_of_a_task_stand_side_by_side(comparison):
    table = all_metrics_table(comparison.rows, "shift_hold")
    assert table.header == ("system", "balanced accuracy", "weighted F1")
    assert ("CPC context", "0.731", "0.711") in table.rows


def test_silences_have_a_column_for_each_length_that_has_events(comparison):
    table = silence_table(comparison.silences)
    assert table.header == ("system", "0.25 to 0.5 s (700)", "from 0.5 s (604)")
    lines = {line[0]: line[1:] for line in table.rows}
    assert lines["CPC encoder"] == ("0.692 [0.670, 0.714]", "0.742 [0.720, 0.764]")
    assert len(lines) == len(comparison.silences) / 3


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.05, "above"),
        (-0.05, -0.01, "below"),
        (-0.01, 0.05, "not distinguishable"),
        (0.0, 0.05, "not distinguishable"),
        (-0.05, 0.0, "not distinguishable"),
        (None, None, "not defined"),
    ],
)
def test_a_verdict_says_no_more_than_the_interval(low, high, said):
    value = None if low is None else (low + high) / 2
    assert verdict({"value": value, "low": low, "high": high}) == said


def test_differences_are_signed_and_of_the_headline_metric_alone(comparison):
    other_metric = made_up.difference("shift_hold", "weighted_f1", "cpc", "logmel", 0.5, 0.01)
    table = difference_table([*comparison.differences, other_metric], "shift_hold")
    assert len(table.rows) == len(comparison.differences)
    assert ("VQ-VAE encoder", "log-mel", "not distinguishable", "+0.009", "[-0.015, +0.033]") in table.rows


def test_the_cost_table_has_a_line_for_every_system_and_a_dash_for_what_has_no_cost(comparison):
    rows = {row[0]: row[1:] for row in cost_table(comparison.rows).rows}
    assert len(rows) == len(made_up.SHIFT_HOLD)
    assert rows["CPC encoder"] == ("412,672", "21.4", "6.20", "611", "835", "0")
    assert rows["log-mel"] == ("0", "—", "—", "—", "—", "—")


def test_the_terminal_shows_every_table_within_100_columns(comparison):
    text = terminal(comparison)
    assert max(map(len, text.splitlines())) <= 100
    for table in (
        cost_table(comparison.rows),
        difference_table(comparison.differences, "shift_hold"),
        score_table(comparison.rows, "shift_hold"),
        score_table(comparison.rows, "future_activity"),
    ):
        assert table.plain() in text


def test_proxy_labels_are_named_wherever_a_score_is_printed(comparison):
    doubtful = replace(comparison, labels={"voices": "proxy"})
    titles = [line for line in terminal(doubtful).splitlines() if "Shift or hold" in line]
    assert len(titles) == 2
    assert all("(proxy labels)" in title for title in titles)
    assert "Shift or hold (proxy labels): balanced accuracy\n" in markdown_table(doubtful.rows, doubtful.labels)
