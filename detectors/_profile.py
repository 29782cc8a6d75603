"""A robust seasonal profile of every row at once, and its honest out-of-sample errors.

What counts is not how well a profile fits the past it was made from (STL's own residual is far
too small to threshold) but how far the next day was off. So each day of the history is foretold
from the days before it alone, exactly as the tick will do, and those errors are the scale.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.seasonal import STL

Floats = NDArray[np.float64]

DAY_S = 86_400.0
DAYS_BACK = 7
"""Days that a day is foretold from: one of each weekday."""
LEVEL_S = DAY_S
"""Level: median over this long, so that what lasts less than half of it is not adopted."""
REFIT_S = 21_600.0


def quiet_median(values: NDArray[np.floating], axis: int = -1) -> Floats:
    """Median without the NaN; NaN, unwarned, where nothing is. Sorting beats nanmedian here."""
    ordered = np.sort(values, axis=axis)
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    low = np.maximum((count - 1) // 2, 0)
    high = np.minimum(count // 2, values.shape[axis] - 1)
    both = np.take_along_axis(ordered, low, axis) + np.take_along_axis(ordered, high, axis)
    middle: Floats = np.where(count > 0, both / 2.0, np.nan).squeeze(axis)
    return middle


def by_day(values: Floats, slots: int) -> Floats:
    """(N, T) → (N, days, slots), whole days that end with the newest sample."""
    days = values.shape[1] // slots
    return values[:, values.shape[1] - days * slots :].reshape(len(values), days, slots)


def foretold(days: Floats) -> Floats:
    """Each day from the days before: median of up to 7 at the same time ± one slot.

    days: (N, D, S). The first day is NaN: nothing was before it.
    """
    beside = np.stack([np.roll(days, shift, axis=2) for shift in (-1, 0, 1)], axis=3)
    out = np.full(days.shape, np.nan)
    for d in range(1, days.shape[1]):
        past = beside[:, max(0, d - DAYS_BACK) : d]
        out[:, d] = quiet_median(past.transpose(0, 2, 1, 3).reshape(*days[:, d].shape, -1))
    return out


def trailing_level(residual: Floats, step_s: float) -> Floats:
    """Median of the day before each refit, held until the next one; (N, T) → (N, T)."""
    length, hold = max(1, round(LEVEL_S / step_s)), max(1, round(REFIT_S / step_s))
    out = np.full(residual.shape, np.nan)
    for start in range(0, residual.shape[1], hold):
        past = residual[:, max(0, start - length) : start]
        if past.shape[1] >= hold:
            out[:, start : start + hold] = quiet_median(past)[:, None]
    return out


def smooth_profile(days: Floats, strong: NDArray[np.bool_]) -> Floats:
    """Profile of the day to come, (N, D, S) → (N, S); STL where the season is strong.

    STL with jumps gives the same seasonal component 20 to 100 times faster. It is not robust,
    so it sees days whose outliers were put back to the median profile first.
    """
    recent = days[:, -DAYS_BACK:]
    middle = quiet_median(recent.transpose(0, 2, 1))
    slots = days.shape[2]
    out = np.nan_to_num(middle)
    if recent.shape[1] < 3:
        return out
    off = recent - middle[:, None, :]
    level = quiet_median(off.reshape(len(off), -1))
    spread = 1.4826 * quiet_median(np.abs(off.reshape(len(off), -1) - level[:, None]))
    wild = ~(np.abs(off - level[:, None, None]) <= 4.0 * spread[:, None, None] + 1e-12)
    clean = np.where(wild, middle[:, None, :] + level[:, None, None], recent)
    jump = max(1, slots // 10)
    for i in np.flatnonzero(strong):
        series = np.nan_to_num(clean[i].reshape(-1), nan=float(np.nanmean(clean[i])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = STL(series, period=slots, trend_jump=jump, low_pass_jump=jump).fit()
        season = np.asarray(found.seasonal).reshape(-1, slots).mean(axis=0)
        base = float(np.median(np.asarray(found.trend)))
        if np.isfinite(season).all():
            out[i] = season + base
    return out
