"""What a run directory tells the report."""

import json
from pathlib import Path

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values."""


def read_losses(run: Path) -> dict[str, Curve]:
    """Loss by step of "train" and "validation", as the training loop logged them in metrics.jsonl."""
    points: dict[str, list[tuple[float, float]]] = {"train": [], "validation": []}
    with (run / "metrics.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            points[entry["split"]].append((entry["step"], entry["loss"]))
    curves = {split: np.array(found, dtype=float).reshape(-1, 2) for split, found in points.items()}
    return {split: (curve[:, 0], curve[:, 1]) for split, curve in curves.items()}
