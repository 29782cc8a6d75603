"""Channels → evidence → one score a row, block by block, each block judged by its past alone.

At the start of each block the tails are refitted on the errors of the last seven days, which
were out of sample when they were made, and once a day the forest is. A block is a quarter of
a day, shorter at the beginning, when every hour doubles what is known.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from detectors._channels import channels
from detectors._profile import DAY_S, Floats
from detectors._tail import evidence, fit_tail

FIRST_ROWS = 32
"""Rows that only teach; their spacing is taken for the series' step."""
LEAST = 24
"""Errors a tail needs."""
RECORD_S = 7 * DAY_S
REFIT_S = DAY_S / 4
CAP = 5.0
"""A week's record cannot vouch for less than one in 10^5: beyond, channels must agree."""
HEAVIEST = 0.8
"""Bound of the tail index: freer than on the tick, for series nobody chose."""
STEP_ROWS = 3
COLD_DISCOUNT = 0.9
SEED = 20_240_229


def score_series(times: Floats, values: Floats) -> Floats:
    """One column: mean evidence of its four channels and a forest over them, (T,)."""
    if len(times) <= FIRST_ROWS:
        return np.zeros(len(times))
    step = step_of(times)
    errors = channels(times, values, step)
    parts = np.column_stack(
        [_tails(times, values, np.abs(errors), step), _forest(times, errors, step)]
    )
    return _remembered(_agreed(parts, errors), np.isfinite(values))


def score_table(times: Floats, values: Floats) -> Floats:
    """Several columns: the worst eighth of them, and one forest over all, (T, C) → (T,).

    The forest sees how many columns are how strange, not the columns themselves: among dozens
    of features a split rarely meets the few that matter.
    """
    if values.shape[1] == 1:
        return score_series(times, values[:, 0])
    if len(times) <= FIRST_ROWS:
        return np.zeros(len(times))
    step = step_of(times)
    scores = []
    for column in values.T:
        errors = channels(times, column, step)
        scores.append(_agreed(_tails(times, column, np.abs(errors), step), errors))
    ordered = np.sort(np.column_stack(scores), axis=1)
    ordered[:FIRST_ROWS] = np.nan
    eighth = max(1, -(-values.shape[1] // 8))
    worst = _calibrated(times, ordered[:, -eighth:].mean(axis=1), step, floor=0.05)
    joint = _forest(times, _breadth(ordered), step)
    present = np.asarray(np.isfinite(values).any(axis=1))
    return _remembered(_mean(np.column_stack([worst, joint])), present)


def _breadth(ordered: Floats) -> Floats:
    """Means of the worst 1, 2, 4, … columns, (T, C) rising along C → (T, about log2 C)."""
    count = ordered.shape[1]
    tops = [2**k for k in range(count.bit_length()) if 2**k < count]
    return np.column_stack([ordered[:, -top:].mean(axis=1) for top in (*tops, count)])


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


def _tails(times: Floats, values: Floats, errors: Floats, step: float) -> Floats:
    """Evidence of each channel by its own record, (T, K) → (T, K); NaN while unknown."""
    out = np.full(errors.shape, np.nan)
    for first, start, end in blocks(times, step):
        seen = values[first:start]
        seen = seen[np.isfinite(seen)]
        if len(seen) < LEAST:
            continue
        record = errors[first:start].T
        floor = np.full(len(record), _floor(seen))
        tail = fit_tail(record, floor, heaviest=HEAVIEST)
        known = np.isfinite(record).sum(axis=1) >= LEAST
        found = np.where(
            np.isfinite(errors[start:end]), evidence(tail, errors[start:end].T).T, np.nan
        )
        out[start:end] = np.where(known, found, np.nan)
    capped: Floats = np.minimum(out, CAP)
    return capped


def _floor(seen: Floats) -> float:
    """Smallest error that can mean anything: a hundredth of the usual range, a thousandth of
    the value. Without it a constant series shouts at its last digit."""
    low, middle, high = np.quantile(seen, (0.05, 0.5, 0.95))
    return float(max(0.01 * (high - low), 1e-3 * abs(middle), 1e-9))


def _calibrated(times: Floats, score: Floats, step: float, floor: float) -> Floats:
    """Evidence of one score by its own record, (T,) → (T,)."""
    out = np.full(len(score), np.nan)
    for first, start, end in blocks(times, step):
        record = score[None, first:start]
        if np.isfinite(record).sum() >= 2 * LEAST:
            tail = fit_tail(record, np.asarray([floor]), heaviest=0.1)
            out[start:end] = evidence(tail, score[None, start:end])[0]
    capped: Floats = np.minimum(out, CAP)
    return capped


def _forest(times: Floats, errors: Floats, step: float) -> Floats:
    """Evidence of an isolation forest over the errors, refitted daily on the last week, (T,)."""
    raw = np.full(len(times), np.nan)
    forest: IsolationForest | None = None
    scale, due = np.ones(errors.shape[1]), -np.inf
    for first, start, end in blocks(times, step):
        if start - first < 2 * LEAST:
            continue
        if times[start] >= due:
            scale = _scale(errors[first:start])
            rows = _features(errors[first:start], scale)
            forest = IsolationForest(max_samples=min(256, len(rows)), random_state=SEED).fit(rows)
            due = times[start - 1] + DAY_S
        if forest is not None:
            raw[start:end] = -forest.score_samples(_features(errors[start:end], scale))
    return _calibrated(times, raw, step, floor=0.01)


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


def _mean(parts: Floats) -> Floats:
    """Mean over what is known, (T, K) → (T,); 0 where nothing is."""
    known = np.isfinite(parts)
    total = np.where(known, parts, 0.0).sum(axis=1)
    mean: Floats = total / np.maximum(known.sum(axis=1), 1)
    return mean


def _agreed(parts: Floats, errors: Floats) -> Floats:
    """What the channels say together, (T, K) → (T,): their mean.

    A step is remembered for three rows, so that it can agree with what follows from it. While
    there is no season yet, the best three channels stand in for all, at a discount.
    """
    held = parts.copy()
    held[:, 2] = pd.Series(parts[:, 2]).rolling(STEP_ROWS, min_periods=1).max().to_numpy()
    best = np.sort(np.nan_to_num(held), axis=1)[:, -3:].mean(axis=1)
    agreed: Floats = np.where(np.isfinite(errors[:, 0]), _mean(held), COLD_DISCOUNT * best)
    return agreed


def _remembered(score: Floats, present: NDArray[np.bool_]) -> Floats:
    """With a short memory: a second strange sample weighs more than a first. Missing rows: 0."""
    mean = np.where(present, score, 0.0)
    memory = pd.Series(mean).ewm(alpha=0.5).mean().to_numpy()
    remembered: Floats = np.where(present, 0.5 * (mean + memory), 0.0)
    return remembered
