"""The pictures of a report. Each function takes plain numbers and returns a matplotlib figure.

Two widths: a panel, two of which stand side by side on a desktop and one fills a phone, and a strip as wide as the
page. Figures are drawn with a transparent ground and one ink; `svg` turns the ink into the colour of the page's text,
so that one picture reads in light and in dark.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation
from PIL import Image

from ssl_tt.data.atomic import atomically
from ssl_tt.encoder.config import EncoderConfig
from ssl_tt.encoder.receptive_field import Reach, receptive_field
from ssl_tt.errors import InputError
from ssl_tt.report.names import FAMILY_COLOURS, METRICS, SYSTEMS, TASKS, colours, full_name, markers, said, task_name
from ssl_tt.report.responses import Picture
from ssl_tt.timebase import frame_edges

PANEL_INCHES = 4.9
STRIP_INCHES = 10.2

_INK, _FAINT = "#010203", "#040506"  # colours that nothing else uses; see `svg`
_DASHED = (0, (2, 2))
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)))
_UNTRAINED: dict[str, Any] = {  # systems that nothing was pretrained for, by their lines
    "majority": (0, (1, 2)),
    "activity_history": (0, (6, 2, 1, 2)),
    "logmel": (0, (5, 2)),
    "random": "-",
    "scratch": (0, (3, 1, 1, 1, 1, 1)),
}
_STYLE: Any = {  # matplotlib knows its keys as literals alone
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "svg.hashsalt": "ssl_tt",  # same numbers, same bytes
}

P = ParamSpec("P")


@contextmanager
def _style() -> Iterator[None]:
    """The report's own style, whatever the user's matplotlibrc says; theirs is as it was afterwards."""
    with mpl.rc_context():
        mpl.rcParams.update({key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if key != "backend"})
        mpl.rcParams.update(_STYLE)
        yield


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the report's style."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return wrapper


def _above(axes: Axes, x: float, text: str, align: str = "center", **options: Any) -> None:
    """Write `text` over the frame of the axes, at x."""
    axes.annotate(
        text, (x, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points", ha=align, **options
    )


def _level(axes: Axes, y: float, text: str, right: bool = False) -> None:
    """A dashed line across the axes with its name on it."""
    axes.axhline(y, color=_INK, linewidth=1, linestyle=_DASHED)
    shift, align = (-2, "right") if right else (2, "left")
    axes.annotate(
        text, (int(right), y), (shift, 3), xycoords=("axes fraction", "data"), textcoords="offset points", ha=align
    )


def _panel(height: float, width: float = PANEL_INCHES, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, 1, **options)


# ---------------------------------------------------------------------------------------------------------- scores


@_styled
def scores(
    rows: Sequence[dict[str, Any]], metric: str, chance: float | None = None, ceiling: float | None = None
) -> Figure:
    """Score and interval of every system and representation, one line each, in the order of `rows`.

    rows: report rows of one task and one metric; `chance` and `ceiling` are drawn as vertical lines.
    """
    colour = colours(row["system"] for row in rows)
    marker = markers(row["representation"] for row in rows)
    figure, axes = _panel(0.95 + 0.27 * len(rows))
    for x, word, dashes in ((chance, "chance", _DASHED), (ceiling, "ceiling", "solid")):
        if x is not None:
            axes.axvline(x, color=_INK, linewidth=1, linestyle=dashes, zorder=1)
            _above(axes, x, f"{word} {x:.2f}")
    for y, row in enumerate(rows):
        if row["low"] is not None:
            axes.plot(
                [row["low"], row["high"]], [y, y], color=colour[row["system"]], linewidth=2.4, solid_capstyle="butt"
            )
        axes.plot(row["value"], y, marker[row["representation"]], color=colour[row["system"]], markersize=6.5)
    axes.set_yticks(range(len(rows)), [full_name(row["system"], row["representation"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.margins(x=0.08)
    axes.set_xlabel(said(METRICS, metric))
    return figure


@_styled
def answers(rows: Sequence[dict[str, Any]], panels: Sequence[tuple[str, str]]) -> Figure:
    """Score and interval of each variant that answers a question, a panel for each task: [(task, metric), ...].

    rows: of `Study.answers`. Variants go down the panel, a colour for each system, and the first variant's scores as
    lines, to see the others against. Where there are more systems than variants it is systems that go down.
    """
    variants = {row["variant"]: _with_cost(row) for row in rows}
    systems = {full_name(row["system"], row["representation"]): row["system"] for row in rows}
    by_system = len(systems) > len(variants)
    down, beside = (list(systems), list(variants)) if by_system else (list(variants), list(systems))
    of = {variant: variant for variant in variants} if by_system else systems
    shades = colours(of.values())
    step = 0.8 / max(3, len(beside))
    height = 1.2 + 0.3 * len(down) if by_system else 1.0 + 0.62 * len(down)
    figure = Figure(figsize=(STRIP_INCHES, height), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (task, metric) in zip(grid, panels, strict=True):
        for row in rows:
            if (row["task"], row["metric"]) != (task, metric) or row["value"] is None:
                continue
            variant, system = row["variant"], full_name(row["system"], row["representation"])
            at, place = (system, variant) if by_system else (variant, system)
            shade = shades[of[place]]
            _score(axes, row, down.index(at) + step * (beside.index(place) - (len(beside) - 1) / 2), shade)
            if variant == next(iter(variants)) and not by_system:
                axes.axvline(row["value"], color=shade, linewidth=0.8, linestyle=_DASHED, zorder=1)
        axes.set_title(said(TASKS, task).capitalize())
        axes.set_xlabel(said(METRICS, metric))
        axes.grid(axis="both" if by_system else "x")
        if len(panels) > 2:
            axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(down)), down if by_system else list(variants.values()))
    grid[0].set_ylim(len(down) - 0.45, -0.55)
    look: dict[str, Any] = {"marker": "o", "markersize": 5.5, "linewidth": 2}
    keys = {each: Line2D([], [], color=shades[of[each]], mfc=_face(of[each], shades[of[each]]), **look) for each in of}
    figure.legend(keys.values(), keys, loc="outside lower center", ncols=4)
    return figure


@_styled
def along(rows: Sequence[dict[str, Any]], panels: Sequence[tuple[str, str]], label: str) -> Figure:
    """Scores of every system along a number, called `label`, a panel for each task: [(task, metric), ...].

    rows: of `Study.answers`, with where they stand, `at`. A curve with its intervals for each system and
    representation, those that nothing was pretrained for in grey, and the ceiling dashed, where there is one.
    """
    names = list(dict.fromkeys((row["system"], row["representation"]) for row in rows))
    colour = colours(system for system, _ in names if system not in _UNTRAINED)
    marker = markers(part for _, part in names)
    parts = list(dict.fromkeys(part for system, part in names if system in colour))
    places = sorted({row["at"] for row in rows})
    keys: dict[str, Line2D] = {}
    figure = Figure(figsize=(STRIP_INCHES, 4.3 + 0.18 * (len(names) // 4)), layout="constrained")
    for axes, (task, metric) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        of_task = [row for row in rows if (row["task"], row["metric"]) == (task, metric) and row["value"] is not None]
        of_task.sort(key=lambda row: row["at"])
        known = {row["at"]: row["ceiling"] for row in of_task if row["ceiling"] is not None}
        if known and metric == "balanced_accuracy":
            (keys["best possible"],) = axes.plot(
                list(known), list(known.values()), color=_INK, linewidth=1.2, linestyle=_DASHED, label="best possible"
            )
        for number, (system, part) in enumerate(names):
            curve = [row for row in of_task if (row["system"], row["representation"]) == (system, part)]
            shade = colour.get(system, FAMILY_COLOURS["baseline"])
            dashes = _LINES[parts.index(part) % len(_LINES)] if system in colour else _UNTRAINED[system]
            # Side by side, so that no bar hides another.
            aside = ScaledTranslation((number - (len(names) - 1) / 2) * 2.6 / 72, 0, figure.dpi_scale_trans)
            look: dict[str, Any] = {"color": shade, "transform": axes.transData + aside}
            name, width = full_name(system, part), 1.8 if system in (*colour, "scratch") else 1.1
            bounds = [(row["at"], row["low"], row["high"]) for row in curve if row["low"] is not None]
            if bounds:
                axes.vlines(*zip(*bounds, strict=True), linewidth=width, alpha=0.45, **look)
            if curve:
                look |= {"marker": marker[part], "markersize": 5, "mfc": _face(system, shade)}
                x, y = ([row[key] for row in curve] for key in ("at", "value"))
                (line,) = axes.plot(x, y, linestyle=dashes, linewidth=width, label=name, **look)
                keys.setdefault(name, line)
            axes.update_datalim([(x, y) for x, *ends in bounds for y in ends] + [(r["at"], r["value"]) for r in curve])
        if places[0] > 0 and places[-1] / places[0] >= 20:
            axes.set_xscale("log")
        axes.margins(x=0.07)
        axes.autoscale_view()
        if len(places) <= 8:
            axes.set_xticks(places, [f"{place:.2g}" if place < 100 else f"{place:,.0f}" for place in places])
            axes.set_xticks([], minor=True)
        axes.set(title=said(TASKS, task).capitalize(), xlabel=label, ylabel=said(METRICS, metric))
        axes.grid(axis="y")
    figure.legend(keys.values(), keys, loc="outside lower center", ncols=4, handlelength=3.6)
    return figure


@_styled
def kept(
    rows: Sequence[dict[str, Any]],
    panels: Sequence[tuple[str, str]],
    families: Mapping[str, str],
    labels: Mapping[str, str],
) -> Figure:
    """What each system keeps: its score and interval for every task, a panel each: [(task, metric), ...].

    rows: report rows, one representation a system; families: family of each pretrained system, which gives its colour;
    labels: what shifts and holds rest on, as in `task_name`.
    Down each panel goes the untrained encoder's score, where it has one: to its right more has been learned than lost.
    """
    systems = list(dict.fromkeys(row["system"] for row in rows))
    colour = {system: FAMILY_COLOURS[families.get(system, "baseline")] for system in systems}
    figure = Figure(figsize=(STRIP_INCHES, 1.2 + 0.27 * len(systems)), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (task, metric) in zip(grid, panels, strict=True):
        for row in rows:
            if (row["task"], row["metric"]) != (task, metric) or row["value"] is None:
                continue
            y, shade = systems.index(row["system"]), colour[row["system"]]
            _score(axes, row, y, shade)
            if row["system"] == "random":
                axes.axvline(row["value"], color=_INK, linewidth=0.8, linestyle=_DASHED, zorder=1)
        axes.set_title(task_name(task, labels).capitalize())
        axes.set_xlabel(said(METRICS, metric))
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(systems)), [said(SYSTEMS, system) for system in systems])
    grid[0].set_ylim(len(systems) - 0.4, -0.6)
    shown = [family for family in FAMILY_COLOURS if FAMILY_COLOURS[family] in colour.values()]
    keys = [Line2D([], [], color=FAMILY_COLOURS[family], marker="o", linewidth=2.4) for family in shown]
    figure.legend(keys, shown, loc="outside lower center", ncols=len(shown))
    return figure


def _score(axes: Axes, row: dict[str, Any], y: float, shade: str) -> None:
    """A dot at the score of a row, and a bar over its interval, if there is one."""
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [y, y], color=shade, linewidth=2.2, solid_capstyle="butt")
    axes.plot(row["value"], y, "o", color=shade, markersize=5.5, mfc=_face(row["system"], shade))


def _face(system: str, shade: str) -> str:
    """An untrained encoder's dot is hollow."""
    return "white" if system == "random" else shade


def _with_cost(row: dict[str, Any]) -> str:
    cost = row["cost"]
    thousands, millions = cost["parameters"] / 1e3, cost["macs_per_second_of_audio"] / 1e6
    return f"{row['variant']}\n{thousands:,.0f} k parameters, {millions:,.0f} MMAC/s"


@_styled
def horizons(curves: dict[str, np.ndarray], metric: str = "roc_auc", span_seconds: float = 3.0) -> Figure:
    """Score of each future bin, for each system: {system: [bins]}, bins of equal length over `span_seconds`."""
    colour = colours(curves)
    figure, axes = _panel(3.0)
    _level(axes, 0.5, "chance")
    for system, curve in curves.items():
        width = span_seconds / len(curve)
        axes.plot(
            (np.arange(len(curve)) + 0.5) * width,
            curve,
            color=colour[system],
            linewidth=1.8,
            label=said(SYSTEMS, system),
        )
    axes.set(xlim=(0, span_seconds), xlabel="time ahead of the frame (s)", ylabel=said(METRICS, metric))
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


# -------------------------------------------------------------------------------------------------------- training


@_styled
def losses(runs: Sequence[dict[str, tuple[np.ndarray, np.ndarray]]], system: str) -> Figure:
    """Loss by step of every seed: runs[i] = {"train": (steps, loss), "validation": (steps, loss)}."""
    colour = colours([system])[system]
    figure, axes = _panel(2.7)
    for i, run in enumerate(runs):
        steps, loss = run["train"]
        axes.plot(steps, loss, color=colour, alpha=0.4, linewidth=1, label="training" if i == 0 else None)
        steps, loss = run["validation"]
        axes.plot(
            steps, loss, color=colour, linewidth=1.6, marker="o", markersize=4, label="validation" if i == 0 else None
        )
    _limit_to_the_tail(axes, [loss for run in runs for _, loss in run.values()])
    axes.set(xlabel="optimizer step", ylabel="loss", title=f"{said(SYSTEMS, system)}, {len(runs)} {_seeds(len(runs))}")
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    axes.legend()
    return figure


def _seeds(n: int) -> str:
    return "seed" if n == 1 else "seeds"


def _limit_to_the_tail(axes: Axes, curves: Sequence[np.ndarray]) -> None:
    """Cut the y axis above the 98th percentile: the first steps would flatten all that comes after."""
    values = np.concatenate([np.asarray(curve, float) for curve in curves])
    low, high = values.min(), np.percentile(values, 98)
    if high > low:
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


@_styled
def accuracy_by_step(
    accuracy: np.ndarray, chance: float, ahead_seconds: np.ndarray, system: str, which: str = ""
) -> Figure:
    """Share of held-out frames whose true future outscores every negative: accuracy [H], by time ahead [H].

    Where the time falls back another horizon begins, with a line of its own; `which` contrast, where of several.
    """
    figure, axes = _panel(2.7)
    starts = np.flatnonzero(np.diff(ahead_seconds) < 0) + 1
    for ahead, of_horizon in zip(np.split(1000 * ahead_seconds, starts), np.split(accuracy, starts), strict=True):
        axes.plot(ahead, of_horizon, "o-", color=colours([system])[system], linewidth=1.6, markersize=4)
    _level(axes, chance, f"chance {chance:.3f}")
    axes.set_title(f"{said(SYSTEMS, system)} {which}".strip())
    axes.set(xlabel="time ahead (ms)", ylabel="accuracy of the contrast")
    axes.set_ylim(0, max(1.1 * float(np.max(accuracy)), 3 * chance))
    axes.grid(axis="y")
    return figure


def perplexity(codes: np.ndarray) -> float:
    """Codes in effective use, exp of the entropy of their shares: `codes` are integers of any shape."""
    shares = np.unique(codes, return_counts=True)[1] / np.size(codes)
    return float(np.exp(-(shares * np.log(shares)).sum()))


@_styled
def code_use(codes: np.ndarray, codebook: int, system: str, which: str = "") -> Figure:
    """Share of frames that each of the `codebook` codes takes, most used first; `which` codebook, where of several."""
    shares = np.sort(np.bincount(np.ravel(codes), minlength=codebook))[::-1] / np.size(codes)
    figure, axes = _panel(2.7)
    rank = np.arange(1, codebook + 1)
    axes.fill_between(rank, 100 * shares, step="mid", color=colours([system])[system], linewidth=0)
    _level(axes, 100 / codebook, "all used alike", right=True)
    used = int((shares > 0).sum())
    name = f"{said(SYSTEMS, system)} {which}".strip()
    axes.set_title(f"{name}: {used} of {codebook} codes, perplexity {perplexity(codes):.0f}")
    axes.set(xlim=(0.5, codebook + 0.5), xlabel="code, most used first", ylabel="frames (%)")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    return figure


@_styled
def reconstruction(
    logmel: np.ndarray, reconstructed: np.ndarray, frame_rate_hz: float, system: str, what: str = "reconstruction"
) -> Figure:
    """A window's log-mel above what a system makes of it, on one colour scale: both [T, M]."""
    frames = min(len(logmel), len(reconstructed))
    logmel, reconstructed = logmel[:frames], reconstructed[:frames]
    low, high = np.percentile(logmel, (1, 99))
    figure, (above, below) = _panel(3.4, rows=2, sharex=True)
    for axes, picture, title in (
        (above, logmel, "log-mel"),
        (below, reconstructed, f"{said(SYSTEMS, system)}'s {what}"),
    ):
        image = axes.imshow(
            picture.T,
            origin="lower",
            aspect="auto",
            cmap="cividis",
            vmin=low,
            vmax=high,
            extent=(0, frames / frame_rate_hz, 0, picture.shape[1]),
            interpolation="nearest",
        )
        axes.set(title=title, ylabel="mel band")
    below.set_xlabel("time (s)")
    figure.colorbar(image, ax=(above, below), label="normalised log energy", pad=0.01, aspect=30)
    return figure


# ------------------------------------------------------------------------------------------------- receptive field


@_styled
def field(config: EncoderConfig) -> Figure:
    """Front-end frames that one output frame reaches, for each stack and for all together, up to the decision's."""
    reach = receptive_field(config)
    lanes = [
        (f"stack {i + 1}, kernel {stack.kernel}", reached, span, "#0072B2")
        for i, (stack, reached, span) in enumerate(
            zip(config.stacks, reach.stack_reached, reach.stack_span_frames, strict=True)
        )
    ]
    if len(lanes) > 1:
        together = "together, at every layer" if config.combine_at == "every_layer" else "together"
        lanes.append((together, reach.reached, reach.span_frames, "#D55E00"))
    figure, axes = _panel(1.2 + 0.5 * len(lanes), STRIP_INCHES)
    for y, (_, reached, span, colour) in enumerate(lanes):
        bars = [(first - 0.5, last - first + 1) for first, last in _runs(reached)]
        axes.broken_barh(bars, (y - 0.18, 0.5), facecolor=colour, linewidth=0)
        holes = f", {span - len(reached)} of them left out" if len(reached) < span else ""
        axes.annotate(
            f"{span} frames{holes}", (reached[0] - 0.5, y - 0.2), (0, 1), textcoords="offset points", va="bottom"
        )
    axes.axvspan(-0.5, 0.5, color=_INK, alpha=0.35, linewidth=0)
    _above(axes, 0.5, "decision frame", align="right")
    axes.set(xlim=(-1.01 * reach.span_frames, 0.006 * reach.span_frames + 0.5), ylim=(len(lanes) - 0.5, -0.62))
    axes.set_yticks(np.arange(len(lanes)) + 0.07, [name for name, *_ in lanes])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("front-end frames before the decision frame")
    hop_ms = reach.frontend_hop_ms
    below = axes.secondary_xaxis("bottom", functions=(lambda x: x * hop_ms, lambda x: x / hop_ms))
    below.spines["bottom"].set_position(("outward", 38))
    below.set_xlabel(
        f"ms before it ({hop_ms:g} ms a frame; {reach.span_ms:.0f} ms in all with the first frame's window)"
    )
    return figure


def _runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted integers as (first, last) of each unbroken run."""
    if not offsets:
        return []
    edges = [i for i, (a, b) in enumerate(pairwise(offsets)) if b > a + 1]
    return [
        (offsets[a], offsets[b]) for a, b in zip([0, *(e + 1 for e in edges)], [*edges, len(offsets) - 1], strict=True)
    ]


def draw_field(config: EncoderConfig, path: Path) -> Path:
    """Write the receptive field's picture to `path`, as SVG or PNG after its suffix.

    Raises InputError for another suffix.
    """
    _check_picture(path)
    save(field(config), path)
    return path


def draw_fields(configs: Mapping[str, EncoderConfig], path: Path) -> Path:
    """Write the receptive fields of variants, a lane each, to `path`, as `draw_field`.

    Raises InputError also for front ends of different hops, whose frames share no axis.
    """
    _check_picture(path)
    hops_ms = {receptive_field(config).frontend_hop_ms for config in configs.values()}
    if len(hops_ms) > 1:
        raise InputError(
            f"{path}: variants have front-end hops of {' and '.join(f'{hop:g}' for hop in sorted(hops_ms))} ms and "
            "share no axis of frames; give a recipe of each"
        )
    reaches = {
        name: Reach(-np.array(receptive_field(config).reached)[::-1], config.stride) for name, config in configs.items()
    }
    save(fields(list(reaches.items())), path)
    return path


def _check_picture(path: Path) -> None:
    if path.suffix not in (".svg", ".png"):
        raise InputError(f"{path}: a picture of the receptive field is .svg or .png; change the suffix")


# -------------------------------------------------------------------------------------------------------- the post

POST_INCHES = 8.0
_FOLLOWS, _LEAKS, _HOLE = "#0072B2", "#D55E00", "#88888840"


@_styled
def impulses(columns: Sequence[tuple[str, str, Sequence[tuple[str, Picture]]]], window: range) -> Figure:
    """What layers make of an impulse: a column for each (heading, name of its rows, titled pictures downwards).

    Output before the impulse, which no causal layer has, is drawn in another colour. `window`: frames shown, counted
    from the impulse.
    """
    figure, grid = _post_grid(len(columns[0][2]), len(columns), 1.05)
    leaks = False
    for column, (heading, rows, pictures) in zip(grid.T, columns, strict=True):
        for axes, (title, picture) in zip(column, pictures, strict=True):
            leaks |= _cells(axes, picture, window, picture.values / picture.values.max(), picture.starts < 0)
            axes.axvline(-0.5, color=_INK, linewidth=1.2)
            axes.set_title(title, fontweight="normal")
            axes.set_ylabel(rows)
        column[0].annotate(
            heading, (0, 1), (0, 19), xycoords="axes fraction", textcoords="offset points", fontweight="bold"
        )
        column[-1].set_xlabel("frames after impulse")
    _key(
        figure,
        "impulse",
        {"output from it on": _FOLLOWS}
        | ({"output before it: the future leaks": _LEAKS} if leaks else {})
        | {"zero": "none"},
    )
    return figure


@_styled
def gradients(columns: Sequence[Sequence[tuple[str, Picture]]]) -> Figure:
    """Size of the gradient of a marked frame: titled pictures downwards in columns, on one time axis.

    Holes, which the span covers and the frame does not see, are shaded; right of the line lies the future.
    """
    pictures = [picture for column in columns for _, picture in column]
    longest = max(picture.reach.span for picture in pictures)
    window = range(-longest - longest // 20, 1 + max(int(picture.starts[-1]) for picture in pictures))
    figure, grid = _post_grid(len(columns[0]), len(columns), 1.5)
    for column, titled in zip(grid.T, columns, strict=True):
        for axes, (title, picture) in zip(column, titled, strict=True):
            size = picture.values / picture.values.max()
            decades = np.log10(size, out=np.full_like(size, -6.0), where=size > 0)
            # Far frames move the output a million times less than near ones, yet they do.
            _cells(axes, picture, window, 1 + np.maximum(decades, -6) / 6, picture.starts > 0)
            _holes(axes, picture.reach, -0.5, size.shape[1])
            axes.axvline(0.5, color=_INK, linewidth=1.6)
            axes.text((window.stop + 0.5) / 2, size.shape[1] / 2 - 0.5, "future", ha="center", va="center", rotation=90)
            axes.set_title(title, fontweight="normal")
            axes.set_ylabel("mel band")
        column[-1].set_xlabel("input frames before (−) and after the marked frame, 0")
    _key(
        figure,
        "end of the marked frame",
        {"gradient, the stronger the larger": _FOLLOWS, "hole: no gradient inside the span": _HOLE},
    )
    return figure


@_styled
def fields(lanes: Sequence[tuple[str, Reach]]) -> Figure:
    """Frames that one frame out reaches, a lane for each (name, reach); every frame by itself where there is room."""
    figure = Figure(figsize=(POST_INCHES, 1.0 + 0.36 * len(lanes)), layout="constrained")
    axes = figure.subplots()
    longest = max(reach.span for _, reach in lanes)
    for y, (_, reach) in enumerate(lanes):
        runs = _runs([-int(lag) for lag in reach.lags[::-1]])
        single = [(-lag - 0.44, 0.88) for lag in reach.lags]
        bars = single if longest <= 150 else [(first - 0.5, last - first + 1) for first, last in runs]
        axes.broken_barh(bars, (y - 0.32, 0.64), facecolor=_FOLLOWS, linewidth=0)
        _holes(axes, reach, y - 0.32, 0.64)
        axes.text(1.4, y, f"{len(reach.lags)} of {reach.span}", va="center")
    axes.axvline(0.5, color=_INK, linewidth=1.6)
    axes.set(xlim=(-longest - 0.5, 0.14 * longest), ylim=(len(lanes) - 0.5, -0.5))
    axes.set_yticks(range(len(lanes)), [name for name, _ in lanes])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("input frames before the marked frame, 0")
    _key(
        figure,
        "end of the marked frame",
        {"frame it sees": _FOLLOWS, "hole: inside the span and not seen": _HOLE},
    )
    return figure


def _post_grid(rows: int, columns: int, row_inches: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(POST_INCHES, 0.9 + row_inches * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)


def _cells(axes: Axes, picture: Picture, window: range, strength: np.ndarray, leaking: np.ndarray) -> bool:
    """A rectangle for each value that is not zero, the larger the stronger; whether any column leaks."""
    inside = (picture.starts >= window.start) & (picture.starts + picture.frame <= window.stop)
    frames, rows = np.nonzero(inside[:, None] & (picture.values != 0))
    left, low = picture.starts[frames] - 0.44, rows - 0.44
    right, high = left + picture.frame - 0.12, rows + 0.44
    corners = np.stack(([left, low], [right, low], [right, high], [left, high])).transpose(2, 0, 1)
    colour = np.where(leaking[frames, None], to_rgba(_LEAKS), to_rgba(_FOLLOWS))
    colour[:, 3] = 0.4 + 0.6 * strength[frames, rows]
    cells = PolyCollection(list(corners), facecolors=colour, linewidths=0, snap=False, clip_on=False)
    axes.add_collection(cells)
    n_rows = picture.values.shape[1]
    axes.set(xlim=(window.start - 0.5, window.stop - 0.5), ylim=(-0.7, n_rows - 0.3))
    axes.set_yticks([0, n_rows - 1], ["1", str(n_rows)])
    return bool(leaking[frames].any())


def _holes(axes: Axes, reach: Reach, low: float, height: float) -> None:
    missing = sorted(set(range(-int(reach.lags[-1]), 1)) - {-int(lag) for lag in reach.lags})
    axes.broken_barh(
        [(first - 0.5, last - first + 1) for first, last in _runs(missing)],
        (low, height), facecolor=_HOLE, linewidth=0, zorder=0,
    )  # fmt: skip


def _key(figure: Figure, line: str, areas: dict[str, str]) -> None:
    handles: list[Artist] = [Line2D([], [], color=_INK, marker="|", markersize=11, linestyle="none", label=line)]
    for label, colour in areas.items():
        handles.append(Patch(facecolor=colour, edgecolor=_INK if colour == "none" else "none", label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


# ---------------------------------------------------------------------------------------------------- conversation


@_styled
def conversation(
    activity: np.ndarray,
    shift: dict[str, np.ndarray],
    events: Sequence[tuple[str, float]],
    frame_rate_hz: float,
    start_seconds: float = 0.0,
) -> Figure:
    """Who speaks, where the turn shifts (S) or holds (H), and each probe's belief in a shift.

    A dot is the answer at a decision, full where it is right. activity [T, 2] bool and shift {system: [T]}
    probabilities, of a stretch that begins at `start_seconds`; events are (kind, seconds of the decision in the
    conversation).
    """
    colour = colours(shift)
    times = frame_edges(len(activity), frame_rate_hz, start_seconds)
    figure, axes = _panel(
        1.7 + 0.62 * len(shift), STRIP_INCHES, rows=1 + len(shift), sharex=True, squeeze=False,
        height_ratios=[1.15] + [1] * len(shift),
    )  # fmt: skip
    lanes, *beliefs = axes[:, 0]
    for speaker, spoken in enumerate(np.asarray(activity).T):
        bars = [(times[a], times[b + 1] - times[a]) for a, b in _runs(np.flatnonzero(spoken).tolist())]
        lanes.broken_barh(bars, (speaker - 0.33, 0.66), facecolor=_INK, alpha=0.75, linewidth=0)
    lanes.set_yticks(range(activity.shape[1]), [f"speaker {chr(65 + s)}" for s in range(activity.shape[1])])
    lanes.set_ylim(activity.shape[1] - 0.5, -0.5)
    for kind, seconds in events:
        _above(lanes, seconds, kind[0].upper(), fontweight="bold" if kind == "shift" else "normal")
    for axis, (system, belief) in zip(beliefs, shift.items(), strict=True):
        # Frame t's answer is given at its end, (t + 1) * hop.
        axis.fill_between(times[1:], 0.5, belief, color=colour[system], alpha=0.25, linewidth=0)
        axis.plot(times[1:], belief, color=colour[system], linewidth=0.7)
        for kind, seconds in events:
            decided = belief[np.searchsorted(times[1:], seconds - 0.5 / frame_rate_hz)]
            right = (decided >= 0.5) == (kind == "shift")
            fill = colour[system] if right else "none"
            axis.plot(seconds, decided, "o", color=colour[system], markerfacecolor=fill, markersize=5.5, zorder=3)
        axis.set(ylim=(0, 1), yticks=(0, 0.5, 1))
        axis.grid(axis="y")
        axis.set_ylabel(said(SYSTEMS, system), rotation=0, ha="right", va="center")
    for axis in axes[:, 0]:
        for kind, seconds in events:
            axis.axvline(seconds, color=_INK, linewidth=0.8, linestyle="solid" if kind == "shift" else _DASHED)
    axes[-1, 0].set(xlim=(times[0], times[-1]), xlabel="time (s)")
    return figure


# ---------------------------------------------------------------------------------------------------------- output


def svg(figure: Figure, name: str) -> str:
    """The figure as one <svg> element for a page: ink in the colour of the page's text, ids that start with `name`."""
    text = _render(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg [^>]*?)height="[^"]*" ', r"\1\2", text, count=1)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font-family: [^;]*;", "font-family: inherit;", text)
    text = re.sub(r"font: (\S+) (\S+) '[^;]*;", r"font-weight: \1; font-size: \2;", text)
    return text.replace(_INK, "currentColor").replace(_FAINT, "var(--rule)").strip()


def save(figure: Figure, path: Path) -> None:
    """Write the figure alone, on white, in the format of the suffix, whole or not at all."""
    figure.set_facecolor("white")
    for line in figure.findobj(Line2D):
        if line.get_color() == _FAINT:  # a page's own rule, in `svg`
            line.set_color("#d9dbde")
    rendered = _render(figure, path.suffix.removeprefix("."))
    with atomically(path) as file:
        if path.suffix == ".png":  # these flat colours lose nothing by a palette, which makes a third of the size
            Image.open(io.BytesIO(rendered)).convert("RGB").quantize(256).save(file, "png", optimize=True)
        else:
            file.write(rendered)


def _render(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with _style():
        figure.savefig(
            buffer,
            format=kind,
            dpi=150,
            facecolor=figure.get_facecolor(),
            metadata={"Date": None} if kind == "svg" else None,
        )
    return buffer.getvalue()
