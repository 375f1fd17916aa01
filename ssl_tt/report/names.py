"""What the report calls things, and the colour that each system keeps in every figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SYSTEMS = {
    "majority": "majority",
    "activity_history": "voice-activity history",
    "logmel": "log-mel",
    "random": "random encoder",
    "scratch": "from scratch",
    "cpc": "CPC",
    "cpc2": "CPC v2",
    "vqcpc": "VQ-CPC",
    "joint": "joint objective",
    "vqvae": "VQ-VAE",
    "vqvae2": "VQ-VAE-2",
    "vae": "VAE",
    "apc": "APC",
}
TASKS = {
    "shift_hold": "shift or hold",
    "predict_shift": "shift to come",
    "predict_backchannel": "backchannel to come",
    "short_long": "short or long",
    "future_activity": "future activity",
    "voice_activity": "voice activity",
    "speaker": "speaker",
    "phone": "phone",
}
METRICS = {
    "accuracy": "accuracy",
    "macro_recall": "macro recall",
    "balanced_accuracy": "balanced accuracy",
    "weighted_f1": "weighted F1",
    "f1_positive": "F1, positive",
    "f1_negative": "F1, negative",
    "event_balanced_accuracy": "balanced accuracy, event-wise",
    "event_weighted_f1": "weighted F1, event-wise",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "expected_calibration_error": "calibration error",
    "cross_entropy": "cross-entropy",
}
LABELS = {
    "cue": "cues of known strength",
    "proxy": "proxy labels",
    "annotated": "annotation by hand",
    "recognised": "words timed by a recogniser",
    "detected": "activity found by a detector",
}
HEADLINES = {
    "shift_hold": "balanced_accuracy",
    "predict_shift": "balanced_accuracy",
    "predict_backchannel": "balanced_accuracy",
    "short_long": "balanced_accuracy",
    "future_activity": "roc_auc",
    "voice_activity": "roc_auc",
    "speaker": "macro_recall",
    "phone": "accuracy",
}
"""The metric that stands for a task in the findings and the plot."""

_CHANCE = {"balanced_accuracy": 0.5, "event_balanced_accuracy": 0.5, "roc_auc": 0.5}

# Okabe & Ito's palette, which colour-blind readers can tell apart; black is left to text and axes.
_COLOURS = {
    "majority": "#8a8a8a",
    "activity_history": "#E69F00",
    "logmel": "#009E73",
    "random": "#CC79A7",
    "cpc": "#0072B2",
    "vqvae": "#D55E00",
}
FAMILIES = {
    "vae": "reconstruction",
    "vqvae": "reconstruction",
    "vqvae2": "reconstruction",
    "apc": "prediction of the input",
    "cpc": "contrast",
    "cpc2": "contrast",
    "joint": "several at once",
}
"""What the objectives of a kind have in common: past or future, input or latent."""
FAMILY_COLOURS = {
    "baseline": "#8a8a8a",
    "reconstruction": "#D55E00",
    "prediction of the input": "#009E73",
    "contrast": "#0072B2",
    "several at once": "#CC79A7",
}
_SPARE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
_MARKERS = "osD^vPX"


def said(names: dict[str, str], name: str) -> str:
    """The reader's word for a name, or the name itself with spaces: a recipe may call its objectives what it likes."""
    return names.get(name, name.replace("_", " "))


def task_name(task: str, labels: Mapping[str, str]) -> str:
    """The task in words; where shifts and holds rest on less than cues or annotation, the words say so.

    labels: what they rest on, by corpus.
    """
    doubtful = sorted(set(labels.values()) - {"cue", "annotated"}) if task == "shift_hold" else []
    return said(TASKS, task) + (f" ({', '.join(doubtful)} labels)" if doubtful else "")


def full_name(system: str, representation: str | None) -> str:
    """A system and, where that says more, its representation: "CPC context", "log-mel", "random encoder"."""
    name, part = said(SYSTEMS, system), said({}, representation or "none")
    return name if part in ("none", said({}, system)) or name.endswith(part) else f"{name} {part}"


def headline(rows: Sequence[dict[str, Any]], task: str) -> str:
    """The metric that stands for `task` among these rows: its usual one, or the first that the rows have."""
    metrics: list[str] = [row["metric"] for row in rows if row["task"] == task]
    usual = HEADLINES.get(task)
    return usual if usual is not None and usual in metrics else metrics[0]


def chance(metric: str, rows: Sequence[dict[str, Any]] = ()) -> float | None:
    """What guessing scores: the same for all data, or else what the majority does among these rows of the metric."""
    majority = (row["value"] for row in rows if row["system"] == "majority")
    return _CHANCE[metric] if metric in _CHANCE else next(majority, None)


def colours(systems: Iterable[str]) -> dict[str, str]:
    """A colour for each system: its own where it has one, else the next that no other system of the report uses."""
    systems = list(dict.fromkeys(systems))
    chosen = {name: _COLOURS[name] for name in systems if name in _COLOURS}
    free = [colour for colour in _SPARE if colour not in chosen.values()] or list(_SPARE)
    others = (name for name in systems if name not in chosen)
    return chosen | {name: free[i % len(free)] for i, name in enumerate(others)}


def markers(representations: Iterable[str]) -> dict[str, str]:
    """A marker for each representation, so that no reader depends on colour alone."""
    return {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(dict.fromkeys(representations))}
