"""Selectors: which samples a step sees.

An instant selector takes the newest sample of the last five minutes, unless that is a
staleness marker. A range selector takes every sample of its window, both ends included,
staleness markers left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import promql_parser as parser

from healer.lab.columns import Bundle, alike, is_absent, is_stale
from healer.lab.matchers import Matcher
from healer.lab.promql.values import (
    NAME,
    Bools,
    Floats,
    Ints,
    PromqlError,
    Vector,
    Window,
    Windows,
    empty,
    unsupported,
)
from healer.lab.tsdb import Labels, Tsdb

LOOKBACK_MS = 300_000

_OPS = (
    (parser.MatchOp.Equal, "="),
    (parser.MatchOp.NotEqual, "!="),
    (parser.MatchOp.Re, "=~"),
    (parser.MatchOp.NotRe, "!~"),
)
"""Pairs: the parser's enums compare equal and do not hash."""


@dataclass(frozen=True, slots=True)
class Steps:
    """When an expression is evaluated, and what `@ start()` and `@ end()` mean."""

    times_ms: Ints
    start_ms: int
    end_ms: int
    until_ms: int
    """Later samples do not exist yet."""

    def __len__(self) -> int:
        return len(self.times_ms)

    def at(self, times_ms: Ints) -> Steps:
        """The same query at other times: the inside of a subquery."""
        return replace(self, times_ms=times_ms)


def milliseconds(span: timedelta | None) -> int:
    return 0 if span is None else span // timedelta(milliseconds=1)


def matchers_of(node: Any) -> tuple[Matcher, ...]:
    """Of a vector selector, its metric name included."""
    if node.matchers.or_matchers:
        raise unsupported('"or" between matchers')
    named = (Matcher(NAME, "=", node.name),) if node.name else ()
    return named + tuple(Matcher(m.name, _op(m), m.value) for m in node.matchers.matchers)


def _op(matcher: Any) -> str:
    return next(op for kind, op in _OPS if kind == matcher.op)


def moments(node: Any, steps: Steps) -> Ints:
    """When a selector or subquery looks, per step: `@` first, then `offset`."""
    times = steps.times_ms
    if node.at is not None:
        times = np.full(len(times), _fixed(node.at, steps), np.int64)
    return times - milliseconds(node.offset)


def _fixed(at: Any, steps: Steps) -> int:
    if at.type == parser.AtModifierType.Start:
        return steps.start_ms
    if at.type == parser.AtModifierType.End:
        return steps.end_ms
    fixed: float = at.at.timestamp()
    return round(fixed * 1000)


def instant(tsdb: Tsdb, node: Any, steps: Steps) -> Vector:
    values, _ = _looked_up(tsdb, node, steps)
    return values


def sample_times(tsdb: Tsdb, node: Any, steps: Steps) -> Vector:
    """Like `instant`, with each sample's own time in seconds as its value."""
    values, times_ms = _looked_up(tsdb, node, steps)
    return Vector(values.labels, times_ms / 1000, values.present)


def windows(tsdb: Tsdb, node: Any, steps: Steps) -> Windows:
    """Of a matrix selector."""
    ends = moments(node.vector_selector, steps)
    range_ms = milliseconds(node.range)
    parts: list[Window] = []
    for bundle in _gathered(tsdb, node.vector_selector, ends, range_ms, steps):
        labels = tsdb.labels_of(bundle.handles.tolist())
        there = ~(is_absent(bundle.values) | is_stale(bundle.values))
        found = Vector(labels, bundle.values, there)
        parts += _parts(found, bundle.times_ms, ends, range_ms)
    return Windows(parts, ends - range_ms, ends, range_ms)


def windows_of(inner: Vector, grid_ms: Ints, ends_ms: Ints, range_ms: int) -> Windows:
    """Of a subquery: its inside, evaluated at the times of the grid."""
    parts = list(_parts(inner, grid_ms, ends_ms, range_ms))
    return Windows(parts, ends_ms - range_ms, ends_ms, range_ms)


def _parts(found: Vector, times_ms: Ints, ends_ms: Ints, range_ms: int) -> Iterator[Window]:
    def window(labels: Sequence[Labels], times: Ints, values: Floats) -> Window:
        first = times.searchsorted(ends_ms - range_ms, "left")
        return Window(labels, times, values, first, times.searchsorted(ends_ms, "right"))

    if found.present.all():  # most often
        if len(found):
            yield window(found.labels, times_ms, found.values)
        return
    for rows, columns in solid(~found.present):
        labels = [found.labels[row] for row in rows]
        yield window(labels, times_ms[columns], found.values[np.ix_(rows, columns)])


def solid(holes: Bools) -> Iterator[tuple[Ints, Ints]]:
    """Rows and columns without a hole in them: rows with the same holes go together."""
    broken = holes.any(axis=1)
    whole = np.flatnonzero(~broken)
    if len(whole):
        yield whole, np.arange(holes.shape[1])
    if len(whole) == len(holes):
        return
    torn = np.flatnonzero(broken)
    for mine in alike(holes[torn]):
        columns = np.flatnonzero(~holes[torn[mine[0]]])
        if len(columns):
            yield torn[mine], columns


def _gathered(tsdb: Tsdb, node: Any, ends_ms: Ints, range_ms: int, steps: Steps) -> list[Bundle]:
    try:
        handles = tsdb.find(matchers_of(node))
    except ValueError as error:
        raise PromqlError("bad_data", f"parse error: {error}") from error
    end_ms = min(int(ends_ms.max()), steps.until_ms)
    return tsdb.gather(handles, int(ends_ms.min()) - range_ms, end_ms)


def _looked_up(tsdb: Tsdb, node: Any, steps: Steps) -> tuple[Vector, Ints]:
    """Values, and the samples' own times [N, S]."""
    ends = moments(node, steps)
    labels: list[Labels] = []
    values: list[Floats] = []
    present: list[Bools] = []
    taken: list[Ints] = []
    bundles = _gathered(tsdb, node, ends, LOOKBACK_MS, steps)
    for bundle in sorted(bundles, key=lambda each: int(each.handles[0])):
        names = tsdb.labels_of(bundle.handles.tolist())
        for rows, columns in solid(is_absent(bundle.values)):
            times = bundle.times_ms[columns]
            at = times.searchsorted(ends, "right") - 1
            seen = (at >= 0) & (times[at] >= ends - LOOKBACK_MS)
            whole = len(rows) == len(names)
            cells = (
                bundle.values[:, columns[at]]
                if whole
                else bundle.values[rows[:, None], columns[at]]
            )
            labels += names if whole else [names[row] for row in rows]
            values.append(cells)
            present.append(seen[None, :] & ~is_stale(cells))
            taken.append(np.broadcast_to(times[at], cells.shape))
    if not labels:
        return empty(len(steps)), np.zeros((0, len(steps)), np.int64)
    alive = np.concatenate(present)
    keep = np.flatnonzero(alive.any(axis=1))
    if len(keep) == len(labels):
        return Vector(labels, np.concatenate(values), alive), np.concatenate(taken)
    return (
        Vector([labels[row] for row in keep], np.concatenate(values)[keep], alive[keep]),
        np.concatenate(taken)[keep],
    )
