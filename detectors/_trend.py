"""Straight lines through rows, and how sure they are: Theil and Sen's, for a whole fleet at once.

The slope is the median over all pairs of bins, so a third of the samples may be wrong without
moving it. Its interval comes from the same pairs, by Kendall's variance, and wider than usual,
because the samples of one series resemble their neighbours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detectors._profile import quiet_median

Floats = NDArray[np.float64]

BINS = 24
_SURE = 3.0
"""Standard deviations of Kendall's rank statistic on either side of the slope."""
_FEWEST = 18
"""Bins of the 24 that must hold samples."""
_STEADY = 0.25
"""Each half must rise at least at this share of the whole: a step or a saw tooth does not."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Lines as they stand at `at_s`, shape (N,) each; NaN where a row has too few samples.

    slope, low, high: units a second. level: the line at `at_s`. start: the line at `from_s`.
    spread: usual distance of the bins from the line. steady: both halves go the same way.
    """

    from_s: float
    at_s: float
    slope: Floats
    low: Floats
    high: Floats
    level: Floats
    start: Floats
    spread: Floats
    steady: NDArray[np.bool_]


def trend(times: Floats, values: NDArray[np.floating]) -> Trend:
    """times: (T,), seconds, even. values: (N, T), NaN where missing."""
    count = min(BINS, len(times))
    edges = np.linspace(0, len(times), count + 1).round().astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        binned = np.stack(
            [quiet_median(values[:, a:b]) for a, b in pairwise(edges)],
            axis=1,
        ).astype(np.float64)
        middle = np.array([times[a:b].mean() for a, b in pairwise(edges)])
        first, second = np.triu_indices(count, 1)
        slopes = (binned[:, second] - binned[:, first]) / (middle[second] - middle[first])
        wide = _SURE * np.sqrt(count * (count - 1) * (2 * count + 5) / 18) / len(first) / 2
        low, slope, high = _quantiles(slopes, (max(0.0, 0.5 - wide), 0.5, min(1.0, 0.5 + wide)))
        half = count // 2
        (early,) = _quantiles(slopes[:, second < half], (0.5,))
        (late,) = _quantiles(slopes[:, first >= half], (0.5,))
        at_s, from_s = float(times[-1]), float(times[0])
        level = quiet_median(binned + slope[:, None] * (at_s - middle))
        line = level[:, None] - slope[:, None] * (at_s - middle)
        spread = 1.4826 * quiet_median(np.abs(binned - line))
    few = np.isfinite(binned).sum(axis=1) < min(_FEWEST, count)
    way = np.sign(slope)
    steady = ~few & (way != 0)
    steady &= (way * early >= _STEADY * way * slope) & (way * late >= _STEADY * way * slope)
    for each in (slope, low, high, level, spread):
        each[few] = np.nan
    return Trend(
        from_s, at_s, slope, low, high, level, level - slope * (at_s - from_s), spread, steady
    )


def _quantiles(values: Floats, shares: tuple[float, ...]) -> list[Floats]:
    """By nearest rank of what is finite in each row; numpy's own goes row by row in Python."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    return [
        np.where(count, ordered[rows, np.maximum(0, np.rint(q * (count - 1))).astype(int)], np.nan)
        for q in shares
    ]
