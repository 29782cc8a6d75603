"""Which fields an object may have, from the tables of the genuine client's models.

A real API server decodes into types: a field nobody declared is dropped, or refused where the
client asks for strict validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from kubernetes.client import models

from healer.lab.kube.resources import Resource
from healer.lab.kube.status import Obj

_LIST = re.compile(r"List\[(.+)\]")
_DICT = re.compile(r"Dict\[str, (.+)\]")


def prune(resource: Resource, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
    """The object without unknown fields, and their paths."""
    unknown: list[str] = []
    pruned: Obj = _walk(obj, _model(resource), "", unknown)
    return pruned, tuple(unknown)


def _model(resource: Resource) -> str:
    if resource.plural == "events":
        return "CoreV1Event" if not resource.group else "EventsV1Event"
    return f"{resource.version.capitalize()}{resource.kind}"


@cache
def _fields(model: str) -> dict[str, str] | None:
    """JSON field → type, or None for what is no model: plain values, quantities, any object."""
    found = getattr(models, model, None)
    if found is None or not hasattr(found, "attribute_map"):
        return None
    return {name: found.openapi_types[attr] for attr, name in found.attribute_map.items()}


def _walk(value: Any, kind: str, path: str, unknown: list[str]) -> Any:
    many, mapped = _LIST.fullmatch(kind), _DICT.fullmatch(kind)
    if many and isinstance(value, list):
        return [_walk(each, many[1], f"{path}[{at}]", unknown) for at, each in enumerate(value)]
    if mapped and isinstance(value, dict):
        return {k: _walk(each, mapped[1], f"{path}.{k}", unknown) for k, each in value.items()}
    fields = _fields(kind)
    if fields is None or not isinstance(value, dict):
        return value
    return dict(_known(value, fields, path, unknown))


def _known(
    value: Obj, fields: dict[str, str], path: str, unknown: list[str]
) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        here = f"{path}.{name}".lstrip(".")
        if name in fields:
            yield name, _walk(each, fields[name], here, unknown)
        else:
            unknown.append(here)
