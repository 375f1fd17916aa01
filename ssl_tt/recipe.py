"""Recipes: TOML files read into strict pydantic models that stand beside what they configure.

A recipe and the options that override it are merged as plain tables first and validated together once, so a value from
the command line meets the same types and ranges as one from the file. What may stand where is asked of the model's
JSON schema: it names the nearest known key, the range expected and the fields of `--help`.
"""

import ast
import copy
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_tt.errors import InputError


class Settings(BaseModel):
    """Base of every group of recipe fields: unknown keys refused, values never coerced, immutable once read.

    A field that may be None has None as its default: TOML has no null, a field left out is None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)
    hints: ClassVar[Mapping[str, str]] = {}
    """What to do, for keys that do not belong here but are often given."""


_LARGEST_BYTES = 1 << 20

Model = TypeVar("Model", bound=Settings)
Node = dict[str, Any]  # a node of a JSON schema


def load(path: Path | str | None, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Recipe in a TOML file as an instance of `model`, with options such as `--training.steps 100` on top.

    Without a path every field comes from the overrides and the defaults. An override of a `kind` drops the other keys
    of its table in the file, which belong to the other kind. InputError in one line if file, key or value is wrong.
    """
    schema = model.model_json_schema()
    table = {} if path is None else read_table(path)
    source = "command line" if path is None else f"recipe {path}"
    given = [_named(schema, option) for option in _split_options(overrides)]
    # A new kind first: it decides which other options there are.
    given.sort(key=lambda option: option.names[-1] != "kind")
    for option in given:
        _override(schema, table, option)
    return _validated(model, schema, table, source, {option.names: option.text for option in given})


def changed(settings: Settings, changes: Mapping[str, Any], model: type[Model], source: str) -> Model:
    """An instance of `model`: the fields that it shares with `settings`, with tables of `changes` on top.

    A table of changes with another `kind` replaces the one there. InputError in one line that begins with `source`.
    """
    # What was left to its default stays so: some defaults mean whatever there is.
    given = set(model.model_fields) & settings.model_fields_set
    table = settings.model_dump(mode="json", exclude_none=True, exclude_unset=True, include=given)
    return _validated(model, model.model_json_schema(), _merged(table, changes), source, {})


def _merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    if changes.get("kind", table.get("kind")) != table.get("kind"):
        return dict(changes)
    both = {
        key: _merged(table[key], value) if isinstance(value, dict) and isinstance(table.get(key), dict) else value
        for key, value in changes.items()
    }
    return {**table, **both}


def _validated(
    model: type[Model], schema: Node, table: dict[str, Any], source: str, options: Mapping[tuple[str, ...], str]
) -> Model:
    _choose_kinds(schema, schema, table)
    try:
        # Through JSON, where strict still lets an array be a tuple and a whole number a float, as TOML writes them.
        return model.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        raise InputError(_sentence(error, model, schema, table, source, options)) from None


def read_table(path: Path | str) -> dict[str, Any]:
    """The tables of a TOML file; InputError if it is missing, no text or no TOML."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"recipe {path}: no such file; expected a recipe in TOML, such as recipes/demo.toml") from None
    except IsADirectoryError:
        raise InputError(f"recipe {path}: a folder; expected a recipe in TOML") from None
    if len(content) > _LARGEST_BYTES:
        raise InputError(f"recipe {path}: more than {_LARGEST_BYTES} bytes; expected a recipe in TOML, of a few pages")
    try:
        table = tomllib.loads(content.decode())
        json.dumps(table, default=str)  # which a whole number of thousands of digits cannot become
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        where = where.rstrip(")") or "end of file"
        raise InputError(f"recipe {path}: {where}: not TOML ({what}); mend that line") from None
    except UnicodeDecodeError:
        raise InputError(f"recipe {path}: not a text file; expected a recipe in TOML") from None
    except RecursionError:
        raise InputError(f"recipe {path}: tables in tables without end; expected a recipe in TOML") from None
    except ValueError as error:
        raise InputError(f"recipe {path}: a number or date that is none ({error}); mend it") from None
    return table


def dump(model: Settings) -> str:
    """The resolved recipe, every default included, as TOML that `load` reads back to an equal model."""
    lines: list[str] = []
    _write_table(model.model_dump(mode="json", exclude_none=True), (), lines)
    return "\n".join(lines).strip() + "\n"


def flatten(model: Settings) -> dict[str, Any]:
    """Every field by its dotted name, lists as one value, None left out."""

    def walk(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(walk(model.model_dump(mode="json", exclude_none=True), ""))


class Field(NamedTuple):
    """One field of a recipe as `--help` shows it."""

    table: str
    """Dotted name of the table it is in; NAME stands for a name of the user's, N for a place in a list."""
    name: str
    metavar: str
    """Its type, short: INT, {cpc,vqvae}, ..."""
    expected: str
    """Its type and range, in words."""
    kind: str
    """The kind of its table, where there are several; other kinds may have a field of this name too."""
    description: str
    default: str | None
    """None if the field must be given."""


def fields(model: type[Settings]) -> list[Field]:
    """Every field that a recipe of this model may have, of every kind, in the order of the models."""
    schema = model.model_json_schema()
    found: list[Field] = []
    descriptions = _descriptions()

    def walk(node: Node, table: str, kind: str = "") -> None:
        inner = _follow(schema, node)
        if "oneOf" in inner:
            choice = {"enum": _kinds(inner)}
            chosen = _toml_value(inner["default_kind"]) if "default_kind" in inner else None
            found.append(Field(table, "kind", _metavar(schema, choice), _expected(schema, choice), "", "", chosen))
            for each in _kinds(inner):
                walk(_branch(schema, inner, each), table, each)
        elif (values := _values(inner)) is not None and _is_table(schema, values):
            walk(values, f"{table}.NAME")
        for name, child in inner.get("properties", {}).items():
            path = f"{table}.{name}" if table else name
            if kind and name == "kind":
                continue
            if _is_table(schema, child) and not _nullable(child):
                walk(child, path)
                continue
            description = descriptions.get((inner["title"], name), "")
            default = None if name in inner.get("required", ()) else _default(child)
            shown = _metavar(schema, child), _expected(schema, child)
            found.append(Field(table, name, *shown, kind, description, default))
            if _is_table(schema, child):  # and may be left out
                walk(child, path)
            if _is_table(schema, items := _follow(schema, child).get("items", {})):
                walk(items, f"{path}.N")
            for option in _follow(schema, child).get("anyOf", ()):
                if _is_table(schema, option):
                    walk(option, path)

    walk(schema, "")
    return found


def _descriptions() -> dict[tuple[str, str], str]:
    """The docstring below each field of every model, by the names of both.

    Read from the source when help is asked for: pydantic's own reading, as the models are made, costs every start.
    """
    found: dict[tuple[str, str], str] = {}
    models = [Settings]
    for model in models:
        models += model.__subclasses__()
    for module in {model.__module__: sys.modules[model.__module__] for model in models}.values():
        for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                for statement, after in pairwise(node.body):
                    match statement, after:
                        case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                            found[node.name, name] = " ".join(text.split())
    for model in models:
        for parent in model.__mro__:
            for name in model.model_fields:
                if (parent.__name__, name) in found:
                    found.setdefault((model.__name__, name), found[parent.__name__, name])
    return found


def _default(node: Node) -> str:
    return "none" if node.get("default") is None else _toml_value(node["default"])


# --- The schema ------------------------------------------------------------------------------------------------------


def _follow(schema: Node, node: Node) -> Node:
    """The node itself, past a reference and past `or None`."""
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    some = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    return _follow(schema, some[0]) if len(some) == 1 else node


def _nullable(node: Node) -> bool:
    return any(option.get("type") == "null" for option in node.get("anyOf", ()))


def _branch(schema: Node, node: Node, kind: Any) -> Node:
    """The one of several tables that `kind` names; an empty node if it names none."""
    reference = node["discriminator"]["mapping"].get(kind)
    return _follow(schema, {"$ref": reference}) if reference else {}


def _kinds(node: Node) -> list[str]:
    return list(node["discriminator"]["mapping"])


def _meant(schema: Node, node: Node, value: Any) -> Node:
    """The one of `anyOf` that a value is meant for: the table if it is one, else the first that is none."""
    options = [_follow(schema, option) for option in node["anyOf"]]
    return next(
        (option for option in options if ("properties" in option) == isinstance(value, dict)),
        options[0],
    )


def _kind(node: Node, table: Any) -> Any:
    """The kind that a table names, else the one that its field stands for without (`default_kind` in its schema)."""
    return table.get("kind", node.get("default_kind")) if isinstance(table, dict) else node.get("default_kind")


def _choose_kinds(schema: Node, node: Node, value: Any) -> None:
    """Name the kind in every table that may leave it out and does."""
    inner = _follow(schema, node)
    if isinstance(value, dict) and "default_kind" in inner:
        value.setdefault("kind", inner["default_kind"])
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if (child := _child(schema, inner, str(key), value)) is not None:
            _choose_kinds(schema, child, item)


def _values(node: Node) -> Node | None:
    """Schema of the values of a table whose keys are the user's own; None for other nodes."""
    values = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    return values if isinstance(values, dict) else None


def _is_table(schema: Node, node: Node) -> bool:
    inner = _follow(schema, node)
    if "properties" in inner or "oneOf" in inner:
        return True
    values = _values(inner)
    return values is not None and _is_table(schema, values)


def _child(schema: Node, node: Node, key: str, table: Any) -> Node | None:
    """Schema of `key` inside `node`, where `table` holds the values there (its `kind` chooses among several)."""
    inner = _follow(schema, node)
    if "oneOf" in inner:
        inner = _branch(schema, inner, _kind(inner, table))
    if key in inner.get("properties", {}):
        return inner["properties"][key]
    if key.isdecimal() and int(key) < len(inner.get("prefixItems", ())):
        return inner["prefixItems"][int(key)]
    if key.isdecimal() and "items" in inner:
        return inner["items"]
    for option in inner.get("anyOf", ()):
        if (child := _child(schema, option, key, table)) is not None:
            return child
    return _values(inner)


def _expected(schema: Node, node: Node) -> str:
    """What a value must be, in words."""
    inner = _follow(schema, node)
    if _nullable(node):
        return _expected(schema, inner) + ", or none"
    if "anyOf" in inner:
        return " or ".join(_expected(schema, option) for option in inner["anyOf"])
    if "enum" in inner or "const" in inner:
        choices = inner.get("enum", [inner.get("const")])
        return ("one of " if len(choices) > 1 else "") + ", ".join(map(str, choices))
    if "prefixItems" in inner:
        return "a list of " + " and ".join(_expected(schema, item) for item in inner["prefixItems"])
    if inner.get("type") == "array":
        least = f"{inner['minItems']} or more: " if "minItems" in inner else ""
        return f"a list of {least}{_expected(schema, inner['items'])}"
    if "oneOf" in inner or inner.get("type") == "object":
        return "a table"
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = " and ".join(f"{word} {inner[limit]:.12g}" for limit, word in limits.items() if limit in inner)
    if "minimum" in inner and "maximum" in inner:
        bounds = f"from {inner['minimum']:.12g} to {inner['maximum']:.12g}"
    pattern = f"matching {inner['pattern']}" if "pattern" in inner else ""
    least = "of at least one letter" if inner.get("minLength") else ""
    return " ".join(filter(None, [words[inner["type"]], bounds, least, pattern]))


def _metavar(schema: Node, node: Node) -> str:
    """The type of a value, short."""
    inner = _follow(schema, node)
    if "enum" in inner or "const" in inner:
        text = "{" + ",".join(map(str, inner.get("enum", [inner.get("const")]))) + "}"
    elif inner.get("type") == "array":
        items = inner.get("prefixItems") or [inner["items"]]
        text = " ".join(_metavar(schema, item) for item in items) + ("" if "prefixItems" in inner else " ...")
    elif "anyOf" in inner:
        text = "|".join(_metavar(schema, option) for option in inner["anyOf"])
    else:
        names = {"integer": "INT", "number": "FLOAT", "boolean": "{true,false}", "string": "TEXT"}
        text = names.get(inner.get("type", ""), "TABLE")
    return text + ("|none" if _nullable(node) else "")


# --- Options ---------------------------------------------------------------------------------------------------------


class _Option(NamedTuple):
    names: tuple[str, ...]
    values: list[str] | None
    """None if the option stands alone."""
    text: str
    """The option as the user wrote it."""


def _split_options(tokens: Sequence[str]) -> Iterator[_Option]:
    position = 0
    while position < len(tokens):
        text, equals, value = tokens[position].partition("=")
        if not re.match(r"--\w", text):
            raise InputError(f"{tokens[position]}: not expected here; give a field as --training.steps 100")
        end = position + 1
        while not equals and end < len(tokens) and not tokens[end].startswith("--"):
            end += 1
        values = [value] if equals else list(tokens[position + 1 : end]) or None
        yield _Option(tuple(text[2:].split(".")), values, text)
        position = end


def _named(schema: Node, option: _Option) -> _Option:
    """The option with its fields' names as the models spell them; names of the user's own keep their hyphens."""
    names: list[str] = []
    node: Node | None = schema
    for name in option.names:
        own = node is not None and _values(_follow(schema, node)) is not None
        names.append(name if own else name.replace("-", "_"))
        node = None if node is None else _child(schema, node, names[-1], None)
    return option._replace(names=tuple(names))


def _override(schema: Node, table: dict[str, Any], option: _Option) -> None:
    """Put the option's value where its names lead."""
    node, here = schema, table
    for place, name in enumerate(option.names):
        inner = _follow(schema, node)
        child = _child(schema, inner, name, here)
        if "oneOf" in inner and name == "kind":
            child = {"type": "string"}
        if child is None:
            known = _near(schema, inner, here, option.names[:place], name, prefix="--")
            raise InputError(f"option {option.text}: unknown field{known}")
        key: Any = int(name) if isinstance(here, list) else name
        if isinstance(here, list) and key >= len(here):
            raise InputError(f"option {option.text}: given place {key}, expected one below {len(here)}")
        if place + 1 == len(option.names):
            value = _value(schema, child, option)
            if "oneOf" in inner and name == "kind" and _kind(inner, here) != value:
                here.clear()
            here[key] = value
            return
        if isinstance(here, dict) and key not in here:
            # A list left to its default is changed in place of it; the defaults of a table come by themselves.
            default = child.get("default")
            here[key] = copy.deepcopy(default) if isinstance(default, list) else {}
        if "anyOf" in _follow(schema, child) and isinstance(here[key], dict) == option.names[place + 1].isdecimal():
            here[key] = {}  # a table in place of a list
        node, here = child, here[key]
        if not isinstance(here, dict | list):
            raise InputError(f"option {option.text}: {'.'.join(option.names[: place + 1])} has no fields")


def _value(schema: Node, node: Node, option: _Option) -> Any:
    inner = _follow(schema, node)
    if "anyOf" in inner and option.values is not None and not option.values[0].startswith("{"):
        inner = _meant(schema, inner, option.values)
    if inner.get("type") == "array":
        values = option.values or []
        if len(values) == 1 and values[0].startswith("["):
            return _parsed(values[0], {})
        items = inner.get("prefixItems") or [inner["items"]] * len(values)
        return [_parsed(value, _follow(schema, item)) for value, item in zip(values, items, strict=False)]
    if option.values is None and inner.get("type") == "boolean":
        return True
    if option.values is None or len(option.values) != 1:
        given = "nothing" if option.values is None else " ".join(option.values)
        raise InputError(f"option {option.text}: given {given}, expected {_expected(schema, node)}")
    if option.values[0] == "none" and _nullable(node):
        return None
    return _parsed(option.values[0], inner)


def _parsed(text: str, node: Node) -> Any:
    """Value of an option: text where text is expected, otherwise what the word would be in TOML."""
    if node.get("type") != "string":
        for read in (int, float, lambda word: tomllib.loads(f"value = {word}")["value"]):
            try:
                return read(text)
            except ValueError:
                continue
    return text


# --- Messages --------------------------------------------------------------------------------------------------------


def _sentence(
    error: ValidationError,
    model: type[Settings],
    schema: Node,
    table: dict[str, Any],
    source: str,
    options: Mapping[tuple[str, ...], str],
) -> str:
    """One line for the first problem, and how many others there are."""
    found = error.errors(include_url=False)
    # A list is also too short for pydantic if one of its items is wrong.
    above = {problem["loc"][:end] for problem in found for end in range(len(problem["loc"]))}
    problems = [problem for problem in found if problem["type"] != "too_short" or problem["loc"] not in above]
    problems = [problem for problem in problems if _place(schema, table, problem["loc"])]
    # An unknown key first: its being misspelt may be why another is missing.
    problem = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    place = _place(schema, table, problem["loc"])
    assert place is not None
    names, node, parent, here, parent_table = place
    if problem["type"].startswith("union_tag"):
        names.append("kind")
        here = here.get("kind") if isinstance(here, dict) else None
        node = {"enum": _kinds(_follow(schema, node))}
    path = ".".join(names)
    option = options.get(tuple(names))
    where = f"option {option}: " if option else f"{source}: "
    match problem["type"]:
        case "extra_forbidden" if len(names) == 1 and path in model.hints:
            text = f"key {path}: {model.hints[path]}"
        case "extra_forbidden":
            text = f"unknown key {path}{_near(schema, parent, parent_table, tuple(names[:-1]), names[-1])}"
        case "missing" | "union_tag_not_found":
            text = f"key {path} is missing, expected {_expected(schema, node)}"
        case "value_error":
            text = f"{path}: {problem['ctx']['error']}" if path else str(problem["ctx"]["error"])
        case _ if names and names[-1] == "[key]":
            text = f"{'.'.join(names[:-2])}: given the name {_shown(names[-2])}, {_lowered(problem['msg'])}"
        case _:
            expected = _expected(schema, node) if node else _lowered(problem["msg"])
            value = here if problem["type"] == "union_tag_invalid" else problem["input"]
            given = f"a list of {len(value)}" if isinstance(value, list) and len(value) > 8 else _shown(value)
            text = ("" if option else f"{path}: ") + f"given {given}, expected {expected}"
    more = len({p["loc"] for p in problems}) - 1
    return where + text + (f" (and {more} more wrong)" if more else "")


class _Place(NamedTuple):
    names: list[str]
    node: Node
    parent: Node
    here: Any
    """The value there, None if it was not given."""
    parent_table: Any


def _place(schema: Node, table: dict[str, Any], loc: Sequence[int | str]) -> _Place | None:
    """Where pydantic found something; None if that is what a value should be to be one that it is not meant for."""
    names: list[str] = []
    node, parent = schema, schema
    here: Any = table
    parent_table: Any = table
    for part in loc:
        inner = _follow(schema, node)
        if "oneOf" in inner and part in inner["discriminator"]["mapping"]:
            node = _branch(schema, inner, part)  # pydantic names the kind between a field and its keys
            continue
        if "anyOf" in inner:  # and which of several it tried, by a name that holds that of a model
            node = _meant(schema, inner, here)
            tables = [option["$ref"].rpartition("/")[2] for option in inner["anyOf"] if "$ref" in option]
            if any(table in str(part) for table in tables) != ("properties" in node):
                return None
            continue
        names.append(str(part))
        parent, parent_table = inner, here
        node = _child(schema, inner, names[-1], here) or {}
        try:
            here = here[part]
        except (LookupError, TypeError):
            here = None  # not given
    return _Place(names, node, parent, here, parent_table)


def _near(schema: Node, node: Node, table: Any, above: tuple[str, ...], name: str, prefix: str = "") -> str:
    """The known key that a wrong one is most likely meant to be: one of its neighbours, else one of another table."""
    if "oneOf" in node:
        node = _branch(schema, node, _kind(node, table))
    if "anyOf" in node:
        node = _meant(schema, node, {})
    neighbours = list(node.get("properties", ()))
    if near := get_close_matches(name, neighbours, n=1):
        return f"; did you mean {prefix}{'.'.join((*above, near[0]))}?"
    elsewhere: dict[str, str] = {}

    def walk(node: Node, table: Any, path: tuple[str, ...]) -> None:
        inner = _follow(schema, node)
        if "oneOf" in inner:
            inner = _branch(schema, inner, _kind(inner, table))
        for key, child in inner.get("properties", {}).items():
            elsewhere.setdefault(key, ".".join((*path, key)))
            walk(child, table.get(key) if isinstance(table, dict) else None, (*path, key))
        if _is_table(schema, inner.get("items", {})):
            walk(inner["items"], None, (*path, "0"))
        if isinstance(table, dict) and (values := _values(inner)) is not None:
            for key, value in table.items():
                walk(values, value, (*path, key))

    walk(node, table, above)
    if near := get_close_matches(name, elsewhere, n=1, cutoff=0.75):
        return f"; did you mean {prefix}{elsewhere[near[0]]}?"
    return f", expected one of {', '.join(neighbours)}" if neighbours else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


# --- TOML ------------------------------------------------------------------------------------------------------------


def _write_table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    """Values first, then each table under its own header, as TOML demands."""
    values = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    if path and (values or not table):
        lines += ["", f"[{'.'.join(map(_toml_key, path))}]"]
    lines += values
    for key, value in table.items():
        if isinstance(value, dict):
            _write_table(value, (*path, key), lines)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml_value, value))}]"
        case dict():
            given = {key: item for key, item in value.items() if item is not None}
            inside = ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in given.items())
            return f"{{ {inside} }}" if inside else "{}"
    raise TypeError(f"a recipe holds no {type(value).__name__}")
