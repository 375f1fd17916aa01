import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.encoder.receptive_field import receptive_field
from ssl_tt.errors import InputError
from ssl_tt.report import figures
from ssl_tt.report.names import FAMILY_COLOURS
from tests.report import made_up

TWO_STACKS = EncoderConfig(stacks=(StackConfig(), StackConfig(kernel=2, dilations=(2, 8, 16))))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return made_up.comparison(tmp_path_factory.mktemp("runs"))


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def test_every_row_has_its_name_its_score_and_its_interval(comparison):
    rows = [row for row in comparison.rows if row["metric"] == "balanced_accuracy"]
    figure = figures.scores(rows, "balanced_accuracy", chance=0.5, ceiling=0.847)
    lines = [tuple(line.get_xdata()) for line in figure.axes[0].lines]
    for row in rows:
        assert (row["low"], row["high"]) in lines
        assert (row["value"],) in lines
    assert {"CPC context", "log-mel", "chance 0.50", "ceiling 0.85"} <= set(texts(figure))


def test_what_is_kept_has_a_panel_a_task_and_a_colour_a_family(comparison):
    rows = [row for row in comparison.rows if row["representation"] != "context"]
    panels = [("shift_hold", "balanced_accuracy"), ("future_activity", "roc_auc")]
    figure = figures.kept(rows, panels, {"cpc": "contrast", "vqvae": "reconstruction"}, {"calls": "detected"})
    for axes, (task, metric) in zip(figure.axes, panels, strict=True):
        drawn = {tuple(line.get_xdata()): line.get_color() for line in axes.lines}
        for row in rows:
            if (row["task"], row["metric"]) == (task, metric):
                assert {(row["low"], row["high"]), (row["value"],)} <= drawn.keys()
        (cpc,) = (row for row in rows if (row["system"], row["task"], row["metric"]) == ("cpc", task, metric))
        assert drawn[cpc["value"],] == FAMILY_COLOURS["contrast"]
    assert "Shift or hold (detected labels)" in texts(figure)
    assert {"contrast", "reconstruction", "baseline", "CPC", "log-mel", "Future activity"} <= set(texts(figure))


@pytest.mark.parametrize(("variants", "down"), [(("a", "b"), 3), (("a", "b", "c", "d"), 4)])
def test_an_answer_has_a_row_for_each_of_what_there_is_more_of_and_a_colour_for_the_others(variants, down):
    systems = [("random", "encoder"), ("cpc", "encoder"), ("vqvae", "codes")]
    rows = [
        {"variant": variant, "system": system, "representation": part, "task": "speaker", "metric": "macro_recall"}
        | {"value": 0.1 * i + 0.01 * j, "low": 0.1 * i, "high": 0.1 * i + 0.02 * j + 0.001}
        | {"cost": {"parameters": 1000, "macs_per_second_of_audio": 1e6}}
        for i, variant in enumerate(variants)
        for j, (system, part) in enumerate(systems)
    ]
    figure = figures.answers(rows, [("speaker", "macro_recall")])
    axes = figure.axes[0]
    assert len(axes.get_yticks()) == down
    dots = {round(line.get_xdata()[0], 6): line for line in axes.lines if line.get_marker() == "o"}
    shades, places = {}, {}
    for row in rows:
        dot = dots[round(row["value"], 6)]
        group, place = (row["variant"], row["system"]) if down == 3 else (row["system"], row["variant"])
        shades.setdefault(group, set()).add(dot.get_color())
        places.setdefault(place, set()).add(round(dot.get_ydata()[0]))
    assert all(len(each) == 1 for each in (*shades.values(), *places.values()))
    assert len(set.union(*shades.values())) == len(shades)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == (
        list(variants) if down == 3 else ["random encoder", "CPC encoder", "VQ-VAE codes"]
    )


def along_rows(places, ceiling=True):
    """Answers at places: scores rise by system and place, all in halves of a percent."""
    systems = ("majority", "none"), ("random", "encoder"), ("cpc", "encoder"), ("cpc", "rnn-1"), ("scratch", "rnn-1")
    return [
        made_up.row("shift_hold", "balanced_accuracy", system, part, 0.5 + 0.05 * i + 0.005 * j, 0.02)
        | {"variant": f"v{place}", "at": place, "ceiling": 0.9 + 0.01 * j if ceiling else None}
        for j, place in enumerate(places)
        for i, (system, part) in enumerate(systems)
    ]


@pytest.mark.parametrize(
    ("places", "scale"), [((0.0, 0.5, 1.0), "linear"), ((2.5, 0.02, 0.2), "log"), ((1, 19), "linear")]
)
def test_a_curve_along_a_number_goes_through_every_score_of_a_system(places, scale):
    rows = along_rows(places)
    axes = figures.along(rows, [("shift_hold", "balanced_accuracy")], "hours").axes[0]
    curves = {line.get_label(): line for line in axes.lines}
    names = {"majority", "random encoder", "CPC encoder", "CPC rnn-1", "from scratch rnn-1", "best possible"}
    assert set(curves) == names
    for name, system, part in (("CPC rnn-1", "cpc", "rnn-1"), ("random encoder", "random", "encoder")):
        known = sorted((r["at"], r["value"]) for r in rows if (r["system"], r["representation"]) == (system, part))
        assert list(zip(*curves[name].get_data(), strict=True)) == known
    assert list(curves["best possible"].get_xdata()) == sorted(places)
    assert sorted(curves["best possible"].get_ydata()) == [0.9 + 0.01 * j for j in range(len(places))]
    assert axes.get_xscale() == scale
    assert list(axes.get_xticks()) == sorted(places)
    low, high = axes.get_xlim()
    assert low < min(places) <= max(places) < high
    assert axes.get_ylim()[0] < 0.48
    bars = [path.vertices for bar in axes.collections for path in bar.get_paths()]
    assert sorted(bar.tolist() for bar in bars) == sorted([[r["at"], r["low"]], [r["at"], r["high"]]] for r in rows)


def test_curves_of_what_nothing_was_pretrained_for_are_grey_and_no_two_look_alike():
    axes = figures.along(along_rows((1, 2)), [("shift_hold", "balanced_accuracy")], "hours").axes[0]
    look = {line.get_label(): (line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    grey = {name for name, (colour, *_) in look.items() if colour == figures.FAMILY_COLOURS["baseline"]}
    assert grey == {"majority", "random encoder", "from scratch rnn-1"}
    assert look["CPC encoder"][0] == look["CPC rnn-1"][0]
    assert len(set(look.values())) == len(look)


def test_without_a_known_ceiling_none_is_drawn():
    figure = figures.along(along_rows((1, 2), ceiling=False), [("shift_hold", "balanced_accuracy")], "hours")
    assert "best possible" not in texts(figure)


@pytest.mark.parametrize(("codes", "expected"), [(np.arange(64), 64), (np.zeros((2, 9), int), 1), ([0, 0, 1, 1], 2)])
def test_perplexity_is_the_number_of_codes_used_alike(codes, expected):
    assert figures.perplexity(np.array(codes)) == pytest.approx(expected)


def test_code_use_names_codes_used_and_perplexity():
    assert "VQ-VAE: 4 of 16 codes, perplexity 4" in texts(figures.code_use(np.arange(400) % 4, 16, "vqvae"))
    assert "VQ-VAE-2 top: 4 of 16 codes, perplexity 4" in texts(
        figures.code_use(np.arange(40) % 4, 16, "vqvae2", "top")
    )


def test_the_field_shows_exactly_the_reached_frames():
    figure = figures.field(TWO_STACKS)
    field = receptive_field(TWO_STACKS)
    drawn = [
        [path.get_extents().intervalx for path in bars.get_paths()]
        for bars in figure.axes[0].collections
        if isinstance(bars, mpl.collections.PolyCollection)
    ]
    for lane, reached in zip(drawn, (*field.stack_reached, field.reached), strict=True):
        frames = [frame for first, stop in lane for frame in range(round(first + 0.5), round(stop + 0.5))]
        assert tuple(frames) == reached
    assert field.holes == ()
    assert "56 frames, 24 of them left out" in texts(figure)


def test_one_stack_has_one_lane():
    assert "together" not in texts(figures.field(EncoderConfig()))


@pytest.mark.parametrize(("name", "begins"), [("field.svg", b"<?xml"), ("field.png", b"\x89PNG")])
def test_the_field_is_drawn_in_the_format_of_the_suffix(tmp_path, name, begins):
    path = figures.draw_field(EncoderConfig(), tmp_path / name)
    assert path == tmp_path / name
    assert path.read_bytes().startswith(begins)


def test_another_suffix_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match=r"field\.txt: .* \.svg or \.png"):
        figures.draw_field(EncoderConfig(), tmp_path / "field.txt")
    assert not list(tmp_path.iterdir())


def test_the_conversation_shows_speech_events_and_a_lane_for_each_belief(comparison):
    belief = comparison.belief
    shift = {"cpc": belief["systems"]["cpc"], "mine": np.full(1500, np.nan)}
    figure = figures.conversation(belief["activity"], shift, [("shift", 70.4), ("hold", 66.2)], 50.0, 62.0)
    assert {"S", "H", "speaker A", "speaker B", "CPC", "mine", "time (s)"} <= set(texts(figure))
    lanes, *beliefs = figure.axes
    spans = [[path.get_extents().intervalx.tolist() for path in bars.get_paths()] for bars in lanes.collections]
    assert spans[0][0] == pytest.approx([62.0, 62.0 + 210 / 50])
    assert [len(speaker) for speaker in spans] == [4, 2]
    assert lanes.get_xlim() == (62.0, 92.0)
    assert len(beliefs) == 2


def test_answers_are_dots_at_the_end_of_the_decision_frame_and_full_where_right():
    belief = np.full(100, 0.2)
    belief[49] = 0.9  # the frame that ends at 1 s
    events = [("shift", 1.0), ("hold", 1.5), ("shift", 2.0)]
    figure = figures.conversation(np.zeros((100, 2), bool), {"cpc": belief}, events, 50.0)
    dots = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(1.0, 0.9), (1.5, 0.2), (2.0, 0.2)]
    assert [dot.get_markerfacecolor() == "none" for dot in dots] == [False, False, True]


def test_a_speaker_who_is_silent_throughout_is_an_empty_lane():
    figure = figures.conversation(np.zeros((100, 2), bool), {"cpc": np.full(100, 0.5)}, [], 50.0)
    assert "speaker B" in texts(figure)


@pytest.mark.parametrize("steps", [[], [0.0]])
def test_a_run_hardly_begun_can_be_drawn(steps):
    curve = (np.array(steps), np.array(steps))
    one = (np.array([20.0]), np.array([4.0]))
    assert "CPC, 1 seed" in texts(figures.losses([{"train": one, "validation": curve}], "cpc"))


def test_svg_has_no_colour_of_its_own_for_text_and_ids_of_its_own():
    def draw(name):
        return figures.svg(figures.horizons({"cpc": np.linspace(0.9, 0.5, 60)}), name)

    first, second = draw("one"), draw("two")
    ElementTree.fromstring(first)
    assert "currentColor" in first
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]|#000000|DejaVu", first)
    ids = [set(re.findall(r'id="([^"]*)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', first))
    assert {a or b for a, b in used} <= ids[0]


def test_same_numbers_same_bytes():
    curve = {"cpc": np.linspace(0.9, 0.5, 60)}
    assert figures.svg(figures.horizons(curve), "a") == figures.svg(figures.horizons(curve), "a")


def test_a_name_is_never_read_as_a_formula_nor_as_markup():
    text = figures.svg(figures.losses([{"train": ([1, 2], [2, 1]), "validation": ([2], [1])}], "$x^2$<b>&"), "a")
    assert "$x^2$&lt;b&gt;&amp;" in text


def test_the_users_matplotlib_settings_neither_change_nor_matter():
    before = dict(mpl.rcParams)
    plain = figures.svg(figures.horizons({"cpc": np.linspace(0.9, 0.5, 60)}), "a")
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": True}):
        assert figures.svg(figures.horizons({"cpc": np.linspace(0.9, 0.5, 60)}), "a") == plain


def test_each_horizon_of_a_contrast_has_a_line_of_its_own():
    ahead = np.array([0.02, 0.04, 0.08, 0.16, 0.32])
    one, two = (
        figures.accuracy_by_step(np.linspace(0.5, 0.1, 5), 0.01, seconds, "cpc2").axes[0]
        for seconds in (ahead, ahead[[0, 1, 0, 2, 4]])
    )
    # The last line is that of chance.
    assert [len(line.get_xdata()) for line in one.lines[:-1]] == [5]
    assert [list(line.get_xdata()) for line in two.lines[:-1]] == [[20, 40], [20, 80, 320]]
