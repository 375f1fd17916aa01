"""Files at a URL, and stretches of shards: they are read like a `Path`, and cannot be written.

What is fetched comes through fsspec in blocks of a local cache. A manifest that was fetched, or one of shards, names
audio below its own folder and nothing else: see `below`.
"""

import io
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ssl_tt.data.cache import Cache
from ssl_tt.errors import InputError, RunError

Answer = TypeVar("Answer")

BLOCK_BYTES = 1 << 19
"""Bytes fetched at a time: 4 s of two channels at 16 kHz in FLAC take about 150 kB."""

_RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# What tells that an object is another one now, by the names that file systems give it.
_VERSION_KEYS = ("ETag", "etag", "generation", "blob_id", "md5Hash", "LastModified", "mtime", "created")


class Status(NamedTuple):
    """Size and version of a file, named as `os.stat` names them."""

    st_size: int
    st_mtime_ns: int
    """Changes when the file does; a time only where the file system says so."""


@dataclass(frozen=True)
class Remote:
    """A file at a URL of any protocol that fsspec knows, such as s3://, gs:// or hf://, read through a cache.

    Raises FileNotFoundError for what is not there, InputError for a protocol that is unknown or forbids access, and
    RunError where the storage cannot be reached, after five retries in 16 seconds.
    """

    url: str
    cache: Cache

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, relative: str) -> "Remote":
        return Remote(f"{self.url.rstrip('/')}/{relative}", self.cache)

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "Remote":
        return Remote(self.url.rpartition("/")[0], self.cache)

    def stat(self) -> Status:
        """Size and version, asked for once in a process."""
        return _status(self)

    def is_file(self) -> bool:
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def open(self, mode: str = "rb", buffering: int = 0) -> io.RawIOBase:
        return _Stretch(self._read, 0, self.stat().st_size, lambda: None)

    def read_bytes(self) -> bytes:
        with self.open() as file:
            return file.readall()

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def download(self, path: Path) -> None:
        """Copy the whole of it to a new file on the disk, past the cache."""
        size = self.stat().st_size
        with path.open("wb") as file:
            for start in range(0, size, 16 * BLOCK_BYTES):
                file.write(self._fetch(start, min(start + 16 * BLOCK_BYTES, size)))

    def _read(self, start: int, n: int) -> bytes:
        """At most n bytes from a place on, those that lie in one block."""
        number, within = divmod(start, BLOCK_BYTES)
        return _block(self, number)[within : within + n]

    def _fetch(self, start: int, end: int) -> bytes:
        def fetch(files: Any, path: str) -> bytes:
            data: bytes = files.cat_file(path, start=start, end=end)
            if len(data) != end - start:
                raise OSError(f"{len(data)} of {end - start} bytes came")
            return data

        return _asked(self.url, fetch)


@dataclass(frozen=True)
class Member:
    """A stretch of bytes of a shard, which is a file of its own to whoever reads it.

    Raises InputError, when it is opened, for a shard that is a link, no file, or too short to hold it.
    """

    shard: "Path | Remote"
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard} [{self.offset}, {self.offset + self.size})"

    @property
    def name(self) -> str:
        return self.shard.name

    def stat(self) -> Status:
        status = os.lstat(self.shard) if isinstance(self.shard, Path) else self.shard.stat()
        if isinstance(status, os.stat_result) and not stat.S_ISREG(status.st_mode):
            raise InputError(f"{self.shard}: a link or no file, expected a shard: copy it here itself")
        if self.offset + self.size > status.st_size:
            raise InputError(
                f"{self.shard}: {status.st_size} bytes, expected {self.offset + self.size} at least by its index: "
                "truncated, copy it again"
            )
        return Status(self.size, status.st_mtime_ns)

    def is_file(self) -> bool:
        return self.shard.is_file()

    def open(self, mode: str = "rb", buffering: int = 0) -> io.RawIOBase:
        self.stat()
        if isinstance(self.shard, Remote):
            return _Stretch(self.shard._read, self.offset, self.size, lambda: None)
        shard = os.open(self.shard, os.O_RDONLY | os.O_NOFOLLOW)
        return _Stretch(lambda start, n: os.pread(shard, n, start), self.offset, self.size, lambda: os.close(shard))


File = Path | Remote | Member


def located(text: str, cache: Cache | None = None) -> Path | Remote:
    """What a user's text names: a file at a URL where it begins like one, else a path."""
    return Remote(text, cache or Cache()) if _PROTOCOL.match(text) else Path(text)


def below(folder: Path | Remote, relative: str) -> Path | Remote:
    """A file below a folder; InputError for a name that leads out of it, or that only some systems take for one."""
    parts = relative.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or any(sign in relative for sign in ("\\", "::", "//"))
        or not relative.isprintable()
    ):
        raise InputError(f"{folder}: audio {relative!r}, expected a plain path below this folder")
    return folder / relative


class _Stretch(io.RawIOBase):
    """Bytes [offset, offset + size) of something that is read by place, as a file."""

    def __init__(self, read: Callable[[int, int], bytes], offset: int, size: int, close: Callable[[], None]) -> None:
        self._read, self._offset, self._size, self._close = read, offset, size, close
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        n = min(len(buffer), self._size - self._position)
        if n <= 0:
            return 0
        data = self._read(self._offset + self._position, n)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


@lru_cache(maxsize=1 << 16)
def _status(remote: Remote) -> Status:
    def status(files: Any, path: str) -> Status:
        info = files.info(path)
        if info["type"] != "file":
            raise FileNotFoundError(path)
        if info["size"] is None:
            raise InputError(f"{remote.url}: the server does not tell its size; use a storage that does")
        version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
        return Status(info["size"], int.from_bytes(sha256(version.encode()).digest()[:8], "big"))

    return _asked(remote.url, status)


@lru_cache(maxsize=64)  # 32 MiB in each process
def _block(remote: Remote, number: int) -> bytes:
    status = remote.stat()
    start = number * BLOCK_BYTES
    end = min(start + BLOCK_BYTES, status.st_size)
    name = f"{remote.url} {status.st_size} {status.st_mtime_ns} {number}"
    return remote.cache.block(name, end - start, lambda: remote._fetch(start, end))


def _asked(url: str, ask: Callable[[Any, str], Answer]) -> Answer:
    """What a file system answers about a URL, asked again after errors that may pass."""
    for delay in (*_RETRY_SECONDS, None):
        try:
            # Made anew in every process (fsspec keeps it): what a fork brings along of it does not work.
            files, path = _file_system(url)
            return ask(files, path)
        except InputError:
            raise
        except (FileNotFoundError, IsADirectoryError) as error:
            raise FileNotFoundError(2, "No such file", url) from error
        except PermissionError as error:
            raise InputError(
                f"{url}: access is denied ({error}): give the credentials that its storage asks for"
            ) from error
        except Exception as error:  # each file system has errors of its own
            if delay is None:
                raise RunError(
                    f"{url}: cannot be fetched after {len(_RETRY_SECONDS)} retries ({error or type(error).__name__}): "
                    "is the storage there? The same command goes on from the last checkpoint"
                ) from error
            time.sleep(delay)
    raise AssertionError("unreachable")


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.partition("://")[0]
    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(protocol)
        hint = f"install ssl-tt[{extra}]" if extra else "expected one such as s3://, gs:// or hf://"
        raise InputError(f"{url}: {protocol}:// cannot be read ({error}); {hint}") from error
    return files, path
