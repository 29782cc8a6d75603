"""The settings as a tree: path, type, default and documentation of every key.

Types and defaults come from the dataclasses, the sentences from the strings below their fields.
Both the chart's schema and the settings page are made from it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

SPAN_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"
"""What `healer.values.parse_span` takes, but for ISO 8601."""


@dataclass(frozen=True)
class Key:
    """One key of the settings file."""

    path: str
    """With `NAME` for a name that the reader chooses, `[]` for the items of a list."""
    hint: Any
    default: Any
    """`dataclasses.MISSING` where it must be given."""
    doc: str

    @property
    def inner(self) -> type[Any] | None:
        """The dataclass below it, if any."""
        found = [part for part in _leaves(self.hint) if dataclasses.is_dataclass(part)]
        return typing.cast("type[Any]", found[0]) if found else None


def keys(cls: type[Any], prefix: str = "") -> Iterator[Key]:
    """Every key of `cls` in its order, sections before what is in them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    docs = field_docs(cls)
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        key = Key(prefix + field.name, hints[field.name], default, docs.get(field.name, ""))
        yield key
        if key.inner is not None:
            yield from keys(key.inner, key.path + _step(key.hint) + ".")


def field_docs(cls: type[Any]) -> Mapping[str, str]:
    """Field → the string literal that stands below it, on one line."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = " ".join(text.value.split())
    return found


def summary(cls: type[Any]) -> str:
    """The first paragraph of a class's documentation, on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n", maxsplit=1)[0].split())


def schema(hint: Any) -> dict[str, Any]:
    """JSON schema of what a person may write for a type of the settings."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated and arguments[0] is timedelta:
        return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": SPAN_PATTERN}]}
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        options = [schema(each) for each in arguments if each is not types.NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is tuple:
        return {"type": "array", "items": schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(arguments[1])}
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast("type[Any]", hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [each.value for each in hint]}
    return dict(_PLAIN.get(hint, {}))


_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
}


def type_name(hint: Any) -> str:
    """For people: `duration`, `list of text`, `text → whole number`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated and arguments[0] is timedelta:
        return "duration"
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return " or ".join(type_name(a) for a in arguments if a is not types.NoneType)
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"name → {type_name(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f"`{each.value}`" for each in hint)
    if dataclasses.is_dataclass(hint):
        return "section"
    return _NAMES.get(hint, "anything")


_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "file",
}


def written(value: Any) -> str:
    """A default as a person would write it in the file."""
    match value:
        case _ if value is dataclasses.MISSING:
            return "required"
        case None | "" | () | {}:
            return ""
        case timedelta():
            return _span(value)
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case tuple():
            return "[" + ", ".join(map(written, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{k}: {written(v) or '{}'}" for k, v in value.items()) + "}"
    return str(value)


def _span(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _object(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    docs = field_docs(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        below = schema(hints[field.name])
        if docs.get(field.name):
            below = {"description": docs[field.name], **below}
        properties[field.name] = below
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    found: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if required:
        found["required"] = required
    return {**found, "properties": properties}


def _step(hint: Any) -> str:
    if typing.get_origin(hint) is dict:
        return ".NAME"
    return "[]" if typing.get_origin(hint) is tuple else ""


def _leaves(hint: Any) -> list[Any]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        arguments = arguments[:1]
    return [leaf for each in arguments for leaf in _leaves(each)] if arguments else [hint]
