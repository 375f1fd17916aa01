import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from ssl_tt.objectives.config import (
    APCConfig,
    CPCPart,
    JointConfig,
    QuantizerConfig,
    VAEConfig,
    VQVAE2Config,
    VQVAE2Part,
    VQVAEPart,
)
from ssl_tt.report import figures
from ssl_tt.report.findings import findings
from ssl_tt.report.html import page, write_report
from ssl_tt.report.tables import cost_table, difference_table, score_table, silence_table
from tests.report import made_up

HOSTILE = '"><script>alert(1)</script>$&'
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Collects what a browser would ask for, the text, and the cells of tables; fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.requests: list[str] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.requests.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def parse(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return made_up.comparison(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def report(comparison, tmp_path_factory):
    return write_report(comparison, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def text(report):
    return report.read_text(encoding="utf-8")


def test_the_report_is_one_file_with_its_first_figure_beside_it(report):
    assert sorted(path.name for path in report.parent.iterdir()) == ["overview.png", "report.html"]
    assert (report.parent / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_asks_the_network_for_nothing(text):
    reader = parse(text)
    assert all(request.startswith(("#", "data:image/png;base64,")) for request in reader.requests)
    assert any(request.startswith("data:") for request in reader.requests)
    assert not set(reader.tags) & {"script", "link", "iframe", "img", "object"}
    assert not re.search(r"@import|url\((?!#)", text)


def test_no_id_is_given_twice(text):
    ids = parse(text).ids
    assert len(ids) == len(set(ids))


def test_the_findings_come_first(comparison, text):
    place = -1
    shown = "".join(parse(text).text)
    for sentence in findings(comparison):
        assert (place := shown.find(sentence, place + 1)) >= 0
    assert place < shown.index("Scores")


def test_every_row_of_every_table_is_on_the_page(comparison, text):
    rows = {tuple(row) for row in parse(text).rows}
    for table in (
        score_table(comparison.rows, "shift_hold"),
        silence_table(comparison.silences),
        score_table(comparison.rows, "future_activity"),
        difference_table(comparison.differences, "shift_hold"),
        cost_table(comparison.rows),
    ):
        assert table.header in rows
        assert set(table.rows) <= rows


def test_every_figure_is_on_the_page_with_a_caption(text):
    tags = parse(text).tags
    # overview, scores of 2 tasks, horizons, conversation, 2 losses, contrast, codes, reconstruction, field
    assert tags.count("figure") == tags.count("svg") == tags.count("figcaption") == 11


def test_a_caption_names_only_the_lines_that_are_drawn(comparison, text):
    assert "Dashed: chance; solid: the Bayes ceiling on these events." in text
    rows = [made_up.row("phone", "accuracy", name, "encoder", 0.4, 0.02) for name in ("cpc", "vqvae")]
    alone = replace(comparison, rows=rows, differences=[], ceiling=None)
    assert "Dashed: chance" not in page(alone)
    floor = made_up.row("phone", "accuracy", "majority", "none", 0.1, 0.01)
    with_floor = page(replace(alone, rows=[floor, *rows]))
    assert "Phone: accuracy, 95 % intervals. Dashed: chance." in with_floor
    assert "chance 0.10" in with_floor


def test_the_page_says_what_it_was_made_with(text):
    for said in ("made-up", "dialogues: cues of known strength", "inoue2024", "torch ", 'kind = "vqvae"'):
        assert said in "".join(parse(text).text)


def test_what_users_name_is_escaped(comparison):
    data = comparison.recipe.data.model_copy(update={"pretrain": (HOSTILE,), "probe": (HOSTILE,)})
    hostile = replace(
        comparison,
        recipe=comparison.recipe.model_copy(update={"data": data}),
        labels={HOSTILE: "cue"},
        belief={**comparison.belief, "conversation": HOSTILE},
        runs={},
        examples={},
        horizons={},
    )
    reader = parse(page(hostile))
    assert "script" not in reader.tags
    assert "".join(reader.text).count(HOSTILE) >= 4


def test_proxy_labels_are_named_at_every_heading_and_explained(comparison):
    reader = parse(page(replace(comparison, labels={"voices": "proxy"}, runs={}, examples={}, belief=None)))
    shown = "".join(reader.text)
    assert shown.count("Shift or hold") == shown.count("Shift or hold (proxy labels)") >= 2
    assert "rest on a proxy" in shown


def test_every_objective_shows_what_it_makes_of_the_log_mel_and_every_codebook_its_use(comparison):
    log_mel, codes = comparison.examples["cpc"]["input"], np.arange(800).reshape(2, 200, 2) % 16
    objectives = {"vqvae2": VQVAE2Config(codes=16, groups=2), "vae": VAEConfig(), "apc": APCConfig()}
    examples = {
        "vqvae2": {
            "input": log_mel,
            "reconstruction": log_mel,
            "codes_bottom": codes,
            "codes_top": codes[:, ::4],
        },
        "vae": {"input": log_mel, "reconstruction": log_mel},
        "apc": {"input": log_mel, "prediction": log_mel},
    }
    recipe = comparison.recipe.model_copy(update={"objectives": objectives})
    rows = [made_up.row("shift_hold", "balanced_accuracy", name, "encoder", 0.6, 0.02) for name in objectives]
    shown = replace(
        comparison, recipe=recipe, rows=rows, differences=[], runs={}, examples=examples, belief=None, horizons={}
    )
    reader = parse(page(shown))
    drawn = {name for name in re.findall(r"(?:codes|reconstruction|prediction)-\d[a-z0-9-]*", " ".join(reader.ids))}
    codebooks = {f"codes-0-{level}-group-{group}" for level in ("bottom", "top") for group in (1, 2)}
    for name in (*codebooks, "reconstruction-0", "reconstruction-1", "prediction-2"):
        assert any(each.startswith(name) for each in drawn), name
    assert "pretrained by VQ-VAE-2 and VAE and APC" in "".join(reader.text)
    assert "held-out stretch and what was predicted of each frame" in "".join(reader.text)


def test_parts_of_a_joint_objective_are_drawn_each_by_itself(comparison, monkeypatch):
    log_mel, codes = comparison.examples["cpc"]["input"], np.arange(400).reshape(2, 200) % 16
    parts = {
        "near": CPCPart(steps=2, quantizer=QuantizerConfig(codes=8)),
        "far": CPCPart(steps=2),
        "fine": VQVAEPart(codes=16),
        "rough": VQVAEPart(codes=4),
        "slow": VQVAE2Part(codes=32),
    }
    example = {"input": log_mel, "codes_top": codes}
    example |= {"near.codes": codes % 8, "fine.codes": codes, "rough.codes": codes % 4}
    example |= {f"{part}.accuracy_by_step": np.ones(2) for part in ("near", "far")}
    example |= {f"{part}.frames_ahead": np.arange(1, 3) for part in ("near", "far")}
    example |= {f"{part}.reconstruction": log_mel for part in ("fine", "slow")}
    recipe = comparison.recipe.model_copy(update={"objectives": {"joint": JointConfig(parts=parts)}})
    rows = [made_up.row("shift_hold", "balanced_accuracy", "joint", "encoder", 0.6, 0.02)]
    shown = replace(
        comparison,
        recipe=recipe,
        rows=rows,
        differences=[],
        runs={},
        examples={"joint": example},
        belief=None,
        horizons={},
    )
    titles = {}

    def svg(figure, name):
        titles[name] = "; ".join(axes.get_title("left") for axes in figure.axes)
        return ""

    monkeypatch.setattr(figures, "svg", svg)
    page(shown)
    for name, title in {
        "contrast-0-near": "joint objective near",
        "contrast-0-far": "joint objective far",
        "codes-0-near": "joint objective near: 8 of 8 codes",
        "codes-0-fine": "joint objective fine: 16 of 16 codes",
        "codes-0-rough": "joint objective rough: 4 of 4 codes",
        "codes-0-top": "joint objective top: 16 of 32 codes",
        "reconstruction-0-fine": "joint objective's fine reconstruction",
        "reconstruction-0-slow": "joint objective's slow reconstruction",
    }.items():
        assert title in titles[name]


def test_validation_scores_are_not_called_test_scores(comparison):
    probe = comparison.recipe.probe.model_copy(update={"evaluate_on": "validation"})
    recipe = comparison.recipe.model_copy(update={"probe": probe})
    shown = "".join(parse(page(replace(comparison, recipe=recipe, runs={}, examples={}, belief=None))).text)
    assert "Validation conversations only" in shown
    assert "Test conversations" not in shown


def test_a_comparison_that_found_nothing_still_makes_a_page(comparison):
    rows = [row | {"value": None, "low": None, "high": None} for row in comparison.rows]
    empty = replace(
        comparison,
        rows=rows,
        differences=[],
        runs={},
        ceiling=None,
        belief=None,
        examples={},
        horizons={"cpc": np.full(60, np.nan)},
        seconds={},
    )
    assert "has no score for shift or hold" in "".join(parse(page(empty)).text)
