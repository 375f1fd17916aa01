"""A comparison made up for the tests: no number in it was ever measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ssl_tt.data.config import DataConfig
from ssl_tt.encoder.config import EncoderConfig, StackConfig
from ssl_tt.objectives.config import CPCConfig, VQVAEConfig
from ssl_tt.training.compare import Comparison
from ssl_tt.training.config import CompareRecipe
from ssl_tt.turns.events import Event

COST = {
    "parameters": 412_672,
    "macs_per_second_of_audio": 21.4e6,
    "pretrain_audio_hours": 6.2,
    "pretrain_seconds": 611.0,
    "receptive_field_ms": 835.0,
    "lookahead_ms": 0.0,
}
NO_COST = dict.fromkeys(COST, None) | {"parameters": 0}

SHIFT_HOLD = {  # system, representation: value, half width of the interval
    ("majority", "none"): (0.5, 0.0),
    ("activity_history", "activity_history"): (0.523, 0.026),
    ("logmel", "logmel"): (0.652, 0.024),
    ("random", "encoder"): (0.634, 0.025),
    ("cpc", "encoder"): (0.712, 0.022),
    ("cpc", "context"): (0.731, 0.021),
    ("vqvae", "encoder"): (0.661, 0.023),
    ("vqvae", "codes"): (0.588, 0.027),
}


def row(task: str, metric: str, system: str, representation: str, value: float, half: float) -> dict[str, Any]:
    learnt = system in ("cpc", "vqvae", "random")
    return {
        "task": task,
        "system": system,
        "representation": representation,
        "metric": metric,
        "value": value,
        "low": value - half,
        "high": value + half,
        "n_events": 1304 if task == "shift_hold" else 17_280,
        "n_conversations": 48,
        "n_seeds": 3 if learnt else 1,
        "class_share": 0.41,
        "cost": COST if learnt else NO_COST,
    }


def difference(
    task: str, metric: str, system: str, other: str, value: float, half: float, other_representation: str = "encoder"
) -> dict[str, Any]:
    return {
        "task": task,
        "metric": metric,
        "system": system,
        "representation": "encoder",
        "other": other,
        "other_representation": other_representation,
        "value": value,
        "low": value - half,
        "high": value + half,
    }


def write_metrics(run: Path, seed: int, floor: float) -> Path:
    run.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(20, 2001, 20):
            loss = floor + 2 * np.exp(-step / 300) + rng.normal(0, 0.03)
            file.write(json.dumps({"step": step, "split": "train", "loss": loss}) + "\n")
            if step % 200 == 0:
                file.write(json.dumps({"step": step, "split": "validation", "loss": loss + 0.08}) + "\n")
    return run


def comparison(folder: Path) -> Comparison:
    rng = np.random.default_rng(0)
    recipe = CompareRecipe(
        name="made-up",
        data=DataConfig(pretrain=("voices",), probe=("dialogues",)),
        encoder=EncoderConfig(stacks=(StackConfig(), StackConfig(kernel=2, dilations=(2, 8, 16)))),
        objectives={"cpc": CPCConfig(), "vqvae": VQVAEConfig(codes=128)},
    )
    rows = []
    for (system, representation), (value, half) in SHIFT_HOLD.items():
        rows.append(row("shift_hold", "balanced_accuracy", system, representation, value, half))
        rows.append(row("shift_hold", "weighted_f1", system, representation, value - 0.02, half))
        rows.append(row("future_activity", "roc_auc", system, representation, 0.3 + 0.7 * value, half / 2))
    differences = [
        difference("shift_hold", "balanced_accuracy", "cpc", "majority", 0.212, 0.022, "none"),
        difference("shift_hold", "balanced_accuracy", "cpc", "activity_history", 0.189, 0.031, "activity_history"),
        difference("shift_hold", "balanced_accuracy", "cpc", "logmel", 0.060, 0.028, "logmel"),
        difference("shift_hold", "balanced_accuracy", "cpc", "random", 0.078, 0.027),
        difference("shift_hold", "balanced_accuracy", "cpc", "vqvae", 0.051, 0.025),
        difference("shift_hold", "balanced_accuracy", "vqvae", "majority", 0.161, 0.023, "none"),
        difference("shift_hold", "balanced_accuracy", "vqvae", "activity_history", 0.138, 0.030, "activity_history"),
        difference("shift_hold", "balanced_accuracy", "vqvae", "logmel", 0.009, 0.024, "logmel"),
        difference("shift_hold", "balanced_accuracy", "vqvae", "random", 0.027, 0.026),
    ]
    rate, frames = 50.0, 1500
    activity = np.zeros((frames, 2), dtype=bool)
    for start, stop, speaker in (
        (0, 210, 0),
        (230, 420, 0),
        (455, 700, 1),
        (690, 730, 0),
        (735, 1000, 1),
        (1040, 1400, 0),
    ):
        activity[start:stop, speaker] = True
    events = [
        Event(210, 230, "hold", 0, (210, 213)),
        Event(420, 455, "shift", 1, (420, 423)),
        Event(1000, 1040, "shift", 0, (1000, 1003)),
    ]
    walk = np.cumsum(rng.normal(0, 0.12, (6, frames)), axis=1)
    names = ("majority", "activity_history", "logmel", "random", "cpc", "vqvae")
    logmel = np.cumsum(rng.normal(0, 0.3, (2, 400, 80)), axis=1) * 0.3
    return Comparison(
        recipe=recipe,
        rows=rows,
        differences=differences,
        runs={
            name: [write_metrics(folder / f"{name}-{seed}", seed, floor) for seed in recipe.seeds]
            for name, floor in (("cpc", 3.1), ("vqvae", 0.8))
        },
        ceiling={"bayes_balanced_accuracy": 0.852, "realised": 0.847},
        labels={"dialogues": "cue"},
        counts={
            "train": {"conversations": 140, "shift": 1610, "hold": 2290, "frames": 50_400},
            "test": {"conversations": 48, "shift": 533, "hold": 771, "frames": 17_280},
        },
        belief={
            "conversation": "made-up-007",
            "start_seconds": 62.0,
            "frame_rate_hz": rate,
            "activity": activity,
            "events": events,
            "systems": {name: 1 / (1 + np.exp(-np.sin(walk[i]) * 2)) for i, name in enumerate(names)},
        },
        examples={
            "cpc": {
                "input": logmel,
                "loss_by_step": np.linspace(2.9, 4.4, 12),
                "accuracy_by_step": 0.5 * np.exp(-np.arange(12) / 4) + 0.01,
                "frames_ahead": np.arange(1, 13),
            },
            "vqvae": {
                "input": logmel,
                "reconstruction": logmel * 0.8,
                "codes": np.minimum(rng.geometric(0.04, (2, 200)), 128) - 1,
            },
        },
        horizons={name: 0.5 + (0.2 + 0.05 * i) * np.exp(-np.arange(60) / (12 + 5 * i)) for i, name in enumerate(names)},
        silences=[
            {"system": system, "representation": representation, "shortest": shortest, "longest": longest}
            | {"n_events": n, "value": value + extra, "low": value + extra - half, "high": value + extra + half}
            for (system, representation), (value, half) in SHIFT_HOLD.items()
            for shortest, longest, n, extra in ((0.0, 0.25, 0, 0.0), (0.25, 0.5, 700, -0.02), (0.5, None, 604, 0.03))
        ],
        seconds={"simulate": 21.0, "pretrain": 240.0, "probe": 65.0},
    )
