"""Seven ways a sample can be wrong, each from earlier samples alone.

    season    unlike this time of day on the last seven days, at today's level
    short     unlike the last hour
    step      unlike the sample before
    lasting   wrong on average over the last hour; while there is no season yet, over 15 minutes
              and beyond the slow movement of the hours before
    week      unlike the median of the last week, whatever the hour
    restless  the last hour is calmer or wilder than an hour usually is (in powers of e)
    shape     the last half hour is far from every half hour before it

Where the seasonal residual is calmer than the raw series, `short` and `step` are taken from
it, so the morning's rise is no anomaly. What two earlier days brought at about this time is
expected, however sharp: jobs run by the clock, and their spikes wander by minutes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from detectors._discord import nearest_before
from detectors._profile import DAY_S, DAYS_BACK, Floats, quiet_median

NAMES = ("season", "short", "step", "lasting", "week", "restless", "shape")
SEASON, STEP, WEEK, RESTLESS = 0, 2, 4, 5
HOUR_S = 3_600.0
FIRST_ROWS = 32
"""Rows that only teach; their spacing is taken for the series' step."""
COLD_S = 900.0
JOB_S = 1_800.0
"""How far the start of a daily job may wander."""
SPIKE = 7.0
"""Only what is that many times the usual deviation is a job; the rest is noise."""


def channels(times: Floats, values: Floats, step_s: float) -> Floats:
    """Errors, signed but for `shape`, (T,) → (T, 7), NaN where the past says nothing."""
    reference, last_week = _same_time(times, values, step_s)
    residual = values - reference
    hour = max(12, round(HOUR_S / step_s))
    short, step = _recent(values, hour)
    calm_short, calm_step = _recent(residual, hour)
    short = np.where(_usual(calm_short, step_s) < _usual(short, step_s), calm_short, short)
    step = np.where(_usual(calm_step, step_s) < _usual(step, step_s), calm_step, step)
    level_rows = max(6, round(6 * HOUR_S / step_s))
    level = _past_median(residual, level_rows, max(3, level_rows // 4))
    season = residual - level
    # A value that last week had at this very time is excused to that distance.
    nearest = _smallest(np.abs(values[:, None] - last_week))
    season = np.sign(season) * np.fmin(np.abs(season), nearest)
    job = _jobs(times, short, step_s)
    season, short = _less(season, job), _less(short, job)
    step = _less(step, np.maximum(job, np.r_[0.0, job[:-1]]))
    either = np.where(np.isfinite(season), season, short)
    lasting = np.where(
        np.isfinite(season),
        _mean_of(either, HOUR_S / step_s),
        _mean_of(short - _drift(values, hour), COLD_S / step_s),
    )
    day = max(24, round(DAY_S / step_s))
    week = values - _past_median(values, 7 * day, 24)
    shape = nearest_before(values, hour // 2)
    restless = _restlessness(values, hour, day)
    return np.column_stack([season, short, step, lasting, week, restless, shape])


def _restlessness(values: Floats, hour: int, day: int) -> Floats:
    """Log of the hour's standard deviation, against its median over the day before.

    A tenth of the day's own deviation is added: a series that is mostly still may stir.
    """
    series = pd.Series(values)
    rolled = series.rolling(hour, min_periods=max(2, hour // 3)).std().to_numpy()
    usual = series.shift(1).rolling(day, min_periods=24).std().to_numpy()
    size = np.log(rolled + 0.1 * usual + 1e-12)
    return np.asarray(size - _past_median(size, day, 24), dtype=np.float64)


def _mean_of(errors: Floats, rows: float) -> Floats:
    """Mean of the last `rows`, at least three."""
    length = max(3, round(rows))
    rolled = pd.Series(errors).rolling(length, min_periods=max(2, length // 3)).mean()
    return np.asarray(rolled, dtype=np.float64)


def _same_time(times: Floats, values: Floats, step_s: float) -> tuple[Floats, Floats]:
    """Median of this time ± one row on the seven days before, (T,), and last week's three."""
    found = []
    for day in range(1, DAYS_BACK + 1):
        wanted = times - day * DAY_S
        at = np.searchsorted(times, wanted + 0.5 * step_s, side="right") - 1
        for beside in (-1, 0, 1):
            row = np.clip(at + beside, 0, len(times) - 1)
            near = (at + beside >= 0) & (np.abs(times[row] - wanted) <= 1.5 * step_s + 1.0)
            found.append(np.where(near, values[row], np.nan))
    table = np.column_stack(found)
    return quiet_median(table), table[:, -3:]


def _past_median(values: Floats, rows: int, least: int) -> Floats:
    """Median of the `rows` before each row, itself not among them."""
    rolled = pd.Series(values).shift(1).rolling(rows, min_periods=least).median()
    return np.asarray(rolled, dtype=np.float64)


def _recent(values: Floats, rows: int) -> tuple[Floats, Floats]:
    """Against the median of the last `rows`, and against the last sample there was."""
    before = pd.Series(values).ffill().shift(1).to_numpy()
    return values - _past_median(values, rows, 3), values - before


def _drift(values: Floats, hour: int) -> Floats:
    """How far the last hour's median lags behind slow movement: half of what it moved in the
    hour before. A first morning that nothing foretells is no anomaly."""
    middle = pd.Series(_past_median(values, hour, 3))
    return np.asarray(0.5 * (middle - middle.shift(hour)).fillna(0.0), dtype=np.float64)


def _usual(errors: Floats, step_s: float) -> Floats:
    """Their usual size over the three days before."""
    rows = round(max(48.0, 3 * DAY_S / step_s))
    return _past_median(np.abs(errors), rows, round(max(24.0, 0.5 * DAY_S / step_s)))


def _jobs(times: Floats, short: Floats, step_s: float) -> Floats:
    """How much of `short` is a spike that came at about this time on earlier days, (T,) ≥ 0.

    Of seven days the third largest counts, of fewer the second: one earlier spike is no job.
    The window is trailing and looked up half its length late, so it never reaches today.
    """
    half = int(JOB_S / step_s)
    out = np.zeros(len(times))
    noise = _past_median(np.abs(short), round(max(48.0, DAY_S / step_s)), 24)
    for sign in (1.0, -1.0):
        one_side = np.maximum(np.nan_to_num(sign * short), 0.0)
        peak = pd.Series(one_side).rolling(2 * half + 1, min_periods=1).max().to_numpy()
        days = []
        for day in range(1, DAYS_BACK + 1):
            wanted = times - day * DAY_S + (half + 0.5) * step_s
            at = np.searchsorted(times, wanted, side="right") - 1
            days.append(np.where(at >= 0, peak[np.maximum(at, 0)], np.nan))
        table = np.sort(np.where(np.isfinite(days), days, -1.0), axis=0)[::-1]
        known = (table >= 0).sum(axis=0)
        cover = np.where(known >= 5, table[2], np.where(known >= 2, table[1], 0.0))
        cover = np.where(cover >= SPIKE * np.nan_to_num(noise, nan=np.inf), 1.1 * cover, 0.0)
        size = np.nan_to_num(sign * short)
        out = np.where(size > 0, np.minimum(size, cover), out)
    return out


def _less(errors: Floats, by: Floats) -> Floats:
    rest: Floats = np.sign(errors) * np.maximum(np.abs(errors) - by, 0.0)
    return rest


def _smallest(table: Floats) -> Floats:
    """Smallest of each row; infinite where there is none, so that it excuses nothing."""
    smallest: Floats = np.where(np.isfinite(table), table, np.inf).min(axis=1)
    return smallest
