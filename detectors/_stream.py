"""Channels → evidence → one score a row, block by block, each block judged by its past alone.

At the start of each block the tails are refitted on the errors of the last seven days, which
were out of sample when they were made, and twice a week the forest is. A block is a quarter of
a day, shorter at the beginning, when every hour doubles what is known.

An alarm teaches once: only its first rows enter the record. Three hours of one fault are not
thirty-six surprises; counted as such they hide what follows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from detectors._channels import FIRST_ROWS, RESTLESS, SEASON, STEP, WEEK, channels
from detectors._profile import DAY_S, Floats
from detectors._stuck import stuck
from detectors._tail import evidence, fit_tail
from detectors._together import unexplained

LEAST = 24
"""Errors a tail needs."""
RECORD_S = 7 * DAY_S
REFIT_S = DAY_S / 4
Told = Callable[[float], None]
BEYOND = 5.0
"""A record of n errors vouches for one in 5 n and no less: beyond, channels must agree. What
200 rows have not seen is no surprise yet, and a young series stays quiet by itself."""
HEAVIEST = 0.8
"""Bound of the tail index: freer than on the tick, for series nobody chose."""
MEMORY_ROWS = 3
LOUD = 2.0
"""Mean evidence of the channels from which a row belongs to an alarm."""
ALARM_ROWS = 3
"""Rows of one alarm that enter the record: as many as the memory spans, so that a blip is kept
whole. Where alarms make up more than half of a record, all of it counts: that is no fault."""
FROZEN = 2.2
"""Score of a value that repeats as long as is strange, reached in proportion: found by itself,
for each channel takes it for ordinary. Level page; never act, for idle may look the same."""
FROZEN_MOST = 2.4
TABLE_S = 2 * DAY_S
SEED = 20_240_229


def score_series(times: Floats, values: Floats, told: Told) -> Floats:
    """One column: mean evidence of its seven channels and a forest over them, (T,).

    told: is called with the share that is done.
    """
    if len(times) <= FIRST_ROWS:
        return np.zeros(len(times))
    step = step_of(times)
    errors = channels(times, values, step)
    told(0.5)
    parts, counts = _tails(times, values, np.abs(errors), step)
    told(0.7)
    joint = _forest(times, errors, step, counts)
    score = _remembered(_agreed(np.column_stack([parts, joint])), np.isfinite(values))
    return np.maximum(score, _frozen(stuck(values, step)))


def score_table(times: Floats, values: Floats, told: Told) -> Floats:
    """Several columns: how strange the worst eighth of them is, (T, C) → (T,).

    A column is as strange as it is both to its own past and to what the others say of it: what
    all columns do together (a burst, the morning, a batch) is then no surprise. With two days of
    record the worst eighth is also measured against its own record, and both count half.
    """
    if values.shape[1] == 1:
        return score_series(times, values[:, 0], told)
    if len(times) <= FIRST_ROWS:
        return np.zeros(len(times))
    step = step_of(times)
    errors = []
    for done, column in enumerate(values.T):
        told(0.8 * done / values.shape[1])
        errors.append(channels(times, column, step).astype(np.float32))
    off = [np.where(np.isfinite(e[:, SEASON]), e[:, SEASON], e[:, WEEK]) for e in errors]
    rest = unexplained(np.column_stack(off).astype(np.float64), blocks(times, step))
    scores = []
    for done, column in enumerate(values.T):
        told(0.8 + 0.2 * done / values.shape[1])
        size = np.abs(np.column_stack([errors[done], rest[:, done]]))
        parts, _ = _tails(times, column, size, step, once=False)
        own, joint = _agreed(parts[:, :-1]), parts[:, -1]
        scores.append(np.where(np.isfinite(joint), np.minimum(own, joint), own))
    ordered = np.sort(np.column_stack(scores), axis=1)[:, ::-1]
    share = _eighth(values.shape[1])
    present = np.asarray(np.isfinite(values).any(axis=1))
    worst = (ordered[:, : len(share)] * share).sum(axis=1)
    least = max(10 * LEAST, round(TABLE_S / step))
    unusual = _calibrated(times, worst, step, floor=0.05, least=least)
    score = np.where(np.isfinite(unusual), 0.5 * (worst + unusual), worst)
    score = _remembered(score, present)
    still = np.sort(np.column_stack([stuck(column, step) for column in values.T]), axis=1)
    return np.maximum(score, _frozen(still[:, -len(share)]))


def _eighth(columns: int) -> Floats:
    """Weights of the worst columns: exactly an eighth of them, the last by a part; one at least."""
    number = max(1.0, columns / 8.0)
    weights = np.ones(int(np.ceil(number)))
    weights[-1] -= len(weights) - number
    return weights / number


def _frozen(run: Floats) -> Floats:
    """Score of a run of equal samples, given as a share of what is strange; short ones: 0."""
    score: Floats = np.where(run >= 0.5, np.minimum(FROZEN * run, FROZEN_MOST), 0.0)
    return score


def step_of(times: Floats) -> float:
    """Typical spacing of the first rows, seconds. Later rows do not change it: row t may not
    depend on them."""
    gaps = np.diff(times[:FIRST_ROWS])
    gaps = gaps[gaps > 0]
    return float(np.median(gaps)) if len(gaps) else 60.0


def blocks(times: Floats, step: float) -> list[tuple[int, int, int]]:
    """(start of the record, start of the block, its end), in rows."""
    longest = max(round(REFIT_S / step), LEAST)
    out, start = [], FIRST_ROWS
    while start < len(times):
        end = min(start + min(longest, max(16, start // 2)), len(times))
        first = int(np.searchsorted(times, times[start - 1] - RECORD_S))
        out.append((first, start, end))
        start += min(longest, max(16, start // 2))
    return out


def _tails(
    times: Floats, values: Floats, errors: Floats, step: float, *, once: bool = True
) -> tuple[Floats, NDArray[np.bool_]]:
    """Evidence of each channel by its own record, (T, K) → (T, K), NaN while unknown; and the
    rows that later records count, (T,).

    once: an alarm teaches once. Not for tables, whose columns judge one another.
    """
    out = np.full(errors.shape, np.nan)
    counts, lasted = np.ones(len(times), dtype=bool), 0
    for first, start, end in blocks(times, step):
        seen = values[first:start]
        seen = seen[np.isfinite(seen)]
        if len(seen) < LEAST:
            continue
        record = _counted(errors[first:start], counts[first:start]).T
        floor = np.full(len(record), _floor(seen))
        floor[RESTLESS] = 0.05  # a logarithm, whatever the unit of the values
        tail = fit_tail(record, floor, heaviest=HEAVIEST)
        known = np.isfinite(record).sum(axis=1) >= LEAST
        found = np.where(
            np.isfinite(errors[start:end]), evidence(tail, errors[start:end].T).T, np.nan
        )
        out[start:end] = np.where(known, np.minimum(found, _vouched(start - first, step)), np.nan)
        if not once:
            continue
        run = _run_of(np.nan_to_num(out[start:end]).mean(axis=1) >= LOUD, lasted)
        counts[start:end], lasted = run <= ALARM_ROWS, int(run[-1])
    return out, counts


def _counted(record: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Rows of a record that count, (R, K) or (R,); the others become NaN."""
    if counts.mean() < 0.5:
        return record
    kept: Floats = np.where(counts if record.ndim == 1 else counts[:, None], record, np.nan)
    return kept


def _run_of(loud: NDArray[np.bool_], before: int) -> NDArray[np.intp]:
    """How many rows in a row are loud so far, (T,); `before` of them precede the first."""
    at = np.arange(len(loud))
    return at - np.maximum.accumulate(np.where(loud, -1 - before, at))


def _vouched(rows: int, step: float) -> float:
    """Most evidence that a record of so many rows can give; samples within a minute resemble
    each other and count as one."""
    return float(np.log10(BEYOND * max(1.0, rows * min(1.0, step / 60.0))))


def _floor(seen: Floats) -> float:
    """Smallest error that can mean anything: a hundredth of the usual range, a thousandth of
    the value. Without it a constant series shouts at its last digit."""
    low, middle, high = np.quantile(seen, (0.05, 0.5, 0.95))
    return float(max(0.01 * (high - low), 1e-3 * abs(middle), 1e-9))


def _calibrated(
    times: Floats,
    score: Floats,
    step: float,
    floor: float,
    least: int,
    counts: NDArray[np.bool_] | None = None,
) -> Floats:
    """Evidence of one score by its own record of at least so many rows, (T,) → (T,)."""
    out = np.full(len(score), np.nan)
    counts = np.ones(len(score), dtype=bool) if counts is None else counts
    for first, start, end in blocks(times, step):
        record = _counted(score[first:start], counts[first:start])[None]
        if np.isfinite(record).sum() >= least:
            tail = fit_tail(record, np.asarray([floor]), heaviest=0.1)
            found = evidence(tail, score[None, start:end])[0]
            out[start:end] = np.minimum(found, _vouched(start - first, step))
    return out


def _forest(times: Floats, errors: Floats, step: float, counts: NDArray[np.bool_]) -> Floats:
    """Evidence of an isolation forest over those errors of the last week that count, (T,).

    Refitted when its record has grown by half, and at least twice a week.
    """
    raw = np.full(len(times), np.nan)
    fits: list[tuple[int, int]] = []
    due = -np.inf
    for first, start, _ in blocks(times, step):
        if start - first >= 2 * LEAST and times[start - 1] >= due:
            fits.append((first, start))
            due = times[start - 1] + 0.5 * (times[start - 1] - times[first])
    starts = [start for _, start in fits]
    for (first, start), end in zip(fits, [*starts[1:], len(times)], strict=bool(fits)):
        record = errors[first:start]
        chosen = counts[first:start]
        record = record[chosen] if chosen.mean() >= 0.5 else record
        scale = _scale(record)
        rows = _features(record, scale)
        forest = IsolationForest(max_samples=min(256, len(rows)), random_state=SEED).fit(rows)
        raw[start:end] = -forest.score_samples(_features(errors[start:end], scale))
    return _calibrated(times, raw, step, 0.01, 2 * LEAST, counts)


def _scale(errors: Floats) -> Floats:
    """Usual size of each error, with a floor far below its largest."""
    size = np.abs(np.where(np.isfinite(errors), errors, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a channel without any sample yet
        middle, most = np.nanmedian(size, axis=0), np.nanquantile(size, 0.99, axis=0)
    least = np.maximum(0.05 * np.nan_to_num(most), 1e-9)
    scale: Floats = np.maximum(1.4826 * np.nan_to_num(middle), least)
    return scale


def _features(errors: Floats, scale: Floats) -> NDArray[np.float32]:
    return np.clip(np.nan_to_num(errors / scale), -50.0, 50.0).astype(np.float32)


def _agreed(parts: Floats) -> Floats:
    """What the channels say together, (T, K) → (T,): their mean. One that knows too little to
    speak is silent, so a young series needs louder agreement of the others.

    A step is remembered for three rows, so that it can agree with what follows from it.
    """
    held = parts.copy()
    held[:, STEP] = _rolled(parts[:, STEP]).max().to_numpy()
    mean: Floats = np.nan_to_num(held).mean(axis=1)
    return mean


def _remembered(score: Floats, present: NDArray[np.bool_]) -> Floats:
    """Half itself, half the mean of three rows: what stays weighs more than a blip.

    Missing rows: 0.
    """
    now = np.where(present, score, 0.0)
    remembered: Floats = np.where(present, 0.5 * (now + _rolled(now).mean().to_numpy()), 0.0)
    return remembered


def _rolled(score: Floats) -> Any:
    return pd.Series(score).rolling(MEMORY_ROWS, min_periods=1)
