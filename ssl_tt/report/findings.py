"""What the numbers say, one sentence each, and no more than their intervals allow."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ssl_tt.report.names import METRICS, SYSTEMS, chance, full_name, headline, said, task_name
from ssl_tt.report.tables import Row, interval, select, tasks, verdict

if TYPE_CHECKING:
    from ssl_tt.training.compare import Comparison

_DOES = {
    "shift_hold": "tells shift from hold",
    "predict_shift": "foretells shifts",
    "predict_backchannel": "foretells backchannels",
    "short_long": "tells short utterances from long",
    "future_activity": "foretells who will be speaking",
    "voice_activity": "tells speech from silence",
    "speaker": "tells speakers apart",
    "phone": "tells phones apart",
}


def findings(comparison: "Comparison") -> list[str]:
    """Sentences for the top of a report, task by task.

    Each pretrained encoder (its output, on which families are compared, or what else was probed first) stands against
    chance and, by the paired differences, against the baselines; then its best head against from scratch and against
    a line; then the objectives against each other; then the highest score and the ceiling.
    """
    objectives, heads = list(comparison.recipe.objectives), list(comparison.recipe.heads)
    sentences: list[str] = []
    for task in tasks(comparison.rows):
        metric = headline(comparison.rows, task)
        rows = select(comparison.rows, task, metric)
        between: list[Row] = []
        for objective in objectives:
            row = _main(rows, objective)
            same = (objective, row["representation"])
            own = [
                d
                for d in select(comparison.differences, task, metric)
                if (d["system"], d["representation"]) == same and verdict(d) != "not defined"
            ]
            sentences.append(
                _against_baselines(row, [d for d in own if d["other"] not in objectives], comparison.labels)
            )
            between += [d for d in own if d["other"] in objectives]
            on_it = [row for row in rows if row["system"] == objective and row["representation"] in heads]
            sentences += _best_head(on_it, select(comparison.differences, task, metric))
        sentences += [*map(_between, between), *_highest(rows)]
        if task == "shift_hold" and comparison.ceiling is not None:
            sentences += _ceiling(rows, comparison.ceiling)
    return sentences


def _main(rows: Sequence[Row], objective: str) -> Row:
    """An objective's row that stands for it: its encoder's output where that was probed, else its first."""
    own = [row for row in rows if row["system"] == objective]
    return next((row for row in own if row["representation"] == "encoder"), own[0])


def _against_baselines(row: Row, differences: Sequence[Row], labels: Mapping[str, str]) -> str:
    task = task_name(row["task"], {})
    doubt = task_name(row["task"], labels).removeprefix(task)
    subject = f"{said(SYSTEMS, row['system'])}'s frozen {said({}, row['representation'])}"
    if row["value"] is None:
        return f"{subject} has no score for {task}{doubt}: the conversations scored hold too few events."
    level = chance(row["metric"])
    score = f"{_score(row)} {said(METRICS, row['metric'])}{doubt}"
    does = _DOES.get(row["task"], f"reaches, for {task},")
    at_chance = level is not None and row["low"] is not None and row["low"] <= level <= row["high"]
    opening = f"{subject} {does} at {score}" + (f", not distinguishable from chance ({level:g})" if at_chance else "")
    # Where chance is the same for all data, readers know it, and the majority is no better.
    compared = _list(_comparisons([d for d in differences if d["other"] != "majority" or level is None]))
    return opening + (f": {compared}." if compared else ".")


def _best_head(rows: Sequence[Row], differences: Sequence[Row]) -> list[str]:
    """The highest of the heads on one encoder, if any, against the same from scratch and against a line."""
    best = _best(rows)
    if best is None:
        return []
    system, head = best["system"], best["representation"]
    compared = _comparisons(
        [
            d
            for d in differences
            if (d["system"], d["representation"]) == (system, head)
            and d["other"] in ("scratch", system)
            and verdict(d) != "not defined"
        ]
    )
    which = f"head {head}" if len(rows) == 1 else f"{head}, the highest of {len(rows)} heads,"
    found = ": ".join(filter(None, (_score(best), _list(compared))))
    return [f"For {task_name(best['task'], {})}, {said(SYSTEMS, system)}'s {which} reaches {found}."]


def _comparisons(differences: Sequence[Row]) -> Iterator[str]:
    by_verdict: dict[str, list[str]] = {"above": [], "below": [], "not distinguishable": []}
    for d in differences:
        found, other = verdict(d), _article(d["other"]) + full_name(d["other"], d["other_representation"])
        apart = found != "not distinguishable"
        text = f"{_score(d, magnitude=True)} {found} {other}" if apart else f"{other} ({_score(d, signed=True)})"
        by_verdict[found].append(text)
    yield from by_verdict["above"] + by_verdict["below"]
    if by_verdict["not distinguishable"]:
        yield f"not distinguishable from {_list(by_verdict['not distinguishable'], 'or')}"


def _between(d: Row) -> str:
    name, other = full_name(d["system"], d["representation"]), full_name(d["other"], d["other_representation"])
    where = task_name(d["task"], {})
    if verdict(d) == "not distinguishable":
        return f"For {where}, {name} and {other} are not distinguishable ({_score(d, signed=True)})."
    return f"For {where}, {name} lies {_score(d, magnitude=True)} {verdict(d)} {other}."


def _highest(rows: Sequence[Row]) -> list[str]:
    """The highest score in the table, whoever holds it."""
    best = _best(rows)
    if best is None:
        return []
    name = _article(best["system"]) + full_name(best["system"], best["representation"])
    return [f"The highest score for {task_name(best['task'], {})} is that of {name}: {_score(best)}."]


def _ceiling(rows: Sequence[Row], ceiling: dict[str, float]) -> list[str]:
    mean, realised = ceiling["bayes_balanced_accuracy"], ceiling["realised"]
    sentence = (
        f"A listener who knew all cues would reach {mean:.3f} on this corpus (Bayes ceiling) and {realised:.3f} on "
        "these events"
    )
    best = _best(rows)
    if best is None or realised <= 0.5:
        return [sentence + "."]
    share = (best["value"] - 0.5) / (realised - 0.5)
    return [f"{sentence}; from chance, the highest score is {100 * share:.0f} % of the way there."]


def _best(rows: Sequence[Row]) -> Row | None:
    return max((row for row in rows if row["value"] is not None), key=lambda row: row["value"], default=None)


def _article(system: str) -> str:
    return "the " if system in ("random", "majority") else ""


def _score(row: Row, *, signed: bool = False, magnitude: bool = False) -> str:
    """As in "0.712 [0.684, 0.741]"; `magnitude` turns a negative difference and its interval around."""
    if magnitude and row["value"] < 0:
        row = row | {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
    return " ".join(part for part in interval(row, signed=signed) if part)


def _list(parts: Iterable[str], word: str = "and") -> str:
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last
