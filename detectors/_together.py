"""What the other columns of a table leave unexplained of each: the joint view of many signals.

A burst of traffic moves every column, each far from its own past, and is no fault; a column that
moves while those that used to move with it stand still is one. Ridge regression of each column
on all others over the record, all at once from the inverse of their covariance.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from detectors._profile import Floats

LEAST_ROWS, ROWS_PER_COLUMN = 48, 3
RIDGE = 0.1
"""Of a column's variance: copies of one another share the burden of telling."""
TAUGHT, JUDGED = 6.0, 50.0
"""Deviations at which a value is cut while learning, so that faults in the record bend little,
and while judging."""


def unexplained(off: Floats, blocks: Sequence[tuple[int, int, int]]) -> Floats:
    """(T, C) → (T, C): each deviation less what those of the others say it should be, in its own
    unit; NaN where there is none or the record is too short.

    off: how far each value is from what its own past foretells. blocks: first row of the record,
    first row and end of what is judged by it. A missing value tells nothing of the others.
    """
    rows, columns = off.shape
    out = np.full((rows, columns), np.nan)
    for first, start, end in blocks:
        if start - first < max(LEAST_ROWS, ROWS_PER_COLUMN * columns):
            continue
        record, new = off[first:start], off[start:end]
        middle, spread = _usual(record)
        taught = np.clip(np.nan_to_num((record - middle) / spread), -TAUGHT, TAUGHT)
        covariance = taught.T @ taught / len(taught)
        precision = np.linalg.inv(covariance + RIDGE * np.eye(columns))
        others = precision / np.diag(precision)
        np.fill_diagonal(others, 0.0)
        seen = np.clip(np.nan_to_num((new - middle) / spread), -JUDGED, JUDGED)
        # einsum, not @: the rounding of a product depends on the number of rows.
        told = np.einsum("ij,jk->ik", seen, others)
        out[start:end] = new - middle + told * spread
    return out


def _usual(record: Floats) -> tuple[Floats, Floats]:
    """Median and spread of each column, with a floor for those that hardly move."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any sample yet
        middle = np.nan_to_num(np.nanmedian(record, axis=0))
        away = np.abs(record - middle)
        size = 1.4826 * np.nan_to_num(np.nanmedian(away, axis=0))
        most = np.nan_to_num(np.nanquantile(away, 0.99, axis=0))
    spread: Floats = np.maximum.reduce([size, 0.05 * most, np.full(len(size), 1e-9)])
    return middle, spread
