"""Plain data → frozen dataclasses and back, with errors a person can act on.

One place for the conversion, so a settings file, a rule, a stored incident and a
plugin's options all refuse bad input in the same words:
`detectors.peers.distance: 'far': expected a number`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from healer.errors import BadInput

T = TypeVar("T")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_span(text: object) -> object:
    """`90s`, `1h30m`, `7d` as Prometheus writes durations; a bare number is seconds."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        return text
    if isinstance(text, int | float):
        return timedelta(seconds=text)
    if text and not _SPAN.sub("", text.strip()):
        return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in _SPAN.findall(text)))
    if text.startswith("P"):
        return text
    raise ValueError("a duration such as 30s, 5m, 1h30m or 7d")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Building one costs milliseconds; there are as many as there are classes."""

Span = Annotated[timedelta, BeforeValidator(parse_span)]
"""A duration a person writes; use it for every option that is one."""


def build(
    cls: type[T], data: Mapping[str, Any], *, path: str = "", file: str | Path | None = None
) -> T:
    """An instance of dataclass `cls` from what a person wrote. Raises BadInput."""
    try:
        built: T = _strict(cls).validate_python(dict(data))
    except ValidationError as error:
        raise _explain(cls, error, path, file) from error
    return built


def dump(value: Any) -> Any:
    """JSON-ready plain data of a model value."""
    return _adapter(type(value)).dump_python(value, mode="json")


def dump_json(value: Any) -> str:
    return _adapter(type(value)).dump_json(value).decode()


def load_json(cls: type[T], text: str | bytes) -> T:
    """The inverse of `dump_json` for what Healer itself has written."""
    loaded: T = _adapter(cls).validate_json(text)
    return loaded


def read_yaml(file: Path) -> Any:
    """The one document of a YAML file. Raises BadInput with the line of a syntax error."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"a readable file ({error.strerror})", file=file) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"UTF-8 text (byte {error.start})", file=file) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise BadInput(
            f"valid YAML ({problem})", file=file, line=mark.line + 1 if mark else None
        ) from error


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def _strict(cls: type[Any]) -> TypeAdapter[Any]:
    _forbid_extra(cls)
    return _adapter(cls)


def _forbid_extra(cls: type[Any]) -> None:
    """Unknown keys are errors, in nested dataclasses too."""
    if not dataclasses.is_dataclass(cls) or "__pydantic_config__" in vars(cls):
        return
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    for hint in typing.get_type_hints(cls).values():
        for part in _parts(hint):
            _forbid_extra(part)


def _parts(hint: Any) -> list[type[Any]]:
    if typing.get_origin(hint) is None and not isinstance(hint, types.UnionType):
        return [hint] if isinstance(hint, type) else []
    return [each for argument in typing.get_args(hint) for each in _parts(argument)]


def _explain(
    cls: type[Any], error: ValidationError, path: str, file: str | Path | None
) -> BadInput:
    first = error.errors(include_url=False)[0]
    where = ".".join([path, *map(str, first["loc"])]).strip(".")
    value = first.get("input")
    match first["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            known = _fields_at(cls, first["loc"][:-1])
            close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            return BadInput(f"unknown key; {hint}", file=file, path=where)
        case "missing" | "missing_argument":
            return BadInput("required and missing", file=file, path=where)
        case _:
            message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            return BadInput(f"expected {message}", file=file, path=where, value=value)


def _fields_at(cls: type[Any], loc: tuple[int | str, ...]) -> list[str]:
    at: Any = cls
    for part in loc:
        if not dataclasses.is_dataclass(at):
            continue
        inner = [
            t
            for t in _parts(typing.get_type_hints(at).get(str(part), Any))
            if dataclasses.is_dataclass(t)
        ]
        at = inner[0] if inner else at
    return [f.name for f in dataclasses.fields(at)] if dataclasses.is_dataclass(at) else []
