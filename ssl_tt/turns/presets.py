"""Definitions of turn-taking events found in the literature, every number with its source."""

from dataclasses import dataclass
from difflib import get_close_matches

from ssl_tt.errors import InputError


@dataclass(frozen=True)
class Preset:
    """Shift and hold at mutual silences: which silences count, and when the listener has to decide."""

    name: str
    silence_above_seconds: float
    """The mutual silence lasts longer than this."""
    utterance_above_seconds: float
    """So do the utterances before and after it: one speaker alone, with pauses inside a turn filled."""
    decision_seconds: float
    """The decision falls this far into the silence."""
    context_seconds: float
    """No decision is asked for before this moment of the conversation."""


PRESETS = {
    "inoue2024": Preset(
        name="inoue2024",
        # Inoue et al. 2024 (arXiv 2401.04868), evaluation: mutual silences longer than 0.25 s between utterances longer
        # than 1 s, in their natural proportion, scored by balanced accuracy.
        silence_above_seconds=0.25,
        utterance_above_seconds=1.0,
        # Ekstedt & Skantze 2022 and vap_turn_taking: `pad` of 0.05 s, `min_context` of 3 s; Inoue et al. keep both.
        decision_seconds=0.05,
        context_seconds=3.0,
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of this name; InputError names the nearest known one."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known presets: {', '.join(sorted(PRESETS))}"
        raise InputError(f"unknown preset {name!r}; {hint}")
    return PRESETS[name]
