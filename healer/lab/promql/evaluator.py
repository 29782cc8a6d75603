"""The evaluator's two questions, instant and range, and what an answer looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import promql_parser as parser

from healer.lab.promql import functions
from healer.lab.promql.selectors import Steps
from healer.lab.promql.values import (
    Floats,
    Ints,
    PromqlError,
    Value,
    Vector,
    Windows,
    compact,
    unsupported,
)
from healer.lab.promql.walk import Run
from healer.lab.tsdb import Labels, Tsdb, to_ms

FOREVER_S = 1e15
_BEFORE_1970 = re.compile(r"@\s*-")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`""")


@dataclass(frozen=True, slots=True)
class Samples:
    """One series of a range vector."""

    labels: Labels
    times_ms: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class Answer:
    """kind: `vector`, `scalar` (an array) or `string` at one time; `matrix` for a range query
    (a Vector over `times_ms`) and for a range vector (a list of Samples)."""

    kind: str
    times_ms: Ints
    value: Vector | Floats | str | list[Samples]


class Evaluator:
    def __init__(self, tsdb: Tsdb, subquery_step_s: float = 60.0) -> None:
        """subquery_step_s: resolution of a subquery that names none."""
        self._tsdb = tsdb
        self._subquery_step_ms = to_ms(subquery_step_s)

    def instant(self, expr: str, at_s: float, until_s: float = FOREVER_S) -> Answer:
        """Raises PromqlError. Samples after `until_s` do not exist yet."""
        at_ms = to_ms(at_s)
        steps = Steps(np.array([at_ms], np.int64), at_ms, at_ms, to_ms(until_s))
        value = self._value(parsed(expr), steps)
        if isinstance(value, str):
            return Answer("string", steps.times_ms, value)
        if isinstance(value, np.ndarray):
            return Answer("scalar", steps.times_ms, value)
        if isinstance(value, Vector):
            return Answer("vector", steps.times_ms, value)
        return Answer("matrix", steps.times_ms, sorted(_samples(value), key=lambda s: s.labels))

    def range(
        self, expr: str, start_s: float, end_s: float, step_s: float, until_s: float = FOREVER_S
    ) -> Answer:
        """At start, start + step, … up to end. Raises PromqlError."""
        start_ms, end_ms, step_ms = to_ms(start_s), to_ms(end_s), to_ms(step_s)
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        steps = Steps(times, start_ms, end_ms, to_ms(until_s))
        value = self._value(parsed(expr), steps)
        if isinstance(value, np.ndarray):
            value = functions.vector_of(value)
        if not isinstance(value, Vector):
            kind = "string" if isinstance(value, str) else "range vector"
            raise PromqlError(
                "bad_data",
                f'invalid expression type "{kind}" for range query, '
                "must be Scalar or instant Vector",
            )
        rows = sorted(range(len(value)), key=lambda row: value.labels[row])
        labels = [value.labels[row] for row in rows]
        return Answer("matrix", times, Vector(labels, value.values[rows], value.present[rows]))

    def _value(self, node: Any, steps: Steps) -> Value:
        with np.errstate(all="ignore"):  # overflow and NaN are answers here
            value = Run(self._tsdb, self._subquery_step_ms).value(node, steps)
            if not isinstance(value, Vector):
                return value
            alive = compact(value)
            values = np.where(alive.present, alive.values, np.nan)
            return Vector(alive.labels, values, alive.present)


@lru_cache(maxsize=2048)
def parsed(expr: str) -> Any:
    """The tree of an expression. Raises PromqlError."""
    if _BEFORE_1970.search(_QUOTED.sub("", expr)):  # the parser's binding aborts on it
        raise unsupported("a time before 1970 after @")
    try:
        return parser.parse(expr)
    except ValueError as error:
        raise PromqlError("bad_data", f"parse error: {error}") from error


def _samples(windows: Windows) -> Iterator[Samples]:
    for part in windows.parts:
        span = slice(int(part.first[0]), int(part.after[0]))
        if span.start < span.stop:
            for labels, values in zip(part.labels, part.values[:, span], strict=True):
                yield Samples(labels, part.times_ms[span], values)
