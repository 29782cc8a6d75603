"""Walks the tree of an expression; each kind of node is computed by its own module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import promql_parser as parser

from healer.lab.promql import aggregations, binary, calls, functions, selectors
from healer.lab.promql.selectors import Steps, milliseconds
from healer.lab.promql.values import Floats, Value, Vector, Windows, empty, unsupported
from healer.lab.tsdb import Tsdb


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation of one expression."""

    tsdb: Tsdb
    subquery_step_ms: int

    def value(self, node: Any, steps: Steps) -> Value:
        handler = _NODES.get(type(node))
        if handler is None:
            raise unsupported(type(node).__name__)
        return handler(self, node, steps)

    def vector(self, node: Any, steps: Steps) -> Vector:
        found = self.value(node, steps)
        assert isinstance(found, Vector), "the parser checks types"
        return found

    def scalar(self, node: Any, steps: Steps) -> Floats:
        found = self.value(node, steps)
        assert isinstance(found, np.ndarray), "the parser checks types"
        return found

    def text(self, node: Any, steps: Steps) -> str:
        found = self.value(node, steps)
        assert isinstance(found, str), "the parser checks types"
        return found

    def windows(self, node: Any, steps: Steps) -> Windows:
        found = self.value(node, steps)
        assert isinstance(found, Windows), "the parser checks types"
        return found

    # --------------------------------------------------------------------- nodes

    def number(self, node: Any, steps: Steps) -> Value:
        return np.full(len(steps), float(node.val))

    def string(self, node: Any, steps: Steps) -> Value:
        return str(node.val)

    def paren(self, node: Any, steps: Steps) -> Value:
        return self.value(node.expr, steps)

    def minus(self, node: Any, steps: Steps) -> Value:
        inner = self.value(node.expr, steps)
        if isinstance(inner, np.ndarray):
            return -inner
        assert isinstance(inner, Vector)
        return functions.changed(inner, -inner.values)

    def selector(self, node: Any, steps: Steps) -> Value:
        return selectors.instant(self.tsdb, node, steps)

    def range_selector(self, node: Any, steps: Steps) -> Value:
        return selectors.windows(self.tsdb, node, steps)

    def subquery(self, node: Any, steps: Steps) -> Value:
        """The inside at every multiple of its own step that any of our windows needs."""
        ends = selectors.moments(node, steps)
        range_ms = milliseconds(node.range)
        step_ms = milliseconds(node.step) or self.subquery_step_ms
        first = -(-(int(ends.min()) - range_ms) // step_ms) * step_ms
        grid = np.arange(first, int(ends.max()) + 1, step_ms, dtype=np.int64)
        if not len(grid):
            return selectors.windows_of(empty(0), grid, ends, range_ms)
        inner = self.vector(node.expr, steps.at(grid))
        return selectors.windows_of(inner, grid, ends, range_ms)

    def aggregate(self, node: Any, steps: Steps) -> Value:
        modifier = node.modifier
        by = modifier is None or modifier.type == parser.AggModifierType.By
        parameter = None if node.param is None else self.value(node.param, steps)
        assert not isinstance(parameter, Vector | Windows)
        return aggregations.aggregate(
            str(node.op),
            self.vector(node.expr, steps),
            [] if modifier is None else modifier.labels,
            by=by,
            parameter=parameter,
        )

    def binary(self, node: Any, steps: Steps) -> Value:
        op, matching = str(node.op), _matching(node.modifier)
        left, right = self.value(node.lhs, steps), self.value(node.rhs, steps)
        if isinstance(left, Vector) and isinstance(right, Vector):
            if op in binary.SETS:
                return binary.sets(op, left, right, matching)
            return binary.vectors(op, left, right, matching)
        if isinstance(left, Vector):
            assert isinstance(right, np.ndarray)
            return binary.vector_and_scalar(op, left, right, as_bool=matching.as_bool)
        assert isinstance(left, np.ndarray)
        if isinstance(right, Vector):
            return binary.scalar_and_vector(op, left, right, as_bool=matching.as_bool)
        assert isinstance(right, np.ndarray)
        return binary.scalars(op, left, right)

    def call(self, node: Any, steps: Steps) -> Value:
        return calls.call(self, node, steps)


def _matching(modifier: Any) -> binary.Matching:
    if modifier is None:
        return binary.Matching()
    fill = modifier.fill_values
    if fill.lhs is not None or fill.rhs is not None:
        raise unsupported("fill")
    labels = modifier.matching
    many = ""
    if modifier.card == parser.VectorMatchCardinality.ManyToOne:
        many = "left"
    elif modifier.card == parser.VectorMatchCardinality.OneToMany:
        many = "right"
    return binary.Matching(
        labels=() if labels is None else labels.labels,
        on=labels is not None and labels.type == parser.LabelModifierType.Include,
        many=many,
        include=modifier.group_labels or (),
        as_bool=modifier.return_bool,
    )


_NODES: Mapping[type[Any], Callable[[Run, Any, Steps], Value]] = {
    parser.NumberLiteral: Run.number,
    parser.StringLiteral: Run.string,
    parser.ParenExpr: Run.paren,
    parser.UnaryExpr: Run.minus,
    parser.VectorSelector: Run.selector,
    parser.MatrixSelector: Run.range_selector,
    parser.SubqueryExpr: Run.subquery,
    parser.AggregateExpr: Run.aggregate,
    parser.BinaryExpr: Run.binary,
    parser.Call: Run.call,
}
