"""The target of a head, by its settings."""

from ssl_tt.turns.activity_target import ActivityTarget
from ssl_tt.turns.config import (
    ActivityTargetConfig,
    EventsTargetConfig,
    FutureTargetConfig,
    TargetConfig,
    VAPTargetConfig,
)
from ssl_tt.turns.event_target import EventsTarget
from ssl_tt.turns.projection_targets import FutureTarget, VAPTarget

Target = EventsTarget | ActivityTarget | FutureTarget | VAPTarget


def build_target(config: TargetConfig, frame_rate_hz: float) -> Target:
    """Target of these settings; InputError for a frame rate at which it is not defined."""
    match config:
        case EventsTargetConfig():
            return EventsTarget(config, frame_rate_hz)
        case ActivityTargetConfig():
            return ActivityTarget(config, frame_rate_hz)
        case FutureTargetConfig():
            return FutureTarget(config, frame_rate_hz)
        case VAPTargetConfig():
            return VAPTarget(config, frame_rate_hz)
