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
    along_table,
    answer_table,
    interval,
    score_title,
    select,
    tasks,
    variant_cost_table,
    verdict,
)
from ssl_tt.training.config import Question
from ssl_tt.training.study import BASELINES, LABELLED_SHARE, Study


def write_study(study: Study, out: Path) -> Path:
    """Write out/report.html, out/QUESTION.png for each question, and out/VARIANT/report.html; return the page's path.

    RunError if one cannot be written.
    """
    for variant, comparison in study.comparisons.items():
        named = comparison.recipe.model_copy(update={"name": f"{study.recipe.name}: {variant}"})
        write_report(replace(comparison, recipe=named), out / variant)
    for name, rows in study.answers.items():
        figures.save(_figure(rows, study.recipe.questions[name].along), out / f"{name}.png")
    path = out / "report.html"
    with atomically(path) as file:
        file.write(page(study).encode())
    return path


def page(study: Study) -> str:
    """The page of a study as HTML."""
    return document(f"{study.recipe.name} – variants side by side", "\n".join(_body(study)))


def sentences(rows: list[Row], along: str | None = None) -> list[str]:
    """What an answer's intervals allow to be said of its objectives, task by task; `rows` of `Study.answers`.

    A sentence for each representation of a variant, or, where it has more than two, one for all of them. Of a question
    that goes along a field, from what to what the scores go.
    """
    if along is not None:
        return [said for task in tasks(rows) for said in _courses(rows, task, along_name(along))]
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


def along_name(field: str) -> str:
    """What is drawn along a field of the recipe, in words."""
    return "hours of labelled dialogue" if field == LABELLED_SHARE else field.rpartition(".")[2].replace("_", " ")


def _courses(rows: list[Row], task: str, along: str) -> Iterator[str]:
    metric = headline(rows, task)
    scored = [row for row in select(rows, task, metric) if row["value"] is not None]
    for name in dict.fromkeys((row["system"], row["representation"]) for row in scored):
        curve = sorted((r for r in scored if (r["system"], r["representation"]) == name), key=lambda row: row["at"])
        first, last = curve[0], curve[-1]
        if name[0] in (*BASELINES, "random") or first is last:
            continue
        text = (
            f"{task_name(task, {})}, {said(METRICS, metric)} of {full_name(*name)}: from "
            f"{' '.join(interval(first))} to {' '.join(interval(last))} along {along} {first['at']:.3g} to "
            f"{last['at']:.3g}"
        )
        if first["variant"] == rows[0]["variant"] and last["difference"] is not None:
            text += f", a difference of {' '.join(interval(_apart(last), signed=True))}"
        if metric == "balanced_accuracy" and first["ceiling"] is not None and last["ceiling"] is not None:
            ends = dict.fromkeys(f"{row['ceiling']:.3f}" for row in (first, last))
            text += (
                f"; the best possible goes from {' to '.join(ends)}"
                if len(ends) > 1
                else f"; best possible {next(iter(ends))}"
            )
        yield f"{text[0].upper()}{text[1:]}."


def _figure(rows: list[Row], along: str | None) -> Figure:
    panels = [(task, headline(rows, task)) for task in tasks(rows)]
    return figures.answers(rows, panels) if along is None else figures.along(rows, panels, along_name(along))


def _caption(rows: list[Row], question: Question, confidence: str) -> str:
    if question.along is None:
        return (
            f"Scores with {confidence} intervals. Dashed, if drawn: {question.variants[0]}, which the others are set "
            "against. Hollow: the same encoder untrained."
        )
    words = [
        f"Scores with {confidence} intervals. Grey: what nothing was pretrained for; hollow: the encoder untrained."
    ]
    if any(row["ceiling"] is not None for row in rows):
        words.append("Dashed, without dots: what who knew all cues would reach on the events that were scored.")
    if all(row["difference"] is None for row in rows):
        words.append("Variants score other conversations or other sound of them, so no paired differences are made.")
    return " ".join(words)


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
        yield from (f"<li>{escape(sentence)}</li>" for sentence in sentences(rows, question.along))
        yield "</ul>"
        caption = _caption(rows, question, confidence)
        yield figure_element(_figure(rows, question.along), f"answers-{name}", caption, strip=True)
        for task in tasks(rows):
            yield f"<h3>{escape(score_title(rows, task, labels))}</h3>"
            if question.along is not None:
                yield table_element(along_table(rows, task), f"Columns: {along_name(question.along)}.")
            if question.along is None or any(row["difference"] is not None for row in rows):
                yield table_element(answer_table(rows, task))
        yield f"<h3>Cost</h3>{table_element(variant_cost_table(rows))}</section>"
    yield "<section><h2>Every variant</h2><ul>"
    for variant in recipe.variants:
        yield f'<li><a href="{escape(variant)}/report.html">{escape(variant)}</a></li>'
    yield f"</ul><details><summary>Resolved recipe</summary><pre>{escape(dump(recipe))}</pre></details></section>"
