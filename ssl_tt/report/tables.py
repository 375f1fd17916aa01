"""The tables of a comparison: for a terminal, for Markdown, and as plain cells for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ssl_tt.report.names import METRICS, full_name, headline, said, task_name

if TYPE_CHECKING:
    from ssl_tt.training.compare import Comparison
    from ssl_tt.training.study import Study

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Cells of text; the first `words` columns read from the left, the others are numbers and stand to the right."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1
    best: frozenset[int] = frozenset()
    """Rows to set off, as numbers from 0."""

    def plain(self) -> str:
        """Aligned text for a terminal; a star stands before the rows that are set off."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        text = ["  ".join(self._pad(line, widths)).rstrip() for line in lines]
        marked = ["  " + text[0], "  " + "  ".join("─" * width for width in widths)]
        marked += [("* " if i in self.best else "  ") + line for i, line in enumerate(text[1:])]
        return "\n".join(marked)

    def markdown(self) -> str:
        """A GitHub table; rows that are set off are bold."""
        rule = [":--" if column < self.words else "--:" for column in range(len(self.header))]
        rows = [tuple(_escape(cell) for cell in row) for row in self.rows]
        rows = [tuple(f"**{c}**" if c else c for c in row) if i in self.best else row for i, row in enumerate(rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in [self.header, rule, *rows])

    def _pad(self, line: Sequence[str], widths: Sequence[int]) -> list[str]:
        return [c.ljust(w) if i < self.words else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]


def _escape(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def interval(row: Row, *, signed: bool = False) -> tuple[str, str]:
    """Value and interval of a row as text, three decimals; a dash where the score is not defined."""
    if row["value"] is None:
        return "—", ""
    form = f"{{:{'+' if signed else ''}.3f}}".format
    bounds = "" if row["low"] is None else f"[{form(row['low'])}, {form(row['high'])}]"
    return form(row["value"]), bounds


def select(rows: Sequence[Row], task: str, metric: str) -> list[Row]:
    """The rows of one task and one metric, in their order."""
    return [row for row in rows if row["task"] == task and row["metric"] == metric]


def tasks(rows: Sequence[Row]) -> list[str]:
    """Tasks in the order in which they come."""
    return list(dict.fromkeys(row["task"] for row in rows))


def score_title(rows: Sequence[Row], task: str, labels: Mapping[str, str]) -> str:
    """What a score table shows: the task, what its labels rest on if that is in doubt, the metric."""
    title = f"{task_name(task, labels)}: {said(METRICS, headline(rows, task))}"
    return title[0].upper() + title[1:]


def score_table(rows: Sequence[Row], task: str) -> Table:
    """Headline metric of a task, each system with its interval and what that rests on; the best is set off."""
    scored = select(rows, task, headline(rows, task))
    best = max((row["value"] for row in scored if row["value"] is not None), default=None)
    cells = [
        (
            full_name(row["system"], row["representation"]),
            *interval(row),
            *(_count(row[key]) for key in ("n_events", "n_conversations", "n_seeds")),
        )
        for row in scored
    ]
    asked = "events" if task == "shift_hold" else "frames"
    header = ("system", "score", "interval", asked, "dialogues", "seeds")
    return Table(
        header, cells, best=frozenset(i for i, row in enumerate(scored) if best is not None and row["value"] == best)
    )


def all_metrics_table(rows: Sequence[Row], task: str) -> Table:
    """Every metric of a task, a column each; no intervals."""
    scored = [row for row in rows if row["task"] == task]
    metrics = list(dict.fromkeys(row["metric"] for row in scored))
    values = {(row["system"], row["representation"], row["metric"]): interval(row)[0] for row in scored}
    names = list(dict.fromkeys((row["system"], row["representation"]) for row in scored))
    cells = [(full_name(*name), *(values.get((*name, metric), "") for metric in metrics)) for name in names]
    return Table(("system", *(said(METRICS, metric) for metric in metrics)), cells)


def silence_table(silences: Sequence[Row]) -> Table:
    """Balanced accuracy of shift or hold, a column for each group of silences; rows of `Comparison.silences`."""
    groups = {row["shortest"]: row for row in silences if row["n_events"]}
    names = list(dict.fromkeys((row["system"], row["representation"]) for row in silences))
    found = {(row["system"], row["representation"], row["shortest"]): " ".join(interval(row)) for row in silences}
    titles = [
        f"from {shortest:g} s ({row['n_events']:,})"
        if row["longest"] is None
        else f"{shortest:g} to {row['longest']:g} s ({row['n_events']:,})"
        for shortest, row in groups.items()
    ]
    cells = [(full_name(*name), *(found[*name, shortest] for shortest in groups)) for name in names]
    return Table(("system", *titles), cells)


def difference_table(differences: Sequence[Row], task: str) -> Table:
    """Paired differences of a task's headline metric, with a verdict that says no more than the interval does."""
    cells = [
        (
            full_name(row["system"], row["representation"]),
            full_name(row["other"], row["other_representation"]),
            verdict(row),
            *interval(row, signed=True),
        )
        for row in select(differences, task, headline(differences, task))
    ]
    return Table(("system", "against", "is", "by", "interval"), cells, words=3)


def verdict(row: Row) -> str:
    """What the interval of a difference allows to be said: "above", "below" or "not distinguishable"."""
    if row["value"] is None or row["low"] is None:
        return "not defined"
    if row["low"] > 0:
        return "above"
    return "below" if row["high"] < 0 else "not distinguishable"


def answer_table(rows: Sequence[Row], task: str) -> Table:
    """Headline metric of a task for each variant that answers a question, and its difference to the first of them."""
    cells = []
    for row in select(rows, task, headline(rows, task)):
        apart = {end: row[f"difference{key}"] for end, key in (("value", ""), ("low", "_low"), ("high", "_high"))}
        cells.append(
            (
                row["variant"],
                full_name(row["system"], row["representation"]),
                *interval(row),
                *(("", "") if apart["value"] is None else interval(apart, signed=True)),
                f"{row['n_seeds']}",
            )
        )
    first = rows[0]["variant"]
    return Table(("variant", "system", "score", "interval", f"over {first}", "interval", "seeds"), cells, words=2)


def along_table(rows: Sequence[Row], task: str) -> Table:
    """Headline metric of a task of each system, a column for each place `at` which it was scored, in their order."""
    scored = select(rows, task, headline(rows, task))
    places = sorted({row["at"] for row in scored})
    of = {(row["system"], row["representation"], row["at"]): " ".join(interval(row)) for row in scored}
    names = dict.fromkeys((row["system"], row["representation"]) for row in scored)
    cells = [(full_name(*name), *(of.get((*name, place), "") for place in places)) for name in names]
    known = {row["at"]: row["ceiling"] for row in scored if row["ceiling"] is not None}
    if known and headline(rows, task) == "balanced_accuracy":
        cells.append(("best possible", *(f"{known[place]:.3f}" if place in known else "" for place in places)))
    return Table(("system", *(f"{place:.3g}" for place in places)), cells)


def variant_cost_table(rows: Sequence[Row]) -> Table:
    """What each variant that answers a question costs and sees; CPU minutes are those of an objective's run."""
    headless = [row for row in rows if row["system"] != "random" and not row["cost"].get("head_parameters")]
    trained = {row["variant"]: row["cost"] for row in headless}
    header = ("variant", "parameters", "MMAC/s", "field (s)", "training (CPU min)")
    cells = [
        (
            variant,
            _count(cost["parameters"]),
            _number(cost["macs_per_second_of_audio"], 1e-6, 1),
            _number(cost["receptive_field_ms"], 1e-3, 2),
            _number(cost["pretrain_cpu_seconds"], 1 / 60, 1),
        )
        for variant, cost in trained.items()
    ]
    return Table(header, cells)


def cost_table(rows: Sequence[Row]) -> Table:
    """What every system costs and sees, one line a system and representation."""
    costs = {(row["system"], row["representation"]): row["cost"] for row in rows if row["cost"]}
    heads = any(cost.get("head_parameters") for cost in costs.values())
    header = ("system", "parameters", *(["of a head"] if heads else []), "MMAC/s", "audio (h)", "training (s)")
    header += ("field (ms)", "look-ahead (ms)")
    cells = [
        (
            full_name(*name),
            _count(cost["parameters"]),
            *([_count(cost["head_parameters"])] if heads else []),
            _number(cost["macs_per_second_of_audio"], 1e-6, 1),
            _number(cost["pretrain_audio_hours"], 1, 2),
            _number(cost["pretrain_seconds"], 1, 0),
            _number(cost["receptive_field_ms"], 1, 0),
            _number(cost["lookahead_ms"], 1, 0),
        )
        for name, cost in costs.items()
    ]
    return Table(header, cells)


def _count(number: float | None) -> str:
    return "—" if number is None else f"{number:,.0f}"


def _number(number: float | None, scale: float, decimals: int) -> str:
    return "—" if number is None else f"{number * scale:,.{decimals}f}"


def terminal(comparison: "Comparison") -> str:
    """What a comparison prints at its end, within 100 columns: cost, paired differences, and the scores last."""
    rows, differences, labels = comparison.rows, comparison.differences, comparison.labels
    parts = [("Cost", cost_table(rows))]
    parts += [
        (f"Paired differences. {score_title(differences, task, labels)}", difference_table(differences, task))
        for task in tasks(differences)
    ]
    parts += [(f"{score_title(rows, task, labels)} (* best)", score_table(rows, task)) for task in tasks(rows)]
    return "\n\n".join(f"{title}\n{table.plain()}" for title, table in parts)


def study_terminal(study: "Study") -> str:
    """What a study prints at its end: question by question, costs and scores."""
    parts = []
    for name, question in study.recipe.questions.items():
        rows = study.answers[name]
        labels = study.comparisons[question.variants[0]].labels
        parts.append((question.asks, variant_cost_table(rows)))
        parts += [(score_title(rows, task, labels), answer_table(rows, task)) for task in tasks(rows)]
    return "\n\n".join(f"{title}\n{table.plain()}" for title, table in parts)


def markdown_table(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """The score tables in Markdown, one a task under its title, for README and LOG; `labels` as in a comparison."""
    return "\n\n".join(
        f"{score_title(rows, task, labels)}\n\n{score_table(rows, task).markdown()}" for task in tasks(rows)
    )
