"""What can be scored: a truth, an answer and a conversation for every event or frame."""

import numpy as np
from numpy.typing import ArrayLike

from ssl_tt.errors import InputError


def check(
    truth: ArrayLike, answer: ArrayLike, conversation: ArrayLike, n_conversations: int, n_classes: int = 2
) -> None:
    """Raise InputError unless all three are finite [n] of one length, truth a class and conversations in range."""
    truth, answer, conversation = np.asarray(truth), np.asarray(answer), np.asarray(conversation)
    if truth.ndim != 1 or not truth.shape == answer.shape == conversation.shape:
        raise InputError(
            f"truth {list(truth.shape)}, answers {list(answer.shape)} and conversations {list(conversation.shape)}: "
            "expected three lists of one length"
        )
    check_classes("truth", truth, n_classes)
    if not np.isfinite(answer).all():
        raise InputError("answers hold NaN or infinite values: a system must answer every question")
    if len(conversation) and not (conversation.min() >= 0 and conversation.max() < n_conversations):
        raise InputError(
            f"conversations are numbered 0 to {n_conversations - 1}, given {conversation.min()} to {conversation.max()}"
        )


def check_classes(name: str, classes: ArrayLike, n_classes: int) -> None:
    """Raise InputError unless all of `classes` are whole numbers from 0 to n_classes - 1."""
    if not np.isin(classes, np.arange(n_classes)).all():
        known = "0 and 1" if n_classes == 2 else f"0 to {n_classes - 1}"
        raise InputError(f"{name} holds values other than {known}: number the {n_classes} classes from 0")
