"""What `seasonal` learns: profile, level, week and tails of each row, as plain arrays.

Rows are found again by name. Pods come and go with every rollout, so the members of one
workload also leave a row of their own under the stem of their names: a newborn pod starts
with what its elder siblings know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors._profile import (
    DAY_S,
    Floats,
    by_day,
    foretold,
    quiet_median,
    smooth_profile,
    trailing_level,
)
from detectors._tail import Tail, evidence, fit_tail
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.target import Kind, Target

_POD_SUFFIX = re.compile(r"(-[a-z0-9]{8,10})?-[a-z0-9]{5}$|-\d+$")
LATELY_S = 900.0
"""Span of the second channel: the mean error over this long. Blips do not move it."""
BLOCK_S = 3600.0
"""One chance for a false alarm: what is strange twice within an hour is one alarm."""
WORTH = 0.9
"""A season is kept when it makes the typical error at least a tenth smaller, out of sample."""
SLOT_S = 300.0
"""Slots of the profile are about as long: finer ones are noise."""
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Learned:
    """The tails of chosen rows."""

    now: Tail
    lately: Tail
    worst: Tail
    days: NDArray[np.float32]
    """Days of history behind the row."""


def stem(target: Target) -> str:
    """The name that siblings share: pods without the hashes of ReplicaSet and pod."""
    if target.kind is not Kind.POD:
        return f"{target.kind}:*"
    return f"{target.kind}:{target.namespace}/{_POD_SUFFIX.sub('', target.name)}~"


def row_keys(frame: Frame) -> list[str]:
    """One name a row: the target, and the kept labels where several rows share it."""
    keep = frame.signal.keep
    if not keep or not frame.labels:
        return [str(target) for target in frame.targets]
    return [
        "|".join([str(target), *(f"{k}={labels.get(k, '')}" for k in keep)])
        for target, labels in zip(frame.targets, frame.labels, strict=True)
    ]


def signed(errors: Floats, worse: Worse) -> Floats:
    """Errors turned so that larger is worse."""
    if worse is Worse.BOTH:
        return np.abs(errors)
    return errors if worse is Worse.UP else -errors


def learn(frame: Frame, hold_s: float) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and meta of a baseline, row by row and pooled by stem."""
    step = frame.step_s
    slots = max(1, round(DAY_S / step))
    wide = max(1, round(SLOT_S / step))
    wide = wide if slots % wide == 0 else 1
    keys = row_keys(frame)
    parts = [
        _learn(frame.values[i : i + _CHUNK].astype(np.float64), slots, wide, hold_s, frame)
        for i in range(0, len(frame), _CHUNK)
    ]
    arrays = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    stems: dict[str, list[int]] = {}
    for i, target in enumerate(frame.targets):
        if arrays["days"][i] > 0:
            stems.setdefault(stem(target), []).append(i)
    for name, rows in sorted(stems.items()):
        keys.append(name)
        for kind, array in arrays.items():
            # Among siblings the tail of a restless one: a newborn's ways are not known yet.
            share = 0.5 if kind in ("profile", "week", "days") else 0.75
            pooled = np.quantile(array[rows], share, axis=0, keepdims=True)
            arrays[kind] = np.concatenate([arrays[kind], pooled.astype(np.float32)])
    arrays["keys"] = np.asarray(keys, dtype=np.str_)
    meta = {
        "anchor_s": float(frame.times[-1]) + step + step * (wide - 1) / 2.0,
        "slots": slots // wide,
        "step_s": step,
    }
    return arrays, meta


def _learn(
    values: Floats, fine: int, wide: int, hold_s: float, frame: Frame
) -> dict[str, NDArray[np.float32]]:
    """fine: samples a day; wide: of which so many make one slot of the profile."""
    step, slots = frame.step_s, fine // wide
    values = np.where(np.isfinite(values), values, np.nan)
    worse, matters = frame.signal.worse, max(frame.signal.matters, 1e-9)
    seen = np.isfinite(values).sum(axis=1) * step / DAY_S
    days = by_day(values, fine)
    if wide > 1:
        days = quiet_median(days.reshape(len(values), days.shape[1], slots, wide))
    flat = _flat_errors(values, step)
    season_errors, strong = flat, np.zeros(len(values), bool)
    season = np.zeros((len(values), slots))
    week = np.zeros((len(values), 7))
    if days.shape[1] >= 3:
        start = values.shape[1] - days.shape[1] * fine
        residual = np.full(values.shape, np.nan)
        told = np.repeat(foretold(days).reshape(len(values), -1), wide, axis=1)
        residual[:, start:] = values[:, start:] - told
        # Days foretold from one or two others err more than a day to come will.
        residual[:, : start + min(4, days.shape[1] // 3) * fine] = np.nan
        errors = residual - trailing_level(residual, step)
        enough = np.isfinite(errors).sum(axis=1) * step >= DAY_S
        gain = _size(errors) < WORTH * _size(np.where(np.isfinite(errors), flat, np.nan))
        strong = enough & gain
        season_errors = np.where(strong[:, None], errors, flat)
        profile = smooth_profile(days, strong)
        season = np.where(strong[:, None], profile - quiet_median(profile)[:, None], 0.0)
    level = _level(values, np.repeat(season, wide, axis=1), fine)
    week = _weekly(days, season, level, strong)
    errors = without_faults(signed(season_errors, worse), round(1800.0 / step))
    span = max(1, round(LATELY_S / step))
    lately = _trailing_mean(errors, span)
    floor = np.full(len(values), matters / 8.0)
    now_tail, late_tail = fit_tail(errors, floor), fit_tail(lately, floor)
    combined = (evidence(now_tail, errors) + evidence(late_tail, lately)) / 2.0
    held = _least(combined, round(hold_s / step))
    worst = _block_max(np.where(np.isfinite(errors), held, -np.inf), round(BLOCK_S / step))
    # Evidence is a logarithm already: its own tail is exponential.
    worst_tail = fit_tail(worst, np.full(len(values), 0.05), heaviest=0.0)
    known = np.where(np.isfinite(errors).sum(axis=1) >= 12, seen, 0.0)
    return {
        "profile": np.nan_to_num(season + level[:, None]).astype(np.float32),
        "week": week.astype(np.float32),
        "now": now_tail.packed(),
        "lately": late_tail.packed(),
        "worst": worst_tail.packed(),
        "days": known.astype(np.float32),
    }


def without_faults(errors: Floats, shortest: int) -> Floats:
    """The record without its long faults, so that a fault does not widen what is normal.

    Taken out: runs of at least `shortest` columns beyond 8 spreads, when they make up less
    than a tenth of the record. Short spikes stay: a series that spikes has spikes in its tail.
    """
    middle = quiet_median(errors)
    spread = 1.4826 * quiet_median(np.abs(errors - middle[:, None]))
    far = errors - middle[:, None] > 8.0 * spread[:, None]
    count = np.cumsum(np.pad(far, ((0, 0), (1, 0))), axis=1)
    length = max(1, shortest)
    if length > errors.shape[1]:
        return errors
    full = np.asarray(count[:, length:] - count[:, :-length] >= 0.8 * length)
    run = np.zeros(errors.shape, dtype=np.intp)
    run[:, : full.shape[1]] += full
    run[:, length:] -= full[:, : errors.shape[1] - length]
    fault = far & (np.cumsum(run, axis=1) > 0)
    known = np.maximum(np.isfinite(errors).sum(axis=1), 1)
    rare = fault.sum(axis=1) <= 0.1 * known
    return np.where(fault & rare[:, None], np.nan, errors)


def _flat_errors(values: Floats, step: float) -> Floats:
    """Errors of a constant forecast: the median of the day before the last refit.

    Under a day of history: of the hour before, lagged as a refit would lag.
    """
    if values.shape[1] * step >= 1.5 * DAY_S:
        return values - trailing_level(values, step)
    length = max(2, round(3600.0 / step))
    out = np.full(values.shape, np.nan)
    for start in range(length, values.shape[1], max(1, length // 2)):
        end = start + max(1, length // 2)
        out[:, start:end] = (
            values[:, start:end] - quiet_median(values[:, start - length : start])[:, None]
        )
    return out


def _size(errors: Floats) -> Floats:
    return quiet_median(np.abs(errors))


def _level(values: Floats, season: Floats, slots: int) -> Floats:
    """Median of the last day without its season; of all there is where that is less."""
    length = min(values.shape[1], slots)
    recent = values[:, -length:] - season[:, -length:]
    level = quiet_median(recent)
    return np.where(np.isfinite(level), level, quiet_median(values))


def _weekly(days: Floats, season: Floats, level: Floats, strong: NDArray[np.bool_]) -> Floats:
    """What each of the coming seven days differs from the last one, (N, 7).

    The offset of a weekday is kept when both weeks show it with one sign: the smaller of both.
    """
    week = np.zeros((len(level), 7))
    if days.shape[1] < 14:
        return week
    off = quiet_median(days - season[:, None, :]) - level[:, None]
    first, second = off[:, -14:-7], off[:, -7:]
    both = np.sign(first) == np.sign(second)
    kept = np.where(both, np.sign(first) * np.minimum(np.abs(first), np.abs(second)), 0.0)
    kept = np.where(strong[:, None], np.nan_to_num(kept), 0.0)
    return kept - kept[:, -1:]


def _trailing_mean(errors: Floats, span: int) -> Floats:
    """Mean of the last `span` columns, those that are there; NaN where none is."""
    known = np.isfinite(errors)
    total = np.cumsum(np.where(known, errors, 0.0), axis=1)
    count = np.cumsum(known, axis=1)
    total[:, span:] -= total[:, :-span].copy()
    count[:, span:] -= count[:, :-span].copy()
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _least(scores: Floats, back: int) -> Floats:
    """The lesser of now and `back` columns before: what a hold lets through, as the tick sees."""
    if not 0 < back < scores.shape[1]:
        return scores
    held = scores.copy()
    held[:, back:] = np.minimum(scores[:, back:], scores[:, :-back])
    return held


def _block_max(scores: Floats, length: int) -> Floats:
    """Worst of each block; blocks without a sample stay −inf, which is no record."""
    length = max(1, length)
    blocks = max(1, scores.shape[1] // length)
    used = scores[:, -blocks * length :]
    worst: Floats = used.reshape(len(scores), blocks, -1).max(axis=2)
    return worst


def unpack(arrays: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> Learned:
    """The tails of chosen rows of a baseline."""
    return Learned(
        Tail.unpacked(arrays["now"][rows]),
        Tail.unpacked(arrays["lately"][rows]),
        Tail.unpacked(arrays["worst"][rows]),
        arrays["days"][rows],
    )
