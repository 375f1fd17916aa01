"""Splits for corpora where everybody talks to everybody, so that no split of conversations keeps speakers apart."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from ssl_tt.data.conversation import Conversation, Split
from ssl_tt.errors import InputError


def hold_out_speakers(conversations: Sequence[Conversation], share: float, seed: int = 0) -> list[Conversation]:
    """The conversations whose speakers are all in one split, which they then name; the others are left out.

    That share of the speakers, drawn by seed and names alone, is for validation, and as many others for test. Of N
    conversations between people who meet at random, (1 - 2 share)^2 N are left to train on and share^2 N to validate
    on. InputError for a share that is not between 0 and 0.5, and if a split would be empty.
    """
    if not 0 < share < 0.5:
        raise InputError(f"held-out share {share}, expected more than 0 and less than 0.5 of the speakers")
    speakers = {speaker for conversation in conversations for speaker in conversation.speakers}
    drawn = sorted(speakers, key=lambda speaker: hashlib.sha256(f"{seed} {speaker}".encode()).digest())
    n_held_out = round(share * len(drawn))
    split_of: dict[str, Split] = dict.fromkeys(drawn, "train")
    split_of |= dict.fromkeys(drawn[:n_held_out], "validation")
    split_of |= dict.fromkeys(drawn[n_held_out : 2 * n_held_out], "test")
    kept = []
    for conversation in conversations:
        splits = {split_of[speaker] for speaker in conversation.speakers}
        if len(splits) == 1:
            kept.append(replace(conversation, split=splits.pop()))
    counts = {
        split: sum(conversation.split == split for conversation in kept) for split in ("train", "validation", "test")
    }
    if not all(counts.values()):
        found = ", ".join(f"{count} for {split}" for split, count in counts.items())
        raise InputError(
            f"held-out share {share} of {len(drawn)} speakers leaves {found} of {len(conversations)} conversations, "
            "expected some for each: choose another share"
        )
    return kept
