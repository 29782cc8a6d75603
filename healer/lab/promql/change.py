"""How samples change within a window: `rate` and its kin, resets and changes."""

from __future__ import annotations

import numpy as np

from healer.lab.promql.ranges import Part, reduced
from healer.lab.promql.values import Bools, Floats


def _growth(part: Part) -> Floats:
    """Last minus first of a counter; what a reset took away is put back."""
    grown = part.at(part.tail) - part.at(part.head)
    fell = part.values[:, 1:] < part.values[:, :-1]
    torn = np.flatnonzero(fell.any(axis=1))
    if len(torn):
        lost = np.where(fell[torn], part.values[torn, :-1], 0.0)
        lost = np.concatenate([lost, np.zeros((len(torn), 1))], axis=1)
        back = reduced(np.add, lost, part.head, part.tail)
        grown[torn] += np.where(part.tail > part.head, back, 0.0)
    return grown


def _extrapolated(part: Part, change: Floats, to_start: Floats) -> Floats:
    """Prometheus' way from the sampled interval to the whole window: up to its edges where
    samples come close to them, else half a sample interval further."""
    sampled = (part.times_ms[part.tail] - part.times_ms[part.head]) / 1000
    to_end = (part.ends_ms - part.times_ms[part.tail]) / 1000
    between = sampled / (part.window.sizes - 1)
    near = between * 1.1
    reach = sampled + np.where(to_start < near, to_start, between / 2)
    reach = reach + np.where(to_end < near, to_end, between / 2)
    done: Floats = change * (reach / sampled)
    return done


def _to_start(part: Part) -> Floats:
    """[S]: seconds from the window's edge to its first sample."""
    begins: Floats = (part.times_ms[part.head] - part.starts_ms) / 1000
    return begins


def increase(part: Part) -> Floats:
    grown, first, to_start = _growth(part), part.at(part.head), _to_start(part)
    sampled = (part.times_ms[part.tail] - part.times_ms[part.head]) / 1000
    # A counter is never below zero: it cannot have begun before it would have been there.
    to_zero = np.where((grown > 0) & (first >= 0), sampled * (first / grown), np.inf)
    return _extrapolated(part, grown, np.where(to_zero < to_start, to_zero, to_start))


def rate(part: Part) -> Floats:
    return increase(part) / part.range_s


def delta(part: Part) -> Floats:
    return _extrapolated(part, part.at(part.tail) - part.at(part.head), _to_start(part))


def _last_two(part: Part) -> tuple[Floats, Floats, Floats]:
    """Value before, last value, seconds between."""
    before = np.maximum(part.tail - 1, 0)
    between = (part.times_ms[part.tail] - part.times_ms[before]) / 1000
    return part.at(before), part.at(part.tail), between


def irate(part: Part) -> Floats:
    before, last, between = _last_two(part)
    done: Floats = np.where(last < before, last, last - before) / between
    return done


def idelta(part: Part) -> Floats:
    before, last, _ = _last_two(part)
    return last - before


def _counted(part: Part, marks: Bools) -> Floats:
    """How many of the marked steps between samples [n, M-1] lie in each window."""
    total = np.concatenate(
        [np.zeros((len(marks), 1), np.int64), np.cumsum(marks, axis=1, dtype=np.int64)], axis=1
    )
    done: Floats = (total[:, part.tail] - total[:, part.head]).astype(np.float64)
    return done


def resets(part: Part) -> Floats:
    return _counted(part, part.values[:, 1:] < part.values[:, :-1])


def changes(part: Part) -> Floats:
    now, before = part.values[:, 1:], part.values[:, :-1]
    return _counted(part, (now != before) & ~(np.isnan(now) & np.isnan(before)))
