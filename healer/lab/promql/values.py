"""What expressions evaluate to, over all steps of a query at once.

A scalar is an array [S], a string a `str`, an instant vector a `Vector`, a range vector
`Windows`. Absence is a mask and never NaN: NaN is a sample like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from healer.lab.tsdb import Labels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NAME = "__name__"


class PromqlError(Exception):
    """A query that cannot be answered; `kind` is Prometheus' errorType."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        """`bad_data` for the text of the query, `execution` for what its samples led to."""
        super().__init__(message)


def unsupported(what: str) -> PromqlError:
    return PromqlError("bad_data", f"parse error: {what} is not supported by this server")


@dataclass(frozen=True, slots=True)
class Vector:
    """Rows are label sets, columns are steps."""

    labels: Sequence[Labels]
    values: Floats
    """[N, S]; meaningless where not present, and NaN there in an answer."""
    present: Bools
    """[N, S]"""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Window:
    """Samples of some series with common times, and where each step's window lies in them."""

    labels: Sequence[Labels]
    times_ms: Ints
    values: Floats
    """[n, M]"""
    first: Ints
    """[S]: index of the first sample of each step's window."""
    after: Ints
    """[S]: one past its last; equal to `first` for an empty window."""

    @property
    def sizes(self) -> Ints:
        return self.after - self.first


@dataclass(frozen=True, slots=True)
class Windows:
    """A range vector at every step."""

    parts: Sequence[Window]
    starts_ms: Ints
    """[S]: where each step's window begins, offsets applied."""
    ends_ms: Ints
    range_ms: int


Value = Vector | Windows | Floats | str


def show(labels: Labels) -> str:
    """As Prometheus writes a series."""
    name = next((value for key, value in labels if key == NAME), "")
    rest = ", ".join(f'{key}="{value}"' for key, value in labels if key != NAME)
    return f"{name}{{{rest}}}"


# The same few thousand series are asked for again and again.
@lru_cache(maxsize=65_536)
def without(labels: Labels, names: Collection[str]) -> Labels:
    """names: hashable."""
    return tuple(pair for pair in labels if pair[0] not in names)


@lru_cache(maxsize=65_536)
def only(labels: Labels, names: Collection[str]) -> Labels:
    """names: hashable."""
    return tuple(pair for pair in labels if pair[0] in names)


def nameless(labels: Sequence[Labels]) -> list[Labels]:
    return [without(each, (NAME,)) for each in labels]


def replaced(labels: Labels, name: str, value: str) -> Labels:
    """With this label set, or removed where `value` is empty."""
    rest = without(labels, (name,))
    return tuple(sorted((*rest, (name, value)))) if value else rest


def empty(steps: int) -> Vector:
    return Vector([], np.zeros((0, steps)), np.zeros((0, steps), bool))


def compact(vector: Vector) -> Vector:
    """Without the rows that are absent at every step."""
    alive = np.asarray(vector.present.any(axis=1))
    if alive.all():
        return vector
    labels = [each for each, keep in zip(vector.labels, alive, strict=True) if keep]
    return Vector(labels, vector.values[alive], vector.present[alive])


def merged(vector: Vector) -> Vector:
    """Rows that came to have the same labels become one.

    Raises PromqlError where two of them are present at the same step.
    """
    if len(set(vector.labels)) == len(vector.labels):
        return vector
    groups = Groups.of(vector.labels)
    count = groups.count(vector.present)
    if (count > 1).any():
        raise same_labels()
    values = groups.add(np.where(vector.present, vector.values, 0.0))
    return Vector(groups.keys, values, count > 0)


def same_labels() -> PromqlError:
    return PromqlError("execution", "vector cannot contain metrics with the same labelset")


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows with the same key; keys in order of first appearance."""

    keys: Sequence[Labels]
    which: Ints
    """[N]: group of each row."""
    order: Ints
    """[N]: rows sorted by group."""
    starts: Ints
    """Where each group begins in `order`."""

    @classmethod
    def of(cls, keys: Sequence[Labels]) -> Groups:
        number: dict[Labels, int] = {}
        which = np.fromiter(
            (number.setdefault(key, len(number)) for key in keys), np.int64, len(keys)
        )
        order = np.argsort(which, kind="stable")
        starts = np.searchsorted(which[order], np.arange(len(number)))
        return cls(list(number), which, order, starts)

    def reduce(self, ufunc: np.ufunc, rows: Floats) -> Floats:
        """[N, S] → [groups, S]"""
        if not len(self.keys):
            return rows[:0]
        done: Floats = ufunc.reduceat(rows[self.order], self.starts, axis=0)
        return done

    def add(self, rows: Floats) -> Floats:
        return self.reduce(np.add, rows)

    def count(self, present: Bools) -> Ints:
        """[N, S] → [groups, S]: how many rows of each group are present."""
        return self.add(present.astype(np.float64)).astype(np.int64)

    def members(self) -> list[Ints]:
        return np.split(self.order, self.starts[1:]) if len(self.keys) else []
