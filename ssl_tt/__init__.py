"""Self-supervised representations for turn-taking: one causal multi-stack convolutional encoder, two families.

Legend of shapes, used everywhere:

    B windows   S speakers (channels of audio)   N samples   T frames   M mel bands, or features of another front end
    C channels of a representation   F bands inside an encoder over time and frequency   K codes or classes
    H steps ahead

Between modules a representation is [B, T, C], over time and frequency [B, T, F, C]; convolutions turn the axes inside.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public names and where they live; resolved on first use, so that `ssl-tt --help` never imports torch.
_HOMES = {
    "load_encoder": "ssl_tt.training.checkpoint",
    "load_turn_taking": "ssl_tt.training.finetune",
    "Stream": "ssl_tt.encoder.streaming",
    "receptive_field": "ssl_tt.encoder.receptive_field",
    "find_events": "ssl_tt.turns.events",
    "Event": "ssl_tt.turns.events",
    "Conversation": "ssl_tt.data.conversation",
    "Segment": "ssl_tt.data.conversation",
    "InputError": "ssl_tt.errors",
}

if TYPE_CHECKING:
    from ssl_tt.data.conversation import Conversation, Segment
    from ssl_tt.encoder.receptive_field import receptive_field
    from ssl_tt.encoder.streaming import Stream
    from ssl_tt.errors import InputError
    from ssl_tt.training.checkpoint import load_encoder
    from ssl_tt.training.finetune import load_turn_taking
    from ssl_tt.turns.events import Event, find_events

__all__ = [
    "Conversation",
    "Event",
    "InputError",
    "Segment",
    "Stream",
    "__version__",
    "find_events",
    "load_encoder",
    "load_turn_taking",
    "receptive_field",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ssl_tt' has no attribute {name!r}")
