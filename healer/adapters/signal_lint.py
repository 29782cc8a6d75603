"""What a signal's author is likely to regret: said before it runs, not found out at night.

Loading has refused what is wrong in itself. Here are the things that load and then never have
data, or never name a target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

import promql_parser

from healer.model.signal import Signal
from healer.model.target import Kind
from healer.stages import locate

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_PODS = {label for label, _ in locate.POD_LABELS} | {"instance"}
_NAMING: dict[Kind, frozenset[str]] = {
    Kind.POD: frozenset(_PODS),
    Kind.GPU: frozenset(locate.GPU_LABELS),
    Kind.NODE: frozenset((*locate.NODE_LABELS, *locate.HOST_LABELS, *_PODS)),
    Kind.WORKLOAD: frozenset((*locate.WORKLOAD_LABELS, locate.HPA_LABEL)),
    Kind.MODEL: frozenset(locate.MODEL_LABELS),
    Kind.SERVICE: frozenset(label for label, _ in locate.SERVICE_LABELS),
}
"""Labels of which at least one must be left in the result, or its rows name no target."""


def lint(signals: Iterable[Signal], step: timedelta) -> Iterator[str]:
    """One line a complaint, each beginning with `source.name`. step: the scrape interval."""
    for signal in signals:
        for said in _of(signal, step):
            yield f"{signal.source}.{signal.name}: {said}"


def _of(signal: Signal, step: timedelta) -> Iterator[str]:
    if not _NAME.match(signal.name):
        yield "name: expected lower case, digits and underscores"
    if not signal.matters > 0:
        yield f"matters: {signal.matters:g}: expected more than 0, the smallest change of note"
    if signal.scope not in _NAMING and signal.scope is not Kind.CLUSTER:
        yield f"scope: no labels name a {signal.scope}; expected one of {', '.join(_NAMING)}"
    tree = promql_parser.parse(signal.query)
    kept = _labels_left(tree)
    naming = _NAMING.get(signal.scope)
    if kept is not None and naming is not None and not kept & naming:
        yield (
            f"query: its result has the labels {', '.join(sorted(kept)) or 'none'}, of which none "
            f"names a {signal.scope}; expected one of {', '.join(sorted(naming))}"
        )
    if kept is not None:
        lost = [label for label in signal.keep if label not in kept]
        if lost:
            yield f"keep: {', '.join(lost)}: not among the labels that the query leaves"
    for window in sorted(_windows(tree)):
        if window < 2 * step:
            yield (
                f"query: [{window.total_seconds():g}s] holds fewer than two samples at a scrape "
                f"every {step.total_seconds():g} s: it will have no data"
            )
    for name in signal.metrics:
        if name.count(":") == 1 and name.replace(":", "_") not in signal.metrics:
            yield (
                f"query: {name}: some scrapes turn the colon into an underscore; "
                f"write `{name} or {name.replace(':', '_')}`"
            )


def _labels_left(tree: promql_parser.Expr) -> frozenset[str] | None:
    """Labels of the result as far as aggregations say them; None where they do not."""
    match tree:
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return _labels_left(tree.expr)
        case promql_parser.AggregateExpr():
            if tree.modifier is None:
                return frozenset()
            by = tree.modifier.type == promql_parser.AggModifierType.By
            return frozenset(tree.modifier.labels) if by else None
        case promql_parser.BinaryExpr():
            return _of_both(tree)
        case promql_parser.Call():
            return _after_call(tree)
        case _:
            return None


def _of_both(tree: promql_parser.BinaryExpr) -> frozenset[str] | None:
    if isinstance(tree.rhs, promql_parser.NumberLiteral):
        return _labels_left(tree.lhs)
    if isinstance(tree.lhs, promql_parser.NumberLiteral):
        return _labels_left(tree.rhs)
    left, right = _labels_left(tree.lhs), _labels_left(tree.rhs)
    if str(tree.op) != "or" or left is None or right is None:
        return left
    return left | right


def _after_call(tree: promql_parser.Call) -> frozenset[str] | None:
    """Functions keep the labels of their vector, save for quantiles and label functions."""
    vectors = [each for each in tree.args if not isinstance(each, _LITERALS)]
    kept = _labels_left(vectors[0]) if vectors else None
    if kept is None:
        return None
    if tree.func.name == "histogram_quantile":
        return kept - {"le"}
    if tree.func.name in ("label_replace", "label_join"):
        return kept | {tree.args[1].val}
    return kept


_LITERALS = (promql_parser.NumberLiteral, promql_parser.StringLiteral)


def _windows(tree: promql_parser.Expr) -> set[timedelta]:
    found: set[timedelta] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.MatrixSelector):
            found.add(node.range)
        return True

    promql_parser.walk(tree, visit)
    return found
