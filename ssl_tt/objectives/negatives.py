"""Which frames stand against the positive in a contrastive loss: an explicit axis, drawn without replacement.

Negatives are shared: each sequence gets one pool of frames, so that every score of the sequence is an entry of one
matrix product and no [B, T, N, C] tensor ever exists. A pool that may hold the sequence's own frames has one frame more
than the negatives asked for, and each positive leaves one out: itself if it is in the pool, else the last one. So
every positive meets the same number of distinct negatives and never itself.

    pool of sequence b   [ 7 2 9 4 ]     3 negatives
    positive frame 9       7 2 . 4       itself is left out
    positive frame 5       7 2 9 .       the last is left out; the pool is in random order

Where only some frames may be drawn, as those of speech, sequences have unequally many: a pool with too few ends in
columns that are missing, and its positives meet the frames there are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_tt.errors import InputError


class Pool(NamedTuple):
    """Frames to score for each sequence, as places in the candidates flattened to [(B T), C]."""

    frames: Tensor
    """[B, P] int64, distinct in each row and in random order."""
    left_out: Tensor | None
    """[B, T] int64: the column of `frames` that is no negative for frame t of the sequence; None if all are."""
    missing: Tensor | None
    """[B, P] bool: columns of `frames` that hold no frame to draw; None if all do."""

    @property
    def scorable(self) -> Tensor:
        """Sequences whose frames have a negative [B] bool."""
        columns = torch.ones_like(self.frames, dtype=torch.bool) if self.missing is None else ~self.missing
        return columns.sum(dim=1) > (self.left_out is not None)


def candidate_sequences(source: str, conversation: Tensor, speakers: int) -> Tensor:
    """Sequences [B * S, B * S] bool whose frames may be negatives of each sequence, in the order "(b s)".

    `conversation` [B] int64 tells the windows apart. Raises InputError where a sequence would have none.
    """
    window = torch.arange(len(conversation), device=conversation.device).repeat_interleave(speakers)
    sequence = torch.arange(len(window), device=conversation.device)
    same_sequence = sequence[:, None] == sequence
    same_window = window[:, None] == window
    same_conversation = conversation[window][:, None] == conversation[window]
    candidates = {
        "sequence": same_sequence,
        "other_channel": same_window & ~same_sequence,
        "same_conversation": same_conversation,
        "other_conversation": ~same_conversation,
        "batch": torch.ones_like(same_window),
    }[source]
    if not candidates.any(dim=1).all():
        given = (
            "windows of one channel" if source == "other_channel" else "a batch with windows of only one conversation"
        )
        raise InputError(
            f'objective.negatives "{source}": got {given}, which holds no such negatives; choose another source'
            + ("" if source == "other_channel" else " or raise training.batch_windows")
        )
    return candidates


def draw_pool(candidates: Tensor, own: Tensor, frames: int, count: int, drawable: Tensor | None = None) -> Pool:
    """Draw a pool for each sequence from torch's generator.

    candidates [B, B'] bool: sequences whose frames may be drawn; own [B] int64: where among the B' each sequence itself
    is; `frames` T in each. Gives `count` negatives to each positive, or all there are if that is fewer (in the row that
    has fewest). With `drawable` [B', T] bool only such frames are drawn, for positives that are such frames; where a
    row has fewer, its positives get those that it has. Random keys for every candidate frame: memory grows as B * T *
    (sequences allowed to one).
    """
    available = candidates.sum(dim=1) * frames
    includes_own = bool(candidates.gather(1, own[:, None]).any())
    size = min(count + includes_own, int(available.min()))
    most = int(available.max())
    keys = torch.rand(len(candidates), most, device=candidates.device)
    keys.masked_fill_(torch.arange(most, device=keys.device) >= available[:, None], -1.0)
    allowed = candidates.int().argsort(dim=1, descending=True, stable=True)  # the row's candidates first
    if drawable is not None:
        keys.masked_fill_(~drawable[allowed[:, : most // frames]].flatten(1), -1.0)
    keys, ordinal = keys.topk(size, dim=1)  # in order of the keys, so in random order; what is missing comes last
    missing = None if drawable is None else keys < 0
    sequence, frame = allowed.gather(1, ordinal // frames), ordinal % frames
    if not includes_own:
        return Pool(sequence * frames + frame, None, missing)
    left_out = torch.full((len(candidates), frames + 1), size - 1, device=keys.device)
    column = torch.arange(size, device=keys.device).expand_as(frame)
    left_out.scatter_(1, torch.where(sequence == own[:, None], frame, frames), column)  # others fall into the spare
    return Pool(sequence * frames + frame, left_out[:, :frames], missing)
