"""Quantiles of classic histograms, by Prometheus' rules.

All histograms with the same bounds are computed together, whatever their number; a cell that
lacks a bucket is computed with those it has.
"""

from __future__ import annotations

import numpy as np

from healer.lab.promql.values import (
    Bools,
    Floats,
    Groups,
    Vector,
    empty,
    merged,
    nameless,
    without,
)
from healer.lab.tsdb import Labels


def histogram_quantile(q: Floats, buckets: Vector) -> Vector:
    """q: [S]. Rows without a number in `le` are passed over."""
    bounds = [_bound(each) for each in buckets.labels]
    rows = [row for row, bound in enumerate(bounds) if bound is not None]
    if not rows:
        return empty(buckets.present.shape[1])
    groups = Groups.of([without(buckets.labels[row], ("le",)) for row in rows])
    shapes: dict[tuple[float, ...], list[int]] = {}
    ordered = []
    for number, members in enumerate(groups.members()):
        mine = sorted((bounds[rows[at]], rows[at]) for at in members)
        ordered.append([row for _, row in mine])
        shapes.setdefault(tuple(float(bound or 0.0) for bound, _ in mine), []).append(number)
    steps = buckets.present.shape[1]
    values = np.full((len(groups.keys), steps), np.nan)
    present = np.zeros((len(groups.keys), steps), bool)
    for shape, numbers in shapes.items():
        index = np.array([ordered[number] for number in numbers])
        there = buckets.present[index]  # [groups, bounds, S]
        present[numbers] = there.any(axis=1)
        values[numbers] = _cells(q, np.array(shape), buckets.values[index], there)
    return merged(Vector(nameless(groups.keys), values, present))


def _bound(labels: Labels) -> float | None:
    text = next((value for name, value in labels if name == "le"), "")
    try:
        return float(text)
    except ValueError:
        return None


def _cells(q: Floats, bounds: Floats, counts: Floats, present: Bools) -> Floats:
    """counts [G, B, S] → [G, S]: cells with the same buckets present go together."""
    groups, width, steps = counts.shape
    cells = np.moveaxis(counts, 1, 2).reshape(-1, width)
    there = np.moveaxis(present, 1, 2).reshape(-1, width)
    q_of = np.tile(q, groups)
    found = np.full(len(cells), np.nan)
    if there.all():
        return _quantiles(q_of, bounds, cells).reshape(groups, steps)
    patterns, which = np.unique(there, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        mine = which.reshape(-1) == number
        if pattern.any():
            found[mine] = _quantiles(q_of[mine], bounds[pattern], cells[mine][:, pattern])
    return found.reshape(groups, steps)


def _quantiles(q: Floats, bounds: Floats, cells: Floats) -> Floats:
    """q [K], ascending bounds [B], cumulative counts [K, B] → [K]."""
    bounds, counts = _coalesced(bounds, cells)
    if len(bounds) < 2 or bounds[-1] != np.inf:
        found = np.full(len(q), np.nan)
    else:
        found = _interpolated(q, bounds, counts)
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found))
    answer: Floats = np.where(np.isnan(q), np.nan, found)
    return answer


def _coalesced(bounds: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Buckets of one bound, spelled differently, are one. Counts then never fall: a scrape in
    the middle of an update makes them look as if they did."""
    distinct, starts = np.unique(bounds, return_index=True)
    counts = np.add.reduceat(cells, starts, axis=1) if len(distinct) < len(bounds) else cells
    rising = np.fmax.accumulate(counts, axis=1)
    return distinct, np.where(np.isnan(counts), np.nan, rising)


def _interpolated(q: Floats, bounds: Floats, counts: Floats) -> Floats:
    last = len(bounds) - 1
    total = counts[:, -1]
    rank = q * total
    reached = counts[:, :last] >= rank[:, None]
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    row = np.arange(len(q))
    before = np.maximum(at - 1, 0)
    low = np.where(at > 0, bounds[before], 0.0)
    below = np.where(at > 0, counts[row, before], 0.0)
    inside = np.minimum(at, last - 1)
    share = (rank - below) / (counts[row, inside] - below)
    found = low + (bounds[inside] - low) * share
    found = np.where((at == 0) & (bounds[0] <= 0), bounds[0], found)
    found = np.where(at == last, bounds[last - 1], found)
    answer: Floats = np.where(total == 0, np.nan, found)
    return answer
