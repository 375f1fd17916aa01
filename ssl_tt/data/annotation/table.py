"""Utterances in a CSV table of your own: the columns start and end in seconds, and speaker, channel or both.

    start,end,speaker
    1.25,2.41,ann

Channels count from 1. Other columns are passed over.
"""

import csv
import io
from pathlib import Path

from ssl_tt.data.annotation.text import read_text
from ssl_tt.data.annotation.utterance import Utterance, channel_number, time, utterance
from ssl_tt.errors import InputError


def read_rows(path: Path, required: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Rows of a CSV file by the names of its first, each with where it is; InputError if a column or field is missing.

    Blanks around names and fields do not count.
    """
    reader = csv.reader(io.StringIO(read_text(path, "CSV"), newline=""), strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        missing = [name for name in required if name not in names]
        if missing:
            raise InputError(f"{path} line 1: no column {', '.join(missing)}, expected {', '.join(required)}")
        for fields in reader:
            where = f"{path} line {reader.line_num}"
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(names):
                raise InputError(f"{where}: {len(fields)} fields, expected the {len(names)} of line 1")
            rows.append((where, dict(zip(names, (field.strip() for field in fields), strict=True))))
    except csv.Error as error:
        raise InputError(f"{path} line {reader.line_num}: {error}, expected CSV with commas") from error
    return rows


def read_table(path: Path) -> list[Utterance]:
    """The utterances of a table; InputError, with the line, for what is none."""
    return [
        utterance(
            where,
            time(row["start"], where),
            time(row["end"], where),
            row.get("speaker", ""),
            channel_number(row["channel"], where) if row.get("channel") else None,
        )
        for where, row in read_rows(path, ("start", "end"))
    ]
