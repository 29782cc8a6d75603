"""Binary operators: numbers with numbers, vectors with numbers, vectors with vectors.

Matching is worked out once for all steps: pairs of rows with the same matching labels, then
one array operation over the pairs, then Prometheus' checks for ambiguity step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from healer.lab.promql.values import (
    NAME,
    Bools,
    Floats,
    Groups,
    PromqlError,
    Vector,
    compact,
    empty,
    merged,
    nameless,
    only,
    replaced,
    show,
    without,
)
from healer.lab.tsdb import Labels

ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISON: Mapping[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
KEEP_NAME = frozenset({*COMPARISON, "atan2"})
"""They leave the metric's name; atan2 by an oversight of Prometheus."""
SETS = ("and", "or", "unless")


@dataclass(frozen=True, slots=True)
class Matching:
    """How rows of both sides find each other."""

    labels: Sequence[str] = ()
    on: bool = False
    """Whether `labels` are those to match on, or those to ignore."""
    many: str = ""
    """`left` for group_left, `right` for group_right, empty for one to one."""
    include: Sequence[str] = ()
    """Labels taken over from the one side."""
    as_bool: bool = False

    def key(self, labels: Labels) -> Labels:
        names = tuple(self.labels)
        return only(labels, names) if self.on else without(labels, (*names, NAME))


def scalars(op: str, left: Floats, right: Floats) -> Floats:
    if op in ARITHMETIC:
        return ARITHMETIC[op](left, right)
    return COMPARISON[op](left, right).astype(np.float64)


def vector_and_scalar(op: str, vector: Vector, scalar: Floats, *, as_bool: bool) -> Vector:
    return _with_scalar(op, vector, vector.values, scalar[None, :], as_bool=as_bool)


def scalar_and_vector(op: str, scalar: Floats, vector: Vector, *, as_bool: bool) -> Vector:
    return _with_scalar(op, vector, scalar[None, :], vector.values, as_bool=as_bool)


def _with_scalar(op: str, vector: Vector, left: Floats, right: Floats, *, as_bool: bool) -> Vector:
    if op in ARITHMETIC:
        values = ARITHMETIC[op](left, right)
        labels = vector.labels if op in KEEP_NAME else nameless(vector.labels)
        return merged(Vector(labels, values, vector.present))
    holds = COMPARISON[op](left, right)
    if as_bool:
        values = holds.astype(np.float64)
        return merged(Vector(nameless(vector.labels), values, vector.present))
    return compact(Vector(vector.labels, vector.values, vector.present & holds))


# ------------------------------------------------------------------------------------ sets


def sets(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """`and`, `or`, `unless`: rows keep their labels and values."""
    if not right.present.any():  # names that this cluster does not have: most often so
        return empty(left.present.shape[1]) if op == "and" else compact(left)
    if not left.present.any():
        return compact(right) if op == "or" else empty(left.present.shape[1])
    keys = [matching.key(each) for each in (*left.labels, *right.labels)]
    groups = Groups.of(keys)
    split = len(left)
    if op == "or":
        mine = _seen(groups, left.present, slice(0, split))
        extra = right.present & ~mine[groups.which[split:]]
        return merged(
            compact(
                Vector(
                    [*left.labels, *right.labels],
                    np.concatenate([left.values, right.values]),
                    np.concatenate([left.present, extra]),
                )
            )
        )
    theirs = _seen(groups, right.present, slice(split, None))[groups.which[:split]]
    kept = left.present & (theirs if op == "and" else ~theirs)
    return compact(Vector(left.labels, left.values, kept))


def _seen(groups: Groups, present: Bools, side: slice) -> Bools:
    """[groups, S]: whether a row of that side is present in the group."""
    seen = np.zeros((len(groups.keys), present.shape[1]), bool)
    np.logical_or.at(seen, groups.which[side], present)
    return seen


# --------------------------------------------------------------------------------- vectors


def vectors(op: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    """Arithmetic and comparison, row by matching row. Raises PromqlError where ambiguous."""
    many, one = (right, left) if matching.many == "right" else (left, right)
    steps = left.present.shape[1]
    if not len(many) or not len(one):
        return empty(steps)
    # Prometheus looks for ambiguity only where both sides have something.
    both = np.asarray(many.present.any(axis=0) & one.present.any(axis=0))
    keys = [matching.key(each) for each in one.labels]
    _check_unique(one, keys, both, matching)
    rows_of: dict[Labels, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    many_keys = [matching.key(each) for each in many.labels]
    pairs = [(row, other) for row, key in enumerate(many_keys) for other in rows_of.get(key, ())]
    if not pairs:
        return empty(steps)
    of_many, of_one = np.array(pairs, np.int64).T
    mine, theirs = many.values[of_many], one.values[of_one]
    first, second = (theirs, mine) if matching.many == "right" else (mine, theirs)
    present = many.present[of_many] & one.present[of_one]
    if op in ARITHMETIC:
        values = ARITHMETIC[op](first, second)
    else:
        holds = COMPARISON[op](first, second)
        if matching.as_bool:
            values = holds.astype(np.float64)
        else:
            values, present = first, present & holds
    found = Vector(
        [_result(op, many.labels[a], one.labels[b], matching) for a, b in pairs], values, present
    )
    _check_results(found, [many_keys[row] for row in of_many], matching)
    return merged(compact(found))


def _check_unique(one: Vector, keys: Sequence[Labels], both: Bools, matching: Matching) -> None:
    if len(set(keys)) == len(keys):
        return
    groups = Groups.of(keys)
    clash = (groups.count(one.present) > 1) & both
    if not clash.any():
        return
    group, step = (int(each[0]) for each in np.nonzero(clash))
    rows = [row for row in groups.members()[group] if one.present[row, step]]
    side = "left" if matching.many == "right" else "right"
    raise PromqlError(
        "execution",
        f"found duplicate series for the match group {show(groups.keys[group])} on the {side} "
        f"hand-side of the operation: [{show(one.labels[rows[1]])}, {show(one.labels[rows[0]])}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side",
    )


def _check_results(found: Vector, keys: Sequence[Labels], matching: Matching) -> None:
    """One to one: a key gives one result. Many to one: a label set within a key does."""
    if matching.many:
        ids: Sequence[Labels] = [
            (*key, ("", ""), *labels) for key, labels in zip(keys, found.labels, strict=True)
        ]
        told = "grouping labels must ensure unique matches"
    else:
        ids, told = keys, "many-to-one matching must be explicit (group_left/group_right)"
    if len(set(ids)) < len(ids):
        count = Groups.of(ids).count(found.present)
        if (count > 1).any():
            raise PromqlError("execution", f"multiple matches for labels: {told}")


def _result(op: str, many: Labels, one: Labels, matching: Matching) -> Labels:
    labels = many if op in KEEP_NAME and not matching.as_bool else without(many, (NAME,))
    if not matching.many:
        names = tuple(matching.labels)
        labels = only(labels, names) if matching.on else without(labels, names)
    taken = dict(one)
    for name in matching.include:
        labels = replaced(labels, name, taken.get(name, ""))
    return labels
