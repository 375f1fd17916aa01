"""Is this the annotation of this recording? What somebody should look at before training on it."""

from ssl_tt.data.channel_order import CLEAR_DB, measured_order
from ssl_tt.data.conversation import Conversation

_SILENT_SHARE = 0.5


def doubts(conversation: Conversation) -> list[str]:
    """A sentence for channels that sound swapped and for annotation that ends long before its recording.

    Errors as in `audio.read`. What has no audio or no segments raises no doubts.
    """
    path, segments = conversation.audio, conversation.segments
    if path is None or segments is None or not any(segments):
        return []
    found = []
    last = max(end for channel in segments for _, end in channel)
    if last < _SILENT_SHARE * conversation.duration_seconds:
        found.append(
            f"{path}: nobody speaks after {last:.1f} of {conversation.duration_seconds:.1f} s; was the annotation cut "
            "short?"
        )
    order = measured_order([path], segments) if conversation.channels > 1 and all(segments) else None
    if order is not None and order.above_given_db >= CLEAR_DB:
        heard = ", ".join(
            f"{speaker!r} on channel {channel}"
            for speaker, channel in zip(conversation.speakers, order.channels, strict=True)
        )
        found.append(f"{path}: the audio says otherwise than the annotation: {heard}; are the channels swapped?")
    return found
