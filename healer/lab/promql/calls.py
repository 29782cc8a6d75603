"""Calls: which function takes what, and those that need the tree or the steps themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import promql_parser as parser

from healer.lab.promql import functions, histogram, overtime, relabel, selectors
from healer.lab.promql.selectors import Steps
from healer.lab.promql.values import (
    Bools,
    Floats,
    PromqlError,
    Value,
    Vector,
    compact,
    nameless,
    same_labels,
)
from healer.lab.tsdb import Labels

if TYPE_CHECKING:
    from healer.lab.promql.walk import Run


def call(run: Run, node: Any, steps: Steps) -> Value:
    name = node.func.name
    if name in overtime.FUNCTIONS:
        return _over_time(run, name, node.args, steps)
    if name in functions.ELEMENTWISE:
        return functions.elementwise(name, run.vector(node.args[0], steps))
    if name in functions.CALENDAR:
        given = run.vector(node.args[0], steps) if node.args else _now(steps)
        return functions.calendar(name, given)
    handler = _CALLS.get(name)
    if handler is None:
        raise PromqlError("bad_data", f'parse error: unknown function with name "{name}"')
    return handler(run, node.args, steps)


def _over_time(run: Run, name: str, args: list[Any], steps: Steps) -> Vector:
    extra = np.zeros(len(steps))
    if name == "quantile_over_time":
        extra = run.scalar(args[0], steps)
    elif name == "predict_linear":
        extra = run.scalar(args[1], steps)
    windows = run.windows(args[-1] if name == "quantile_over_time" else args[0], steps)
    found = compact(overtime.apply(name, windows, extra, steps.times_ms))
    if name == "last_over_time":
        return found
    labels = nameless(found.labels)
    if len(set(labels)) < len(labels):
        raise same_labels()
    return Vector(labels, found.values, found.present)


def _absent(run: Run, args: list[Any], steps: Steps) -> Value:
    there = np.asarray(run.vector(args[0], steps).present.any(axis=0))
    return _where_absent(there, args[0])


def _absent_over_time(run: Run, args: list[Any], steps: Steps) -> Value:
    return _where_absent(overtime.any_sample(run.windows(args[0], steps)), args[0])


def _timestamp(run: Run, args: list[Any], steps: Steps) -> Value:
    node = _bare(args[0])
    if isinstance(node, parser.VectorSelector):
        found = selectors.sample_times(run.tsdb, node, steps)
        return functions.changed(found, found.values)
    found = run.vector(node, steps)
    times = np.broadcast_to(steps.times_ms / 1000, found.values.shape)
    return functions.changed(found, times)


def _label_function(run: Run, apply: Callable[..., Vector], args: list[Any], steps: Steps) -> Value:
    texts = [run.text(each, steps) for each in args[1:]]
    return apply(run.vector(args[0], steps), *texts)


def _round(run: Run, args: list[Any], steps: Steps) -> Value:
    nearest = run.scalar(args[1], steps) if len(args) > 1 else np.ones(len(steps))
    return functions.rounded(run.vector(args[0], steps), nearest)


def _sort(run: Run, args: list[Any], steps: Steps, sign: float) -> Value:
    found = compact(run.vector(args[0], steps))
    return functions.ordered(found, sign * found.values)


def _clamp(run: Run, args: list[Any], steps: Steps) -> Value:
    low, high = run.scalar(args[1], steps), run.scalar(args[2], steps)
    return functions.clamp(run.vector(args[0], steps), low, high)


def _bounded(run: Run, args: list[Any], steps: Steps, bound: Callable[..., Floats]) -> Value:
    found = run.vector(args[0], steps)
    return functions.changed(found, bound(found.values, run.scalar(args[1], steps)))


def _bare(node: Any) -> Any:
    while isinstance(node, parser.ParenExpr):
        node = node.expr
    return node


def _now(steps: Steps) -> Vector:
    return functions.vector_of(steps.times_ms / 1000)


def _where_absent(there: Bools, argument: Any) -> Vector:
    node = _bare(argument)
    if isinstance(node, parser.MatrixSelector):
        node = node.vector_selector
    labels: Labels = ()
    if isinstance(node, parser.VectorSelector):
        labels = relabel.of_absent(selectors.matchers_of(node))
    return Vector([labels], np.ones((1, len(there))), ~there[None, :])


_CALLS: Mapping[str, Callable[[Run, list[Any], Steps], Value]] = {
    "absent": _absent,
    "absent_over_time": _absent_over_time,
    "timestamp": _timestamp,
    "round": _round,
    "clamp": _clamp,
    "clamp_min": lambda run, args, steps: _bounded(run, args, steps, functions.maximum),
    "clamp_max": lambda run, args, steps: _bounded(run, args, steps, functions.minimum),
    "sort": lambda run, args, steps: _sort(run, args, steps, 1.0),
    "sort_desc": lambda run, args, steps: _sort(run, args, steps, -1.0),
    "time": lambda _run, _args, steps: steps.times_ms / 1000,
    "pi": lambda _run, _args, steps: np.full(len(steps), np.pi),
    "vector": lambda run, args, steps: functions.vector_of(run.scalar(args[0], steps)),
    "scalar": lambda run, args, steps: functions.scalar_of(run.vector(args[0], steps)),
    "label_replace": lambda run, args, steps: _label_function(
        run, relabel.label_replace, args, steps
    ),
    "label_join": lambda run, args, steps: _label_function(run, relabel.label_join, args, steps),
    "histogram_quantile": lambda run, args, steps: histogram.histogram_quantile(
        run.scalar(args[0], steps), run.vector(args[1], steps)
    ),
}
