"""The newest samples of a frame, as far apart as those that a record was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors._common import fresh_s
from detectors._learned import LATELY_S
from detectors._profile import Floats
from healer.model.frame import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What is judged, at the spacing of the record. times: (K,), from one hold ago until now;
    now: (N, K), the newest sample of the minute that ends then; lately: (N, K), means over the
    15 minutes before."""

    times: Floats
    now: Floats
    lately: Floats


def grid_of(frame: Frame, hold_s: float, spacing_s: float) -> Grid:
    """Samples as far apart as those of the record were: a mean over more of them would be
    calmer than the record knows, and a false alarm rarer than its budget.

    The newest may be as old as a missed scrape; elsewhere a minute without a sample is NaN.
    """
    step, count = max(frame.step_s, 1.0), frame.values.shape[1]
    apart = max(1, round(max(spacing_s, 60.0, step) / step))
    number = max(1, round(LATELY_S / (apart * step)))
    hold = max(0, min(round(hold_s / step), count - 1))
    lags = np.unique(np.r_[np.arange(0, hold, min(apart, max(hold, 1))), hold])[::-1]
    width = max(1, round(60.0 / step))
    wanted = np.unique(lags[:, None] + apart * np.arange(number)[None, :])
    wanted = wanted[wanted < count]
    fresh = max(width, round(fresh_s(frame) / step))
    seen = {
        int(lag): _newest(frame.values, count - int(lag), width if lag else fresh) for lag in wanted
    }
    lately = np.column_stack(
        [_mean([seen[k] for k in lag + apart * np.arange(number) if k in seen]) for lag in lags]
    )
    now = np.column_stack([seen[int(lag)] for lag in lags])
    return Grid(frame.times[count - 1 - lags], now, lately)


def _newest(values: NDArray[np.float32], end: int, width: int) -> Floats:
    """The newest finite one of the `width` columns before `end`, (N,)."""
    newest = values[:, end - 1].astype(np.float64)
    for column in range(end - 2, max(end - width, 0) - 1, -1):
        missing = ~np.isfinite(newest)
        if not missing.any():
            break
        newest = np.where(missing, values[:, column], newest)
    return np.where(np.isfinite(newest), newest, np.nan)


def _mean(columns: list[Floats]) -> Floats:
    table = np.stack(columns)
    known = np.isfinite(table)
    total = np.where(known, table, 0.0).sum(axis=0)
    number = known.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
