"""Copies of decoded JSON, several times faster than `copy.deepcopy`."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def clone(value: T) -> T:
    """A copy that shares no dict or list with `value`."""
    if isinstance(value, dict):
        return {key: clone(each) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [clone(each) for each in value]  # type: ignore[return-value]
    return value


def without_nulls(value: T) -> T:
    """As typed decoding leaves it: a null field is an absent one."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}  # type: ignore[return-value]
    if isinstance(value, list):
        return [without_nulls(each) for each in value]  # type: ignore[return-value]
    return value
