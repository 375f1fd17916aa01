"""XML, read so that a file cannot make the reader fetch, expand or hang anything; every element knows its line."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ssl_tt.data.annotation.text import read_bytes
from ssl_tt.errors import InputError

LINE = "line"
"""Attribute, in no namespace, that `read_xml` gives every element: its line in the file."""

_DEEPEST = 100


def read_xml(path: Path, kind: str, root: str) -> Element:
    """The root element of a file of some kind; InputError, with the line, for what is no such XML.

    Names are without namespaces. Entities that the file declares are refused, so nothing expands; a document type or
    an entity elsewhere is never fetched.
    """
    content = read_bytes(path, kind)
    parser = expat.ParserCreate(namespace_separator="}")
    builder = TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise InputError(f"{path} line {parser.CurrentLineNumber}: more than {_DEEPEST} elements in each other")
        local = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        builder.start(name.rpartition("}")[2], {**local, LINE: str(parser.CurrentLineNumber)})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition("}")[2])

    def refuse(*declaration: object) -> None:
        raise InputError(f"{path} line {parser.CurrentLineNumber}: declares an entity, expected {kind} without any")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} line {parser.ErrorLineNumber}: {error}, expected {kind}; was it cut short?"
        ) from error
    found = builder.close()
    if found.tag != root:
        raise InputError(f"{path}: <{found.tag}>, expected <{root}> of {kind}")
    return found


def where(path: Path, element: Element) -> str:
    """File and line of an element."""
    return f"{path} line {element.get(LINE)}"


def attribute(path: Path, element: Element, name: str) -> str:
    """An attribute that must be there; InputError, with the line, if it is not."""
    value = element.get(name)
    if value is None:
        raise InputError(f"{where(path, element)}: <{element.tag}> without {name}")
    return value
