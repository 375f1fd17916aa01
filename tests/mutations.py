"""Files that somebody has damaged, or made to do damage: mutations of whole ones, each a function of its number."""

import re

import numpy as np

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_BLOWN_UP = [
    *(b"0", b"-1", b"-0.0", b"1e999", b"-1e308", b"1e-320", b"NaN", b"inf", b"1e15", b"99999999999", b"2147483648"),
    *(b"18446744073709551616", b"9" * 400, b"9" * 5000, b"0x" + b"f" * 4500, b"", b"1_0", b"true", b'"1"', b"null"),
    *(b"[" * 3000, b"{" * 3000, b"[" * 100_000, b'{"a":' * 3000, "٣".encode(), b"4096", b"65536", b"1000000000"),
]
_EXTREME = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF]


def mutated(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """The content with one to three mutations; what is spliced in comes from it or from the donor, another file."""
    for _ in range(rng.integers(1, 4)):
        content = _MUTATIONS[rng.integers(len(_MUTATIONS))](content, donor, rng)
    return content


def _flip_bits(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(content)
    for place in rng.integers(0, 8 * len(content), rng.integers(1, 9)) if content else ():
        flipped[place // 8] ^= 1 << (place % 8)
    return bytes(flipped)


def _flip_head(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Where headers are."""
    return _flip_bits(content[:64], donor, rng) + content[64:]


def _set_integer(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """A field of a binary header at its limits, in either order of bytes."""
    size = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(0, min(len(content), 256) + 1))
    value = _EXTREME[rng.integers(len(_EXTREME))] & ((1 << 8 * size) - 1)
    order = "little" if rng.random() < 0.5 else "big"
    return content[:at] + value.to_bytes(size, order) + content[at + size :]  # type: ignore[arg-type]


def _truncate(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content) + 1)]


def _splice(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    source = donor if rng.random() < 0.5 else content
    start, end = sorted(rng.integers(0, len(source) + 1, 2))
    at, until = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:at] + source[start:end] + content[until if rng.random() < 0.5 else at :]


def _fill(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """Blocks of zeros or ones, as a disk leaves them after a power cut."""
    at, until = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:at] + (b"\0" if rng.random() < 0.5 else b"\xff") * int(until - at) + content[until:]


def _blow_up_number(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    found = list(_NUMBER.finditer(content[:100_000]))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    return content[: match.start()] + _BLOWN_UP[rng.integers(len(_BLOWN_UP))] + content[match.end() :]


def _shuffle_lines(content: bytes, donor: bytes, rng: np.random.Generator) -> bytes:
    """A line twice, in the place of another, or gone."""
    lines = content.split(b"\n")
    a, b = rng.integers(0, len(lines), 2)
    match rng.integers(3):
        case 0:
            lines.insert(a, lines[b])
        case 1:
            lines[a], lines[b] = lines[b], lines[a]
        case 2:
            del lines[a]
    return b"\n".join(lines)


_MUTATIONS = [
    _flip_bits,
    _flip_head,
    _set_integer,
    _truncate,
    _splice,
    _fill,
    _blow_up_number,
    _blow_up_number,
    _shuffle_lines,
]
