"""A comparison as one page that needs nothing else: findings, tables, figures, cost, provenance."""

import platform
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ssl_tt import __version__
from ssl_tt.data.atomic import atomically
from ssl_tt.objectives.config import (
    CPC2Config,
    CPCConfig,
    JointConfig,
    ObjectiveConfig,
    Part,
    QuantizerConfig,
    VQVAE2Config,
    VQVAEConfig,
)
from ssl_tt.recipe import dump
from ssl_tt.report import figures
from ssl_tt.report.document import document, figure_element, table_element
from ssl_tt.report.findings import findings
from ssl_tt.report.names import FAMILIES, LABELS, SYSTEMS, chance, headline, said, task_name
from ssl_tt.report.runs import read_losses
from ssl_tt.report.tables import (
    Table,
    all_metrics_table,
    cost_table,
    difference_table,
    score_table,
    score_title,
    select,
    silence_table,
    tasks,
)
from ssl_tt.training.compare import Comparison

# What an objective makes of the log-mel, and what to look for.
_PICTURES = {
    "reconstruction": "A held-out stretch and what the decoder makes of its codes. What is blurred away below, the "
    "codes do not carry.",
    "prediction": "A held-out stretch and what was predicted of each frame. What is blurred away below could not be "
    "foreseen.",
}
# Sequences of codes.
_CODES = ("codes", "codes_bottom", "codes_top")
_PACKAGES = ("torch", "accelerate", "scikit-learn", "numpy", "scipy", "soundfile")


def write_report(comparison: Comparison, out: Path) -> Path:
    """Write the page of a comparison to out/report.html, whole or not at all, and return its path.

    The page holds its own style and figures and asks the network for nothing; out/overview.png is its first figure.
    RunError if one cannot be written.
    """
    figures.save(overview(comparison), out / "overview.png")
    path = out / "report.html"
    with atomically(path) as file:
        file.write(page(comparison).encode())
    return path


def overview(comparison: Comparison) -> Figure:
    """The first representation of each system, which is what its encoder gives, in every task."""
    first: dict[str, str] = {}
    for row in comparison.rows:
        first.setdefault(row["system"], row["representation"])
    rows = [row for row in comparison.rows if row["representation"] == first[row["system"]]]
    families = {name: FAMILIES[config.kind] for name, config in comparison.recipe.objectives.items()}
    return figures.kept(rows, [(task, headline(rows, task)) for task in tasks(rows)], families, comparison.labels)


def page(comparison: Comparison) -> str:
    """The page of a comparison as HTML."""
    body = "\n".join(part for section in _SECTIONS for part in section(comparison))
    return document(f"{comparison.recipe.name} – comparison of pretrained encoders", body)


# -------------------------------------------------------------------------------------------------------- sections


def _opening(comparison: Comparison) -> Iterator[str]:
    recipe = comparison.recipe
    objectives = " and ".join(said(SYSTEMS, name) for name in recipe.objectives)
    seeds = f"{len(recipe.seeds)} {'seed' if len(recipe.seeds) == 1 else 'seeds'}"
    yield f"<header><h1>{escape(recipe.name)}</h1>"
    lead = f"One causal encoder pretrained by {objectives}, frozen and probed for turn-taking; {seeds}."
    yield f'<p class="lead">{escape(lead)}</p>'
    yield '<ul class="findings">'
    yield from (f"<li>{escape(sentence)}</li>" for sentence in findings(comparison))
    yield "</ul></header>"


def _scores(comparison: Comparison) -> Iterator[str]:
    rows, labels = comparison.rows, comparison.labels
    confidence = f"{100 * comparison.recipe.probe.confidence:g} %"
    conversations = "Test" if comparison.recipe.probe.evaluate_on == "test" else "Validation"
    yield "<section><h2>Scores</h2>"
    yield (
        f'<p class="note">{conversations} conversations only; {confidence} intervals by bootstrap over conversations; '
        f"the best score in bold. {_label_note(comparison)}</p>"
    )
    yield figure_element(
        overview(comparison),
        "overview",
        f"What each encoder keeps, {confidence} intervals. Dashed: the untrained encoder.",
        strip=True,
    )
    for task in tasks(rows):
        metric = headline(rows, task)
        scored = [row for row in select(rows, task, metric) if row["value"] is not None]
        ceiling = comparison.ceiling["realised"] if comparison.ceiling and task == "shift_hold" else None
        guessing = chance(metric, scored)
        lines = [] if guessing is None else ["Dashed: chance"]
        lines += [] if ceiling is None else ["solid: the Bayes ceiling on these events"]
        yield f"<h3>{escape(score_title(rows, task, labels))}</h3>"
        yield '<div class="task">' + table_element(score_table(rows, task))
        if scored:
            yield figure_element(
                figures.scores(scored, metric, guessing, ceiling),
                f"scores-{task}",
                f"{score_title(rows, task, labels)}, {confidence} intervals."
                + (f" {'; '.join(lines)}." if lines else ""),
            )
        if task == "shift_hold" and comparison.silences:
            yield table_element(
                silence_table(comparison.silences),
                "By how long the silence lasts, with the number of events: after long ones the mere wait tells.",
            )
        if task == "future_activity" and comparison.horizons:
            yield figure_element(
                figures.horizons(_without_majority(comparison.horizons)),
                "horizons",
                "The same, bin by bin. All fall with distance; what counts is how far ahead a curve stays above "
                "that of voice-activity history.",
            )
        if task in tasks(comparison.differences):
            yield table_element(
                difference_table(comparison.differences, task),
                "Paired differences, both systems on the same draws of conversations. Not distinguishable: the "
                "interval contains 0.",
            )
        yield "</div>"
        yield f"<details><summary>All metrics: {escape(task_name(task, labels))}</summary>"
        yield table_element(all_metrics_table(rows, task)) + "</details>"
    yield "</section>"


def _one_conversation(comparison: Comparison) -> Iterator[str]:
    belief = comparison.belief
    if belief is None:
        return
    rate, start = belief["frame_rate_hz"], belief["start_seconds"]
    # The decision frame's answer is known at its end.
    events = [(event.kind, start + (event.decision + 1) / rate) for event in belief["events"]]
    yield "<section><h2>One conversation</h2>"
    yield figure_element(
        figures.conversation(belief["activity"], _without_majority(belief["systems"]), events, rate, start),
        "conversation",
        f"Conversation {belief['conversation']}. Above: who speaks. Below: each probe’s belief that the turn shifts, "
        "were it asked at that moment; it was trained at silences alone. S and H mark the moments of decision, a shift "
        "(solid line) or a hold (dashed). Dots are the answers, full where they are right: above ½ at S, below at H.",
        strip=True,
    )
    yield "</section>"


def _training(comparison: Comparison) -> Iterator[str]:
    yield '<section><h2>Pretraining</h2><div class="panels">'
    for objective, runs in comparison.runs.items():
        yield figure_element(
            figures.losses([read_losses(run) for run in runs], objective),
            f"loss-{_id(comparison, objective)}",
            "Loss of the objective, all seeds. Validation should fall with training; where it turns up, the encoder "
            "learns its recordings by heart. Losses of different objectives cannot be compared.",
        )
    for objective, example in comparison.examples.items():
        config = comparison.recipe.objectives[objective]
        for which, codes, codebook in _codebooks(example, config):
            yield figure_element(
                figures.code_use(codes, codebook, objective, which),
                f"codes-{_id(comparison, objective)}-{which.replace(' ', '-')}".rstrip("-"),
                f"How often each code is chosen in {codes.size:,} held-out frames. A steep fall with few "
                "codes means a collapsed codebook.",
            )
        for part, accuracy in _of_parts(example, "accuracy_by_step"):
            frames = example["input"].shape[1] // comparison.recipe.encoder.stride
            ahead = dict(_of_parts(example, "frames_ahead"))[part]
            yield figure_element(
                figures.accuracy_by_step(accuracy, 1 / frames, ahead / _frame_rate_hz(comparison), objective, part),
                f"contrast-{_id(comparison, objective)}-{part}".rstrip("-"),
                f"How often the true future scores above all {frames - 1} other frames of its sequence. A curve that "
                "falls to chance says how far the context can foresee.",
            )
        for what, caption in _PICTURES.items():
            for part, picture in _of_parts(example, what):
                # The speaker of whom there is more to see.
                speaker = int(np.argmax(example["input"].std(axis=(1, 2))))
                rate, named = _feature_rate_hz(comparison), f"{part} {what}".strip()
                yield figure_element(
                    figures.reconstruction(example["input"][speaker], picture[speaker], rate, objective, named),
                    f"{what}-{_id(comparison, objective)}-{part}".rstrip("-"),
                    caption,
                )
    yield "</div></section>"


def _field(comparison: Comparison) -> Iterator[str]:
    yield "<section><h2>What a frame sees</h2>"
    yield figure_element(
        figures.field(comparison.recipe.encoder),
        "field",
        "Past frames that reach the representation at the decision frame, stack by stack; gaps are frames that "
        "dilation leaves out. Nothing lies to the right of the decision frame: the encoder is causal.",
        strip=True,
    )
    yield "</section>"


def _cost(comparison: Comparison) -> Iterator[str]:
    yield "<section><h2>Cost</h2>"
    yield table_element(
        cost_table(comparison.rows), "Multiply-accumulates (millions) are for each second of audio of one channel."
    )
    if comparison.seconds:
        stages = Table(
            ("stage", "seconds"),
            [(said({}, stage), f"{seconds:,.1f}") for stage, seconds in comparison.seconds.items()],
        )
        yield "<h3>Wall time</h3>" + table_element(stages)
    yield "</section>"


def _provenance(comparison: Comparison) -> Iterator[str]:
    recipe = comparison.recipe
    facts = {
        "data for pretraining": ", ".join(recipe.data.pretrain),
        "data for probes": ", ".join(recipe.data.probed),
        "labels": "; ".join(f"{name}: {said(LABELS, kind)}" for name, kind in comparison.labels.items()),
        "events": recipe.probe.preset,
        "seeds": ", ".join(map(str, recipe.seeds)),
        "run directories": ", ".join(str(run) for runs in comparison.runs.values() for run in runs),
        "versions": ", ".join(
            [f"ssl_tt {__version__}", f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in _PACKAGES)]
        ),
    }
    yield "<section><h2>Provenance</h2>"
    yield table_element(
        _counts(comparison), "Conversations and events of each split; splits share no conversation and no speaker."
    )
    yield "<h3>Made with</h3><dl>"
    yield from (f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items() if value)
    yield "</dl>"
    yield f"<details><summary>Resolved recipe</summary><pre>{escape(dump(recipe))}</pre></details></section>"


_SECTIONS = (_opening, _scores, _one_conversation, _training, _field, _cost, _provenance)


# ---------------------------------------------------------------------------------------------------------- pieces


def _counts(comparison: Comparison) -> Table:
    columns = list(dict.fromkeys(key for counts in comparison.counts.values() for key in counts))
    cells = [
        (split, *(f"{n.get(key, 0):,.2f}" if key == "hours" else f"{n.get(key, 0):,}" for key in columns))
        for split, n in comparison.counts.items()
    ]
    return Table(("split", *columns), cells)


def _label_note(comparison: Comparison) -> str:
    kinds = set(comparison.labels.values())
    if "proxy" in kinds:
        return (
            "Shifts and holds rest on a proxy, the length of natural pauses, not on turns that people took: read the "
            "scores as agreement with it."
        )
    if "detected" in kinds:
        return "Speech was found by a detector, not annotated: shifts and holds are as good as it is."
    return ""


def _codebooks(example: dict[str, np.ndarray], config: ObjectiveConfig) -> Iterator[tuple[str, np.ndarray, int]]:
    """Codes and size of each codebook, by its part, level and group where there are several: "", "bottom group 2"."""
    parts = config.parts if isinstance(config, JointConfig) else {"": config}
    for key in _CODES:
        owners = {name: found for name, part in parts.items() if (found := _quantizer(part, key)) is not None}
        for name, codes in _of_parts(example, key):
            quantizer = owners[name or next(iter(owners))]  # codes that only one part has are not called by it
            which = f"{name} {key.removeprefix('codes').strip('_')}".strip()
            if quantizer.groups == 1:
                yield which, codes, quantizer.codes
            else:
                for group in range(quantizer.groups):
                    yield f"{which} group {group + 1}".strip(), codes[..., group], quantizer.codes


def _quantizer(part: ObjectiveConfig | Part, key: str) -> QuantizerConfig | None:
    """Settings of what gives an objective's codes of this name; None if it has none."""
    match part:
        case CPCConfig() | CPC2Config() if key == "codes":
            return part.quantizer
        case VQVAEConfig() if key == "codes":
            return part
        case VQVAE2Config() if key != "codes":
            return part
    return None


def _of_parts(example: dict[str, np.ndarray], what: str) -> Iterator[tuple[str, np.ndarray]]:
    """What an objective has of a name, beside "" or, where several parts of a joint objective have it, the part."""
    for key, values in example.items():
        part, _, name = key.rpartition(".")
        if name == what:
            yield part, values


def _without_majority(of_systems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The majority says the same at all times, which is no curve."""
    return {system: curve for system, curve in of_systems.items() if system != "majority"}


def _id(comparison: Comparison, objective: str) -> str:
    """An id for figures of an objective, whatever characters its name holds."""
    return str(list(comparison.recipe.objectives).index(objective))


def _feature_rate_hz(comparison: Comparison) -> float:
    frontend = comparison.recipe.encoder.frontend
    return frontend.sample_rate_hz / frontend.hop_samples


def _frame_rate_hz(comparison: Comparison) -> float:
    return _feature_rate_hz(comparison) / comparison.recipe.encoder.stride
