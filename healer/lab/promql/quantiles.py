"""Prometheus' quantile of a set of values: linear between ranks, NaN below every number."""

from __future__ import annotations

import numpy as np

from healer.lab.promql.values import Bools, Floats


def quantile(q: Floats, values: Floats, present: Bools | None = None) -> Floats:
    """Along the last axis: q of shape [...], values [..., n] → [...].

    Cells that are not present do not count; where none is, the answer means nothing.
    """
    there = np.ones(values.shape, bool) if present is None else present
    nans = (np.isnan(values) & there).sum(axis=-1)
    count = there.sum(axis=-1)
    # Sorting puts NaN last; the virtual order has the `nans` first.
    ordered = np.sort(np.where(there, values, np.nan), axis=-1)
    rank = np.clip(np.nan_to_num(q), 0.0, 1.0) * (count - 1)
    lower = np.maximum(np.floor(rank), 0).astype(np.int64)
    upper = np.maximum(np.minimum(count - 1, lower + 1), 0)
    weight = rank - np.floor(rank)
    found = _at(ordered, lower - nans) * (1 - weight) + _at(ordered, upper - nans) * weight
    found = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, found))
    answer: Floats = np.where(np.isnan(q), np.nan, found)
    return answer


def _at(ordered: Floats, index: np.typing.NDArray[np.int64]) -> Floats:
    cells = np.take_along_axis(ordered, np.maximum(index, 0)[..., None], axis=-1)[..., 0]
    found: Floats = np.where(index < 0, np.nan, cells)
    return found
