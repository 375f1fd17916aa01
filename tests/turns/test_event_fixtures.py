"""Stored events of dialogues that were checked by hand against the definition of every preset."""

import json
from pathlib import Path

import pytest

from ssl_tt.data.conversation import Conversation, Segment
from ssl_tt.turns.activity import activity
from ssl_tt.turns.events import find_events
from ssl_tt.turns.presets import PRESETS

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("preset", PRESETS)
def test_events_are_those_that_were_stored(path: Path, preset: str) -> None:
    stored = json.loads(path.read_text())
    call = Conversation(
        id=path.stem,
        audio=None,
        sample_rate_hz=None,
        channels=2,
        duration_seconds=stored["duration_seconds"],
        speakers=("A", "B"),
        segments=tuple(tuple(Segment(*each) for each in stored["segments"][name]) for name in "AB"),
    )
    rate_hz = PRESETS[preset].frame_rate_hz or 50
    found = [
        [e.kind, "AB"[e.previous], "AB"[e.speaker], *(round(t / rate_hz, 2) for t in (e.start, e.end, *e.region))]
        for e in find_events(activity(call, rate_hz), rate_hz, preset)
    ]
    assert found == stored["events"][preset]


def test_the_stored_dialogues_have_events_of_every_preset_and_every_kind_of_the_first() -> None:
    kinds: dict[str, set[str]] = {name: set() for name in PRESETS}
    for path in FIXTURES:
        for preset, events in json.loads(path.read_text())["events"].items():
            kinds[preset] |= {kind for kind, *_ in events}
    assert kinds["vap2022"] == kinds["vap2023"] == set(PRESETS["vap2022"].kinds)
    assert all(kinds.values())
