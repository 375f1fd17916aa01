"""A study as one page: each question with its picture, its tables, and what the intervals allow to be said."""

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from ssl_tt.data.atomic import atomically
from ssl_tt.recipe import dump
from ssl_tt.report import figures
from ssl_tt.report.document import document, figure_element, table_element
from ssl_tt.report.html import write_report
from ssl_tt.report.names import METRICS, full_name, headline, said, task_name
from ssl_tt.report.tables import (
    Row,
    answer_table,
    interval,
    score_title,
    select,
    tasks,
    variant_cost_table,
    verdict,
)
from ssl_tt.training.study import Study


def write_study(study: Study, out: Path) -> Path:
    """Write out/report.html, out/QUESTION.png for each question, and out/VARIANT/report.html; return the page's path.

    RunError if one cannot be written.
    """
    for variant, comparison in study.comparisons.items():
        named = comparison.recipe.model_copy(update={"name": f"{study.recipe.name}: {variant}"})
        write_report(replace(comparison, recipe=named), out / variant)
    for name, rows in study.answers.items():
        figures.save(_figure(rows), out / f"{name}.png")
    path = out / "report.html"
    with atomically(path) as file:
        file.write(page(study).encode())
    return path


def page(study: Study) -> str:
    """The page of a study as HTML."""
    return document(f"{study.recipe.name} – variants side by side", "\n".join(_body(study)))


def sentences(rows: list[Row]) -> list[str]:
    """What an answer's intervals allow to be said of its objectives, task by task; `rows` of `Study.answers`.

    A sentence for each representation of a variant, or, where it has more than two, one for all of them.
    """
    first = rows[0]["variant"]
    found: list[str] = []
    for task in tasks(rows):
        metric = headline(rows, task)
        apart = [r for r in select(rows, task, metric) if r["system"] != "random" and r["difference"] is not None]
        for variant in dict.fromkeys(row["variant"] for row in apart):
            of_variant = [row for row in apart if row["variant"] == variant]
            found += (
                [_many(of_variant, first, metric)]
                if len(of_variant) > 2
                else [_one(row, first, metric) for row in of_variant]
            )
    return found


def _one(row: Row, first: str, metric: str) -> str:
    apart = _apart(row)
    found = verdict(apart)
    relation = f"and {first} are not distinguishable ({' '.join(interval(apart, signed=True))})"
    if found in ("above", "below"):
        relation = f"lies {_by(row)} {found} {first}"
    name = full_name(row["system"], row["representation"])
    return f"{_asked(row, metric)} of {name}: {row['variant']} {relation}."


def _many(rows: list[Row], first: str, metric: str) -> str:
    by_verdict: dict[str, list[Row]] = {"above": [], "below": []}
    for row in rows:
        by_verdict.get(verdict(_apart(row)), []).append(row)
    parts = []
    for found, of in by_verdict.items():
        names = [f"{full_name(row['system'], row['representation'])} ({_by(row)})" for row in of]
        parts += [f"{found} {first} with {', '.join(names)}"] if names else []
    rest = len(rows) - sum(map(len, by_verdict.values()))
    others = "not distinguishable with " + ("any" if rest == len(rows) else f"{rest} others")
    parts += [others] if rest else []
    return f"{_asked(rows[0], metric)}: {rows[0]['variant']} is {'; '.join(parts)}."


def _asked(row: Row, metric: str) -> str:
    task = task_name(row["task"], {})
    return f"{task[0].upper()}{task[1:]}, {said(METRICS, metric)}"


def _apart(row: Row) -> Row:
    return {"value": row["difference"], "low": row["difference_low"], "high": row["difference_high"]}


def _by(row: Row) -> str:
    """How far apart, with the interval, whichever side it is on."""
    low, value, high = sorted(abs(bound) for bound in _apart(row).values())
    return " ".join(interval({"value": value, "low": low, "high": high}))


def _figure(rows: list[Row]) -> Figure:
    return figures.answers(rows, [(task, headline(rows, task)) for task in tasks(rows)])


def _body(study: Study) -> Iterator[str]:
    recipe = study.recipe
    scored = "test" if recipe.probe.evaluate_on == "test" else "validation"
    confidence = f"{100 * recipe.probe.confidence:g} %"
    yield f"<header><h1>{escape(recipe.name)}</h1>"
    yield (
        f'<p class="lead">{len(recipe.variants)} variants of one recipe, pretrained and probed alike. Scores on '
        f"{scored} conversations, {confidence} intervals by bootstrap over conversations; differences are paired, "
        "under the same seeds and draws, and do not hold the spread of seeds that were not run.</p></header>"
    )
    for name, question in recipe.questions.items():
        rows = study.answers[name]
        labels = study.comparisons[question.variants[0]].labels
        yield f'<section id="{escape(name)}"><h2>{escape(question.asks)}</h2><ul class="findings">'
        yield from (f"<li>{escape(sentence)}</li>" for sentence in sentences(rows))
        yield "</ul>"
        yield figure_element(
            _figure(rows),
            f"answers-{name}",
            f"Scores with {confidence} intervals. Dashed, if drawn: {question.variants[0]}, which the others are set "
            "against. Hollow: the same encoder untrained.",
            strip=True,
        )
        for task in tasks(rows):
            yield f"<h3>{escape(score_title(rows, task, labels))}</h3>{table_element(answer_table(rows, task))}"
        yield f"<h3>Cost</h3>{table_element(variant_cost_table(rows))}</section>"
    yield "<section><h2>Every variant</h2><ul>"
    for variant in recipe.variants:
        yield f'<li><a href="{escape(variant)}/report.html">{escape(variant)}</a></li>'
    yield f"</ul><details><summary>Resolved recipe</summary><pre>{escape(dump(recipe))}</pre></details></section>"
