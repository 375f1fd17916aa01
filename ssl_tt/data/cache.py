"""Blocks of remote files on the local disk: bounded, shared by processes, believed only where their checksum agrees.

FOLDER/blocks/KEY    4 bytes of CRC-32 and a block; its time is that of its last use
"""

import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path

from ssl_tt.errors import RunError

FOLDER = "checkpoints/cache"
GIGABYTES = 20.0

# Each process looks at the whole folder once it has added a 32nd of the bound; the room made is for four of them.
_LOOK_SHARE, _ROOM_SHARE = 1 / 32, 1 / 8
_TOUCH_SECONDS = 60.0  # a block that was used this lately is not marked again
_ABANDONED_SECONDS = 3600.0  # since a process began to write a block and did not finish

_added_bytes: dict[Path, float] = {}


@dataclass(frozen=True)
class Cache:
    """A folder for blocks of remote files that grows to `limit_bytes` and then loses those that were used longest ago.

    Several processes may use it at once, and may be killed at any time: a block appears whole, and one that the disk
    has damaged is fetched again. With more than four processes that fetch, the bound may be passed by a 32nd for each.
    """

    folder: Path = Path(FOLDER)
    limit_bytes: int = int(GIGABYTES * 1e9)

    def block(self, name: str, size: int, fetch: Callable[[], bytes]) -> bytes:
        """The block of that name and size: from the disk, or from `fetch` and then kept. RunError for a full disk."""
        path = self.folder / "blocks" / sha256(name.encode()).hexdigest()
        kept = _kept(path, size)
        if kept is not None:
            return kept
        data = fetch()
        try:
            self._keep(path, data)
        except OSError as error:
            raise RunError(
                f"{self.folder}: a fetched block cannot be kept ({error.strerror or error}): free some space, lower "
                "data.cache_gigabytes, or name another data.cache_folder"
            ) from error
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not flushed to the disk: what a power cut leaves of a block does not agree with its checksum.
        partial = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.partial")
        try:
            partial.write_bytes(zlib.crc32(data).to_bytes(4, "little") + data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        # A process that starts does not know what is there: it looks at once.
        added = _added_bytes.get(self.folder, self.limit_bytes) + len(data)
        if added > self.limit_bytes * _LOOK_SHARE:
            self._make_room(path.parent)
            added = 0.0
        _added_bytes[self.folder] = added

    def _make_room(self, blocks: Path) -> None:
        with locked(self.folder / "lock", wait=False) as mine:
            if not mine:
                return  # another process is at it
            found = []
            for entry in os.scandir(blocks):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    abandoned = entry.name.endswith(".partial") and time.time() - status.st_mtime > _ABANDONED_SECONDS
                    found.append((0.0 if abandoned else status.st_mtime, status.st_size, entry.path))
            total = sum(size for _, size, _ in found)
            if total <= self.limit_bytes * (1 - _ROOM_SHARE):
                return
            for _, size, path in sorted(found):
                if total <= self.limit_bytes * (1 - 2 * _ROOM_SHARE):
                    break
                Path(path).unlink(missing_ok=True)
                total -= size


def _kept(path: Path, size: int) -> bytes | None:
    """A block that was kept and is whole."""
    try:
        with path.open("rb") as file:
            text = file.read(4 + size + 1)
            data = text[4:]
            if len(data) != size or zlib.crc32(data) != int.from_bytes(text[:4], "little"):
                return None
            if time.time() - os.fstat(file.fileno()).st_mtime > _TOUCH_SECONDS:
                with suppress(OSError):  # a folder that may only be read is as good
                    os.utime(path)
    except OSError:
        return None
    return data


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file while inside, which the system frees whatever happens; whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        try:
            flock(file, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
