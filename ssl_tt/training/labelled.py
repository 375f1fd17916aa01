"""Which part of the annotated dialogues probes and heads may learn from, to ask how few labels are enough."""

import hashlib
from collections.abc import Iterable, Sequence

from ssl_tt.data.conversation import Conversation
from ssl_tt.errors import InputError

# Sums of seconds are as good as this.
_SLACK_SECONDS = 1e-6


def drawn(conversations: Iterable[Conversation], seed: int) -> list[str]:
    """The dialogues of conversations in an order that seed and names decide, not the order they come in."""
    names = {conversation.dialogue for conversation in conversations}
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())


def labelled(
    conversations: Sequence[Conversation], share: float, seed: int, frame_seconds: float
) -> list[Conversation]:
    """Conversations that hold a share of the seconds of all, to within a frame; smaller shares lie in larger ones.

    Dialogues are taken as `drawn`, in all their recordings, the last one up to where the share is reached. Where that
    is within the first two, which a probe and a head need to hold one out, both are cut by the same factor. InputError
    where fewer than two are left.
    """
    if share == 1.0:
        return list(conversations)
    seconds: dict[str, float] = dict.fromkeys(drawn(conversations, seed), 0.0)
    for conversation in conversations:
        seconds[conversation.dialogue] += conversation.duration_seconds
    left = share * sum(seconds.values())
    first_two = sum(list(seconds.values())[:2])
    of_each = min(1.0, left / first_two) if first_two else 0.0
    factors: dict[str, float] = {}
    for name, length in seconds.items():
        factors[name] = of_each if len(factors) < 2 else min(1.0, max(0.0, left / length))
        left -= factors[name] * length
    found = [
        conversation.beginning(factor * conversation.duration_seconds)
        for conversation in conversations
        if (factor := factors[conversation.dialogue]) * conversation.duration_seconds >= frame_seconds - _SLACK_SECONDS
    ]
    if len({conversation.dialogue for conversation in found}) < 2:
        n = len(seconds)
        raise InputError(
            f"data.labelled_share {share:g} of {n} training dialogue{'s' * (n != 1)} of {sum(seconds.values()):.0f} s: "
            "leaves fewer than 2 to learn from, expected one to hold out: raise it, or add annotated conversations"
        )
    return found
