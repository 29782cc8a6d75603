"""Label and field selectors, as query strings and as objects carry them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from healer.lab.kube import status
from healer.lab.kube.status import Obj

Match = Callable[[Obj], bool]

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_COMMA = re.compile(r",(?![^(]*\))")

FIELDS: Mapping[str, frozenset[str]] = {
    "pods": frozenset(
        (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        )
    ),
    "nodes": frozenset({"spec.unschedulable"}),
    "namespaces": frozenset({"status.phase"}),
    "events": frozenset(
        (
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        )
    ),
    "apps/replicasets": frozenset({"status.replicas"}),
}
"""What may be selected on beside name and namespace."""


def labels(text: str) -> Match:
    """`a=b,c!=d,e in (f,g),h,!i` as a predicate on objects. Raises ApiError (400)."""
    tests = [_label(part) for part in _COMMA.split(text) if part.strip()]
    return lambda obj: all(t(obj.get("metadata", {}).get("labels") or {}) for t in tests)


def fields(resource: str, text: str) -> Match:
    """`status.phase=Running,metadata.name!=x` as a predicate. Raises ApiError (400)."""
    tests: list[Match] = []
    for part in filter(None, text.split(",")):
        key, sign, value = re.split(r"(!=|==|=)", part, maxsplit=1) if "=" in part else ("", "", "")
        if not key:
            raise status.bad_request(f"invalid selector: {part!r}; can't understand")
        if key not in {"metadata.name", "metadata.namespace"} | FIELDS.get(resource, frozenset()):
            raise status.bad_request(f"field label not supported: {key}")
        tests.append(_field(key, value, equal=sign != "!="))
    return lambda obj: all(test(obj) for test in tests)


def matches(selector: Mapping[str, Any] | None, given: Mapping[str, str]) -> bool:
    """A LabelSelector object against labels. None selects nothing, an empty one everything."""
    if selector is None:
        return False
    if any(given.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for want in selector.get("matchExpressions") or ():
        key, values, have = want["key"], want.get("values") or (), given.get(want["key"])
        holds = {
            "In": have in values,
            "NotIn": have not in values,
            "Exists": key in given,
            "DoesNotExist": key not in given,
        }[want["operator"]]
        if not holds:
            return False
    return True


def as_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as a query string writes it: what a scale's status carries."""
    if not selector:
        return ""
    told = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for want in selector.get("matchExpressions") or ():
        values = ",".join(want.get("values") or ())
        told.append(
            {
                "In": f"{want['key']} in ({values})",
                "NotIn": f"{want['key']} notin ({values})",
                "Exists": want["key"],
                "DoesNotExist": f"!{want['key']}",
            }[want["operator"]]
        )
    return ",".join(told)


def _label(part: str) -> Callable[[Mapping[str, str]], bool]:
    found = _SET.match(part)
    if found:
        key, verb, inside = found.groups()
        values = {each.strip() for each in inside.split(",")}
        if verb == "in":
            return lambda have: have.get(key) in values
        return lambda have: have.get(key) not in values
    part = part.strip()
    for sign in ("!=", "==", "="):
        if sign in part:
            key, value = (each.strip() for each in part.split(sign, 1))
            if sign == "!=":
                return lambda have: have.get(key) != value
            return lambda have: have.get(key) == value
    if part.startswith("!"):
        return lambda have: part[1:].strip() not in have
    if re.fullmatch(r"[\w./-]+", part):
        return lambda have: part in have
    raise status.bad_request(f"unable to parse requirement: found '{part}'")


def _field(key: str, value: str, *, equal: bool) -> Match:
    path = key.split(".")

    def test(obj: Obj) -> bool:
        at: Any = obj
        for step in path:
            at = at.get(step) if isinstance(at, Mapping) else None
        if key == "source" and isinstance(at, Mapping):
            at = at.get("component")
        have = str(at).lower() if isinstance(at, bool) else str(at if at is not None else "")
        if key == "spec.unschedulable" and at is None:
            have = "false"
        return (have == value) is equal

    return test
