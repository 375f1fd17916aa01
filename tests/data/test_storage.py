"""What lies at a URL is read as if it were here, through a bounded cache that nothing can spoil for long."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ssl_tt.data import cache as caches
from ssl_tt.data import storage
from ssl_tt.data.audio import probe_header, read, sha256, write_wav
from ssl_tt.data.cache import Cache
from ssl_tt.data.conversation import Conversation
from ssl_tt.data.manifest import check_manifest, read_manifest, write_manifest
from ssl_tt.data.shards import write_shards
from ssl_tt.data.storage import BLOCK_BYTES, Member, Remote, below, located
from ssl_tt.errors import InputError, RunError

RATE_HZ = 8000


class Flaky(MemoryFileSystem):
    """Objects in memory at flaky://, whose first requests fail; it counts all."""

    protocol = "flaky"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failures: ClassVar[list[Exception | int]] = []
    requests: ClassVar[list[tuple[int | None, int | None]]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("flaky://").strip("/")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.requests.append((start, end))
        data: bytes = super().cat_file(path, start, end)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return data[:failure]
        return data


@pytest.fixture(autouse=True)
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Flaky]]:
    """An empty store, waits that take no time, and nothing remembered of tests before."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(storage, "_RETRY_SECONDS", (0.0,) * 5)
    for known in (Flaky.store, Flaky.failures, Flaky.requests, caches._added_bytes):
        known.clear()
    forget()
    yield Flaky
    forget()


def forget() -> None:
    """Be another process, which knows only what is on the disk."""
    storage._status.cache_clear()
    storage._block.cache_clear()


def put(name: str, data: bytes) -> str:
    Flaky().pipe_file(f"flaky://{name}", data)
    return f"flaky://{name}"


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(n_bytes)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 100 * BLOCK_BYTES)


def corpus(folder: Path, n: int = 3) -> list[Conversation]:
    made = []
    for number in range(n):
        path = folder / f"{number}.wav"
        write_wav(path, 0.1 * np.random.default_rng(number).standard_normal((2, 2 * RATE_HZ)), RATE_HZ)
        people = (f"{number}a", f"{number}b")
        made.append(Conversation(str(number), path, RATE_HZ, 2, 2.0, people, ((), ()), sha256(path)))
    write_manifest(folder / "manifest.jsonl", made)
    return made


def shards(folder: Path, n: int = 3) -> list[Conversation]:
    plain = corpus(folder / "plain", n)
    write_shards(plain, folder / "shards", lambda c, _: (c, []), settings="", processes=1)
    return plain


def uploaded(folder: Path) -> str:
    for path in folder.iterdir():
        put(f"bucket/{folder.name}/{path.name}", path.read_bytes())
    return f"flaky://bucket/{folder.name}"


@pytest.mark.parametrize("kind", ["plain", "shards"])
def test_a_corpus_at_a_url_reads_like_one_here(kind: str, tmp_path: Path, cache: Cache) -> None:
    plain = shards(tmp_path)
    manifest = located(uploaded(tmp_path / kind) + "/manifest.jsonl", cache)
    for before, after in zip(plain, read_manifest(manifest), strict=True):
        assert after.audio is not None
        assert str(after.audio).startswith(f"flaky://bucket/{kind}/")
        np.testing.assert_array_equal(read(after.audio), read(before.audio))
        np.testing.assert_array_equal(read(after.audio, 0.7, 0.1), read(before.audio, 0.7, 0.1))
    checked = check_manifest(manifest)
    assert (checked.problems, len(checked.good)) == ([], 3)


def test_any_stretch_of_a_remote_file_is_read(cache: Cache) -> None:
    data = noise(3 * BLOCK_BYTES + 17)
    remote = Remote(put("x", data), cache)
    draw = np.random.default_rng(0)
    assert remote.read_bytes() == data
    for _ in range(50):
        start, n = draw.integers(len(data)), draw.integers(2 * BLOCK_BYTES)
        member = Member(remote, int(start), int(min(n + 1, len(data) - start)))
        with member.open() as file:
            assert file.read() == data[start : start + member.size]
            file.seek(-7 if member.size > 7 else 0, os.SEEK_END)
            assert file.read() == data[start : start + member.size][-7:]
            assert file.read(1) == b""


def test_what_was_fetched_is_not_fetched_again(cache: Cache, flaky: type[Flaky]) -> None:
    remote = Remote(put("x", noise(2 * BLOCK_BYTES + 1)), cache)
    remote.read_bytes()
    assert len(flaky.requests) == 3
    forget()
    remote.read_bytes()
    assert len(flaky.requests) == 3


def test_only_the_blocks_of_a_member_are_fetched(cache: Cache, flaky: type[Flaky]) -> None:
    remote = Remote(put("x", noise(9 * BLOCK_BYTES)), cache)
    Member(remote, 4 * BLOCK_BYTES - 10, 20).open().read()
    assert flaky.requests == [(3 * BLOCK_BYTES, 4 * BLOCK_BYTES), (4 * BLOCK_BYTES, 5 * BLOCK_BYTES)]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer"])
def test_a_damaged_block_is_found_and_fetched_again(damage: str, cache: Cache, flaky: type[Flaky]) -> None:
    data = noise(2 * BLOCK_BYTES)
    remote = Remote(put("x", data), cache)
    remote.read_bytes()
    for block in (cache.folder / "blocks").iterdir():
        kept = bytearray(block.read_bytes())
        kept[1000] ^= 1
        block.write_bytes({"flip": kept, "cut": kept[:500], "empty": b"", "longer": block.read_bytes() + b"x"}[damage])
    forget()
    assert remote.read_bytes() == data
    assert len(flaky.requests) == 4
    forget()
    assert remote.read_bytes() == data
    assert len(flaky.requests) == 4


def test_an_object_that_changed_is_fetched_anew(cache: Cache) -> None:
    remote = Remote(put("x", noise(1000)), cache)
    remote.read_bytes()
    put("x", noise(1000, seed=1))
    forget()
    assert remote.read_bytes() == noise(1000, seed=1)


def test_the_cache_stays_in_its_bounds_and_keeps_what_was_used_last(tmp_path: Path, flaky: type[Flaky]) -> None:
    cache = Cache(tmp_path / "cache", 16 * BLOCK_BYTES)
    remote = Remote(put("x", noise(40 * BLOCK_BYTES)), cache)
    (tmp_path / "cache" / "blocks").mkdir(parents=True)
    abandoned = tmp_path / "cache" / "blocks" / "x.1.2.partial"
    abandoned.write_bytes(noise(BLOCK_BYTES))
    os.utime(abandoned, (1, 1))
    most = 0
    for number in range(40):
        for use in (number, 0):  # the first block is used all the time
            Member(remote, use * BLOCK_BYTES, 1).open().read()
        for block in (tmp_path / "cache" / "blocks").iterdir():
            os.utime(block, ns=(0, block.stat().st_mtime_ns - 61_000_000_000))  # a minute passes
        storage._block.cache_clear()
        most = max(most, sum(path.stat().st_size for path in (tmp_path / "cache" / "blocks").iterdir()))
    assert 12 * BLOCK_BYTES < most <= cache.limit_bytes
    assert not abandoned.exists()
    assert flaky.requests.count((0, BLOCK_BYTES)) == 1
    assert len(flaky.requests) == 40


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    """Four processes read eight files at once through room for less than one, and are killed and started at will."""
    (tmp_path / "files").mkdir()
    for number in range(8):
        (tmp_path / "files" / str(number)).write_bytes(noise(6 * BLOCK_BYTES, seed=number))
    code = (
        "import sys\nfrom pathlib import Path\nfrom hashlib import sha256\n"
        "from ssl_tt.data.cache import Cache\nfrom ssl_tt.data.storage import Remote, _block, BLOCK_BYTES\n"
        "for turn in range(3):\n  for n in range(8):\n"
        f"    cache = Cache(Path({str(tmp_path / 'cache')!r}), 32 * BLOCK_BYTES)\n"
        f"    remote = Remote('file://{tmp_path}/files/' + str(n), cache)\n"
        "    print(n, sha256(remote.read_bytes()).hexdigest(), flush=True)\n    _block.cache_clear()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert started[0].stdout is not None
    started[0].stdout.readline()
    started[0].kill()
    expected = "".join(f"{n} {sha256(tmp_path / 'files' / str(n))}\n" for n in range(8))
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert outputs[1:] == [3 * expected] * 3
    assert sum(path.stat().st_size for path in (tmp_path / "cache" / "blocks").iterdir()) <= 33 * BLOCK_BYTES


@pytest.mark.parametrize("failure", [ConnectionError("reset"), TimeoutError(), 100, 0])
def test_errors_that_pass_are_outlasted(failure: Exception | int, cache: Cache, flaky: type[Flaky]) -> None:
    remote = Remote(put("x", noise(1000)), cache)
    flaky.failures[:] = [failure] * 5
    assert remote.read_bytes() == noise(1000)
    assert len(flaky.requests) == 6


def test_storage_that_vanished_stops_the_work_and_is_named(
    tmp_path: Path, cache: Cache, flaky: type[Flaky], capfd: pytest.CaptureFixture[str]
) -> None:
    shards(tmp_path)
    conversation = read_manifest(located(uploaded(tmp_path / "shards") + "/manifest.jsonl", cache))[1]
    assert conversation.audio is not None
    flaky.failures[:] = [ConnectionError("no route to host")] * 6
    with pytest.raises(RunError, match=r"shard-00000.tar: cannot be fetched after 5 retries \(no route to host\)"):
        probe_header(conversation.audio)
    probe_header(conversation.audio)
    forget()
    for block in (cache.folder / "blocks").iterdir():
        block.unlink()
    flaky.failures[:] = [ConnectionError("no route to host")] * 6
    with pytest.raises(RunError, match="no route to host"):
        read(conversation.audio, 1.0, 0.5)
    assert "Traceback" not in capfd.readouterr().err  # none from inside libsndfile's callbacks


def test_objects_that_are_not_there_are_bad_input(tmp_path: Path, cache: Cache, flaky: type[Flaky]) -> None:
    with pytest.raises(InputError, match=r"flaky://bucket/none.jsonl: No such file; expected a manifest"):
        read_manifest(located("flaky://bucket/none.jsonl", cache))
    corpus(tmp_path / "plain")
    url = uploaded(tmp_path / "plain")
    Flaky().rm_file(f"{url}/1.wav")
    checked = check_manifest(located(f"{url}/manifest.jsonl", cache))
    assert [len(checked.good), len(checked.problems)] == [2, 1]
    assert "flaky://bucket/plain/1.wav: No such file" in checked.problems[0]
    flaky.failures[:] = [PermissionError("Forbidden")]
    with pytest.raises(InputError, match=r"access is denied \(Forbidden\): give the credentials"):
        Remote(put("y", b"secret"), cache).read_bytes()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonesuch://bucket/x", "nonesuch:// cannot be read .* expected one such as s3://"),
        ("s3://bucket/x", r"install ssl-tt\[s3\]"),
    ],
)
def test_protocols_that_are_not_there_are_named(
    url: str, message: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where the extra is not installed
    with pytest.raises(InputError, match=message):
        Remote(url, cache).read_bytes()


@pytest.mark.parametrize(
    "name",
    ["../x.wav", "/etc/passwd", "a/../../x", "a//b", "a/./b", "", ".", "..\\x", "x::file:///etc/passwd",
     "file:///etc/passwd", "a\0b", "a\nb"],
)  # fmt: skip
def test_a_fetched_manifest_cannot_name_what_lies_elsewhere(name: str, cache: Cache) -> None:
    with pytest.raises(InputError, match="expected a plain path below this folder"):
        below(Remote("flaky://bucket/corpus", cache), name)
    line = '{"id": "x", "audio": %s, "sample_rate_hz": 1, "channels": 1, "duration_seconds": 1.0, "speakers": ["a"]}'
    manifest = located(put("bucket/manifest.jsonl", (line % json.dumps(name)).encode()), cache)
    with pytest.raises(InputError, match=r"line 1: .*expected a plain path below this folder"):
        read_manifest(manifest)


def test_paths_stay_paths() -> None:
    assert located("corpora/calls/manifest.jsonl") == Path("corpora/calls/manifest.jsonl")
    assert located("C:/calls") == Path("C:/calls")
    remote = located("s3://bucket/corpus/manifest.jsonl")
    assert isinstance(remote, Remote)
    assert (str(remote.parent / "audio"), remote.name) == ("s3://bucket/corpus/audio", "manifest.jsonl")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"a fetched block cannot be kept \(No space left on device\)"):
        Remote(put("x", b"data"), cache).read_bytes()
