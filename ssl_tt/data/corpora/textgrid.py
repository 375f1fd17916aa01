"""Praat's TextGrid, long text form, in UTF-8 or UTF-16: a strict reader of its interval tiers."""

import codecs
import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from ssl_tt.errors import InputError


class Interval(NamedTuple):
    """A labelled stretch of time; the text is empty where nothing was annotated."""

    start_seconds: float
    end_seconds: float
    text: str


class Tier(NamedTuple):
    """Intervals that follow each other from the tier's start to its end."""

    name: str
    start_seconds: float
    end_seconds: float
    intervals: list[Interval]


def read_textgrid(path: Path) -> list[Tier]:
    """The interval tiers of a TextGrid in order; tiers of points are checked and passed over.

    InputError, with the line, for anything but the long text form ("Save as text file..." in Praat), for intervals out
    of order and for a file that ends early.
    """
    return _Reader(path).tiers()


class _Reader:
    """A cursor over the lines of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0  # of the line read last, from 1
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; expected a TextGrid") from error
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            text = content.decode("utf-16" if utf16 else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: neither UTF-8 nor UTF-16 ({error.reason}): save it again in UTF-8") from error
        self.lines = [line.strip() for line in text.split("\n")]

    def tiers(self) -> list[Tier]:
        self.line('File type = "ooTextFile"')
        self.line('Object class = "TextGrid"')
        self.seconds("xmin")
        self.seconds("xmax")
        if self.match(r"tiers\? <(exists|absent)>", "tiers? <exists>") == "absent":
            return []
        n_tiers = self.count("size")
        self.line("item []:")
        found = [self.tier() for _ in range(n_tiers)]
        return [tier for tier in found if tier is not None]

    def tier(self) -> Tier | None:
        self.match(r"item \[(\d+)\]:", "item [NUMBER]:")
        kind = self.match(r'class = "(IntervalTier|TextTier)"', 'class = "IntervalTier"')
        name = self.text("name")
        start, end = self.seconds("xmin"), self.seconds("xmax")
        if kind == "TextTier":
            for _ in range(self.count("points: size")):
                self.match(r"points \[(\d+)\]:", "points [NUMBER]:")
                self.seconds("number")
                self.text("mark")
            return None
        intervals: list[Interval] = []
        for _ in range(self.count("intervals: size")):
            self.match(r"intervals \[(\d+)\]:", "intervals [NUMBER]:")
            interval = Interval(self.seconds("xmin"), self.seconds("xmax"), self.text("text"))
            previous = intervals[-1].end_seconds if intervals else start
            # Praat itself writes neighbours that differ in the last digits.
            if not previous - 1e-6 <= interval.start_seconds < interval.end_seconds <= end + 1e-6:
                self.fail(
                    f"interval from {interval.start_seconds} to {interval.end_seconds} s, expected one between "
                    f"{previous} and {end} s: mend it in Praat"
                )
            intervals.append(interval)
        return Tier(name, start, end, intervals)

    def seconds(self, key: str) -> float:
        return float(self.match(rf"{key} = (\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)", f"{key} = NUMBER"))

    def count(self, key: str) -> int:
        return int(self.match(rf"{key} = (\d{{1,9}})", f"{key} = NUMBER"))

    def text(self, key: str) -> str:
        """A quoted text; quotes inside are doubled, and it may run over several lines."""
        text = self.match(rf'{key} = (".*)', f'{key} = "TEXT"')
        first = self.number
        while text.count('"') % 2:
            if self.number == len(self.lines):
                self.number = first
                self.fail("a text whose quotes are never closed")
            text += "\n" + self.lines[self.number]
            self.number += 1
        inside = text[1:-1]
        if not text.endswith('"') or '"' in inside.replace('""', ""):
            self.fail(f"{text[:80]}, expected one text in quotes")
        return inside.replace('""', '"')

    def line(self, line: str) -> None:
        self.match(f"({re.escape(line)})", line)

    def match(self, pattern: str, example: str) -> str:
        """What the pattern's group holds in the next line that is not blank."""
        while self.number < len(self.lines) and not self.lines[self.number]:
            self.number += 1
        if self.number == len(self.lines):
            self.fail(f"the file ends where {example!r} is expected: was it cut short?")
        line = self.lines[self.number]
        self.number += 1
        match = re.fullmatch(pattern, line)
        if match is None:
            self.fail(f"{line[:80]!r}, expected {example!r}: save it from Praat as text file (the long form)")
        return match[1]

    def fail(self, what: str) -> NoReturn:
        raise InputError(f"{self.path} line {self.number}: {what}")
