"""JSON files that come with a corpus, checked against the fields that are needed of them."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ssl_tt.data.annotation.text import read_bytes
from ssl_tt.errors import InputError

Kind = TypeVar("Kind")


def read_json(path: Path, kind: type[Kind], what: str) -> Kind:
    """A JSON file as pydantic reads it; InputError, in one line, for what is none or lacks a field."""
    try:
        return TypeAdapter(kind).validate_json(read_bytes(path, what))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {name + ': ' if name else ''}{first['msg']}; expected {what}") from error
