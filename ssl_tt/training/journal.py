"""Files of a run that grow by a line of JSON at a time, and are cut back to the checkpoint that a run goes on from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_tt.data.atomic import atomically
from ssl_tt.errors import InputError


def cut_back(path: Path, wanted: Callable[[dict[str, Any]], bool], *, write: bool) -> list[dict[str, Any]]:
    """The wanted entries of a file, in order; with `write`, one process's, the file holds no others afterwards.

    A last line without an end was cut by a crash and counts for nothing. InputError, with the line, for what is no
    entry; RunError if the file cannot be written.
    """
    kept: list[dict[str, Any]] = []
    lines: list[bytes] = []
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            if wanted(entry):
                kept.append(entry)
                lines.append(line + b"\n")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} line {number}: not as it was written ({error!r}); remove that line") from error
    if write and (new := b"".join(lines)) != content:
        with atomically(path) as file:
            file.write(new)
    return kept
