"""A file is whole or as it was before."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ssl_tt.data.atomic import atomically
from ssl_tt.data.audio import write_wav
from ssl_tt.errors import RunError


@contextmanager
def at_most(n_bytes: int) -> Iterator[None]:
    """The system refuses files longer than this, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_folders_are_made_and_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with atomically(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomically(path) as file:
        file.write(b"new" * (1 // 0))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_the_old_audio(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_wav(path, np.zeros((2, 100)), 16000)
    old = path.read_bytes()
    with at_most(10_000), pytest.raises(RunError, match=r"call.wav: cannot be written .*untouched"):
        write_wav(path, np.zeros((2, 100_000)), 16000)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be written"), atomically(tmp_path / "file" / "manifest.jsonl"):
        pass
