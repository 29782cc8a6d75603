"""Aggregations: many rows of a vector become one per group, or the chosen few of each group."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from healer.lab.promql.numbers import show_number
from healer.lab.promql.quantiles import quantile
from healer.lab.promql.values import (
    NAME,
    Bools,
    Floats,
    Groups,
    PromqlError,
    Vector,
    empty,
    merged,
    only,
    replaced,
    unsupported,
    without,
)
from healer.lab.tsdb import Labels

Reduce = Callable[[Groups, Floats, Bools], Floats]
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def aggregate(
    op: str, vector: Vector, names: Sequence[str], *, by: bool, parameter: Floats | str | None
) -> Vector:
    """names: of `by` or `without`; parameter: of quantile, topk, bottomk and count_values."""
    if not len(vector):
        return vector
    if op == "count_values":
        return _count_values(vector, names, by=by, label=str(parameter))
    groups = Groups.of(_keys(vector.labels, names, by=by))
    if op in ("topk", "bottomk"):
        assert isinstance(parameter, np.ndarray)
        return _chosen(vector, groups, parameter, best=vector.values * (1 if op == "topk" else -1))
    present = groups.count(vector.present) > 0
    if op == "quantile":
        assert isinstance(parameter, np.ndarray)
        return Vector(groups.keys, _quantiles(vector, groups, parameter), present)
    if op not in REDUCTIONS:
        raise unsupported(f"aggregation {op}")
    return Vector(groups.keys, REDUCTIONS[op](groups, vector.values, vector.present), present)


def _keys(labels: Sequence[Labels], names: Sequence[str], *, by: bool) -> list[Labels]:
    if by:
        kept = frozenset(names)
        return [only(each, kept) for each in labels]
    dropped = frozenset((*names, NAME))
    return [without(each, dropped) for each in labels]


def _sum(groups: Groups, values: Floats, present: Bools) -> Floats:
    return groups.add(np.where(present, values, 0.0))


def _count(groups: Groups, _: Floats, present: Bools) -> Floats:
    return groups.count(present).astype(np.float64)


def _min(groups: Groups, values: Floats, present: Bools) -> Floats:
    """`fmin` passes over NaN as Prometheus does, and so over absent cells."""
    return groups.reduce(np.fmin, np.where(present, values, np.nan))


def _max(groups: Groups, values: Floats, present: Bools) -> Floats:
    return groups.reduce(np.fmax, np.where(present, values, np.nan))


def _avg(groups: Groups, values: Floats, present: Bools) -> Floats:
    """Exact where all are equal."""
    low, high = _min(groups, values, present), _max(groups, values, present)
    mean = _sum(groups, values, present) / _count(groups, values, present)
    return np.where((low == high) & ~np.isnan(mean), low, mean)


def _variance(groups: Groups, values: Floats, present: Bools) -> Floats:
    off = values - _avg(groups, values, present)[groups.which]
    # A single element has no spread, even if it is infinite or NaN.
    return np.where(groups.count(present) == 1, 0.0, _avg(groups, off * off, present))


REDUCTIONS: Mapping[str, Reduce] = {
    "sum": _sum,
    "count": _count,
    "avg": _avg,
    "min": _min,
    "max": _max,
    "stdvar": _variance,
    "stddev": lambda *given: np.sqrt(_variance(*given)),
    "group": lambda groups, _, present: np.ones((len(groups.keys), present.shape[1])),
}


def _quantiles(vector: Vector, groups: Groups, q: Floats) -> Floats:
    rows = [quantile(q, vector.values[mine].T, vector.present[mine].T) for mine in groups.members()]
    return np.stack(rows)


def _chosen(vector: Vector, groups: Groups, k: Floats, best: Floats) -> Vector:
    """At each step the k rows of every group that are best, with their own labels. NaN is worse
    than every number. At a single step the rows come best first."""
    if np.isnan(k).any() or (np.abs(k) >= 2**63).any():
        raise PromqlError("execution", "Scalar value overflows int64")
    names = sorted(range(len(vector)), key=lambda row: vector.labels[row])
    by_labels = np.argsort(names)  # where values tie
    keep = np.zeros(vector.present.shape, bool)
    ranks = np.zeros(vector.present.shape, np.int64)
    for mine in groups.members():
        kind = np.where(~vector.present[mine], 2, np.where(np.isnan(best[mine]), 1, 0))
        ties = np.broadcast_to(by_labels[mine][:, None], kind.shape)
        order = np.lexsort((ties, np.where(kind == 0, -best[mine], 0.0), kind), axis=0)
        rank = np.argsort(order, axis=0)
        ranks[mine] = rank
        keep[mine] = (rank < np.trunc(k)) & vector.present[mine]
    rows = np.flatnonzero(keep.any(axis=1))
    if vector.present.shape[1] == 1:
        rows = rows[np.lexsort((ranks[rows, 0], groups.which[rows]))]
    return Vector([vector.labels[int(row)] for row in rows], vector.values[rows], keep[rows])


def _count_values(vector: Vector, names: Sequence[str], *, by: bool, label: str) -> Vector:
    if not _LABEL_NAME.fullmatch(label):
        raise PromqlError("execution", f'invalid label name "{label}"')
    keys = _keys(vector.labels, names, by=by)
    counted: dict[Labels, Floats] = {}
    steps = vector.values.shape[1]
    for key, values, present in zip(keys, vector.values, vector.present, strict=True):
        for step in np.flatnonzero(present):
            labels = replaced(key, label, show_number(float(values[step])))
            counted.setdefault(labels, np.zeros(steps))[step] += 1
    if not counted:
        return empty(steps)
    counts = np.stack(list(counted.values()))
    return merged(Vector(list(counted), counts, counts > 0))
