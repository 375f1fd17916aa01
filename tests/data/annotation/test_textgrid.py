"""TextGrids are read as Praat writes them, and anything else is refused with its line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_tt.data.annotation.textgrid import Interval, Tier, read_textgrid
from ssl_tt.errors import InputError

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 2.5 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "ann" 
        xmin = 0 
        xmax = 2.5 
        intervals: size = 2 
        intervals [1]:
            xmin = 0 
            xmax = 1.25 
            text = "She said ""ça va""
and left" 
        intervals [2]:
            xmin = 1.25 
            xmax = 2.5 
            text = "" 
    item [2]:
        class = "TextTier" 
        name = "clicks" 
        xmin = 0 
        xmax = 2.5 
        points: size = 1 
        points [1]:
            number = 1.5 
            mark = "x" 
    item [3]:
        class = "IntervalTier" 
        name = "bob" 
        xmin = 0 
        xmax = 2.5 
        intervals: size = 0 
"""

TIERS = [
    Tier("ann", 0.0, 2.5, [Interval(0.0, 1.25, 'She said "ça va"\nand left'), Interval(1.25, 2.5, "")]),
    Tier("bob", 0.0, 2.5, []),
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_encoding_and_line_end_reads_the_same(tmp_path: Path, encoding: str, newline: str) -> None:
    path = tmp_path / "call.TextGrid"
    path.write_bytes(GRID.replace("\n", newline).encode(encoding))
    assert read_textgrid(path) == TIERS


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda grid: "", "line 1: the file ends where 'File type = \"ooTextFile\"' is expected"),
        (lambda grid: '"ooTextFile"\n"TextGrid"\n0\n2.5', "line 1: '\"ooTextFile\"', expected 'File type"),
        (lambda grid: grid.replace('"TextGrid"', '"Pitch 1"'), "line 2: 'Object class = \"Pitch 1\"', expected"),
        (lambda grid: grid.replace("xmax = 1.25", "xmax = soon"), "line 17: 'xmax = soon', expected 'xmax = NUMBER'"),
        (
            lambda grid: grid.replace("xmin = 1.25", "xmin = 1.0"),
            "interval from 1.0 to 2.5 s, expected one between 1.25",
        ),
        (lambda grid: grid.replace("xmax = 1.25", "xmax = 0"), "interval from 0.0 to 0.0 s, expected one between"),
        (lambda grid: grid.replace("intervals: size = 2", "intervals: size = 3"), "line 24: 'item [2]:', expected"),
        (lambda grid: grid[:400], "is expected: was it cut short?"),
        (lambda grid: grid.replace('and left"', "and left"), "line 18: a text whose quotes are never closed"),
        (lambda grid: grid.replace('text = ""', 'text = "a" b"c"'), 'line 23: "a" b"c", expected one text in quotes'),
    ],
)
def test_what_is_no_textgrid_is_refused_with_its_line(
    tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    path = tmp_path / "call.TextGrid"
    path.write_text(damage(GRID.replace('"x"', '"\'"')), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_textgrid(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_bytes_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "call.TextGrid").write_bytes(b"\x80\x81")
    with pytest.raises(InputError, match="neither UTF-8 nor UTF-16"):
        read_textgrid(tmp_path / "call.TextGrid")
    with pytest.raises(InputError, match="No such file"):
        read_textgrid(tmp_path / "another.TextGrid")


@pytest.mark.data
def test_real_textgrids_read_as_praatio_reads_them(data_root: Path) -> None:
    praatio = pytest.importorskip("praatio.textgrid")
    paths = sorted((data_root / "primock57" / "transcripts").glob("*.TextGrid"))
    assert len(paths) == 90
    for path in paths[::10]:
        reference = praatio.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
        for tier in read_textgrid(path):
            assert [tuple(interval) for interval in tier.intervals] == [
                tuple(entry) for entry in reference.getTier(tier.name).entries
            ]
