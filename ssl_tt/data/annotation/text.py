"""Text files of annotation, read whole: bounded in size, strict in their encoding."""

import codecs
from pathlib import Path

from ssl_tt.errors import InputError

MAX_BYTES = 64 * 2**20
"""An annotation file is refused above this size: a day of words is a tenth of it."""


def read_bytes(path: Path, kind: str) -> bytes:
    """The bytes of a file of some kind, such as "RTTM"; InputError if it cannot be read or is above `MAX_BYTES`."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: {size} bytes, expected {kind} of at most {MAX_BYTES}: is this another file?")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {kind}") from error


def read_text(path: Path, kind: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 if it begins with its mark; InputError for other encodings."""
    content = read_bytes(path, kind)
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} line {line}: neither UTF-8 nor UTF-16 ({error.reason}), expected {kind}: save it again in UTF-8"
        ) from error


def read_lines(path: Path, kind: str) -> list[tuple[str, str]]:
    """The lines of a text file that are not blank, stripped, each with where it is, such as "call.rttm line 3"."""
    lines = read_text(path, kind).replace("\r\n", "\n").split("\n")
    return [(f"{path} line {number}", line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
