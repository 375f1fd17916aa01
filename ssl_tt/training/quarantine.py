"""Windows that cannot be read: others take their place, they are listed and counted over all processes.

RUN/quarantine.jsonl   {"item": 17, "drawn_for": 17, "conversation": "call1", "path": "audio/call1.wav",
                        "start_seconds": 61.2, "error": "..."}
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator

from ssl_tt.data.windows import Windows
from ssl_tt.errors import RunError
from ssl_tt.training.journal import cut_back


class Unreadable(NamedTuple):
    """A window that could not be read, and the item in whose place it was tried."""

    item: int
    drawn_for: int
    error: str


class Quarantine:
    """The list of a run, from its first `items` on; one process `writes` it.

    Every process adds what all of them have met, so that all count alike and stop together.
    """

    def __init__(self, run: Path, windows: Windows, most_share: float, items: int, *, writes: bool) -> None:
        self._path = run / "quarantine.jsonl"
        self._windows = windows
        self._share = most_share
        self._writes = writes
        # Those drawn after the checkpoint will be met again.
        entries = cut_back(self._path, lambda entry: entry["drawn_for"] < items and entry["item"] >= 0, write=writes)
        self._items: set[int] = {entry["item"] for entry in entries}

    def __len__(self) -> int:
        """Windows that could not be read, over all epochs."""
        return len(self._items)

    def add(self, unreadable: Sequence[Unreadable]) -> None:
        """RunError when they are more than the share of an epoch, or the list cannot be written."""
        if self._writes:
            self._write(unreadable)
        of_epoch = len(self._windows)
        for each in unreadable:
            self._items.add(each.item)
            epoch = each.item // of_epoch
            bad = sum(item // of_epoch == epoch for item in self._items)
            if bad > self._share * of_epoch:
                raise RunError(
                    f"{bad} of {of_epoch} windows of epoch {epoch} cannot be read, more than the share of "
                    f"{self._share:g}; the last: {each.error}; `ssl-tt check` lists them all ({self._path})"
                )

    def _write(self, unreadable: Sequence[Unreadable]) -> None:
        try:
            with self._path.open("a") as file:
                for each in unreadable:
                    conversation, start_seconds = self._windows.place(each.item)
                    where = {
                        "item": each.item,
                        "drawn_for": each.drawn_for,
                        "conversation": conversation.id,
                        "path": str(conversation.audio),
                        "start_seconds": start_seconds,
                        "error": each.error,
                    }
                    file.write(json.dumps(where) + "\n")
        except OSError as error:
            raise RunError(
                f"{self._path}: cannot be written ({error.strerror or error}); free some space, see that the folder is "
                "there, and give the same command to go on"
            ) from error


def of_all_processes(accelerator: Accelerator, unreadable: Sequence[Unreadable]) -> list[Unreadable]:
    """What all processes have met, in order of their ranks; as bytes of JSON, since gathering objects pickles them."""
    text = torch.tensor(list(json.dumps(unreadable).encode()), dtype=torch.uint8, device=accelerator.device)
    rows = accelerator.gather(accelerator.pad_across_processes(text)[None])  # padded with zeros
    return [Unreadable(*each) for row in rows.tolist() for each in json.loads(bytes(row).rstrip(b"\0"))]
