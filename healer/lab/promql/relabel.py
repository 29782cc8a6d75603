"""`label_replace`, `label_join`, and the labels `absent` derives from its selector."""

from __future__ import annotations

import re
from collections.abc import Sequence

from healer.lab.matchers import Matcher, compiled
from healer.lab.promql.values import NAME, PromqlError, Vector, merged, replaced
from healer.lab.tsdb import Labels

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def label_replace(vector: Vector, target: str, template: str, source: str, pattern: str) -> Vector:
    try:
        regex = compiled(pattern)
    except ValueError as error:
        raise PromqlError(
            "execution", f"invalid regular expression in label_replace(): {pattern}"
        ) from error
    _check_name(target, "invalid destination label name in label_replace()")
    labels = []
    for each in vector.labels:
        found = regex.fullmatch(dict(each).get(source, ""))
        labels.append(each if found is None else replaced(each, target, _expand(template, found)))
    return merged(Vector(labels, vector.values, vector.present))


def label_join(vector: Vector, target: str, separator: str, *sources: str) -> Vector:
    _check_name(target, "invalid destination label name in label_join()")
    for source in sources:
        _check_name(source, "invalid source label name in label_join()")
    labels = []
    for each in vector.labels:
        known = dict(each)
        joined = separator.join(known.get(source, "") for source in sources)
        labels.append(replaced(each, target, joined))
    return merged(Vector(labels, vector.values, vector.present))


def of_absent(matchers: Sequence[Matcher]) -> Labels:
    """Labels that the selector asks for as equal, unless it says two things about one."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in matchers:
        if matcher.name == NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            found[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            found.pop(matcher.name, None)
    return tuple(sorted((name, value) for name, value in found.items() if value))


def _check_name(name: str, told: str) -> None:
    if not _LABEL_NAME.fullmatch(name):
        raise PromqlError("execution", f"{told}: {name}")


def _expand(template: str, found: re.Match[str]) -> str:
    """`$1`, `${1}` and `$name` as Go expands them: what does not exist is empty."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return found[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(value, template)
