"""What the tests of simulated corpora share: a probe for traces, and TextGrids made by hand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from ssl_tt.data.audio import read
from ssl_tt.data.conversation import Conversation
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import find_events

DECISION_SECONDS = 0.05
"""How far into a silence the decision falls (Inoue 2024)."""


def shift_hold_interval(
    conversations: Sequence[Conversation], start_seconds: float, end_seconds: float, block_seconds: float, bands: int
) -> tuple[float, float]:
    """99 % interval of the balanced accuracy of a linear probe that hears only [start, end) around a silence's start.

    Features are the log energies in bands of frequency of each block, of the channel that spoke last and of the other;
    conversations are kept apart by cross-validation, and the interval is a bootstrap over them. Shifts and holds weigh
    the same after each speaker of each conversation: otherwise the room tells who speaks, and a clinician's silences
    become shifts more often than a patient's.
    """
    features: list[np.ndarray] = []
    labels: list[bool] = []
    groups: list[tuple[int, int]] = []
    for number, conversation in enumerate(conversations):
        samples = read(conversation.audio)
        rate = conversation.sample_rate_hz
        block = round(block_seconds * rate)
        for silence, previous, shift in silences(conversation):
            first = round((silence + start_seconds) * rate)
            count = round((end_seconds - start_seconds) / block_seconds)
            heard = samples[[previous, 1 - previous], first : first + count * block].reshape(2, count, block)
            power = np.abs(np.fft.rfft(heard * np.hanning(block), axis=2)) ** 2
            edges = np.unique(np.geomspace(1, power.shape[2], bands + 1).astype(int))
            features.append(np.log(np.add.reduceat(power, edges[:-1], axis=2) + 1e-9).ravel())
            labels.append(shift)
            groups.append((number, previous))
    x, y, of_conversation = np.array(features), np.array(labels), np.array(groups)[:, 0]
    sizes = Counter(zip(groups, labels, strict=True))
    weights = np.array(
        [
            1 / sizes[group, label] if sizes[group, not label] else 0.0
            for group, label in zip(groups, labels, strict=True)
        ]
    )

    right = np.zeros(len(y), dtype=bool)
    for train, test in GroupKFold(5).split(x, y, of_conversation):
        scaler = StandardScaler().fit(x[train])
        probe = LogisticRegression(C=0.003, max_iter=500)
        probe.fit(
            scaler.transform(x[train]), y[train], sample_weight=weights[train] * len(train) / weights[train].sum()
        )
        right[test] = probe.predict(scaler.transform(x[test])) == y[test]
    members = [np.flatnonzero(of_conversation == number) for number in np.unique(of_conversation)]
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(1000):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        scores.append(np.average(right[drawn], weights=weights[drawn]))
    low, high = np.quantile(scores, [0.005, 0.995])
    return float(low), float(high)


def silences(conversation: Conversation) -> list[tuple[float, int, bool]]:
    """Where the silences of the events start, to the sample, who spoke before, and whether it is a shift."""
    frame_rate_hz = 50.0
    ends = [np.array([segment.end_seconds for segment in segments]) for segments in conversation.segments]
    return [
        (
            float(ends[event.previous][np.argmin(np.abs(ends[event.previous] - event.start / frame_rate_hz))]),
            event.previous,
            event.kind == "shift",
        )
        for event in find_events(activity(conversation, frame_rate_hz), frame_rate_hz)
        if event.start > 2 * frame_rate_hz
    ]


def write_textgrid(path: Path, utterances: Sequence[tuple[float, float, str]], seconds: float) -> None:
    """A TextGrid of one speaker."""
    intervals: list[tuple[float, float, str]] = []
    position = 0.0
    for start, end, text in utterances:
        if start > position:
            intervals.append((position, start, ""))
        intervals.append((start, end, text))
        position = end
    if position < seconds:
        intervals.append((position, seconds, ""))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "xmin = 0",
        f"xmax = {seconds}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "item [1]:",
        'class = "IntervalTier"',
        'name = "speaker"',
        "xmin = 0",
        f"xmax = {seconds}",
        f"intervals: size = {len(intervals)}",
    ]
    for number, (start, end, text) in enumerate(intervals, 1):
        lines += [f"intervals [{number}]:", f"xmin = {start}", f"xmax = {end}", f'text = "{text}"']
    path.write_text("\n".join(lines) + "\n")
