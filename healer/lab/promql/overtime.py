"""Functions of range vectors, and the table of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from healer.lab.promql import change, ranges, regression
from healer.lab.promql.quantiles import quantile
from healer.lab.promql.ranges import Part
from healer.lab.promql.values import Bools, Floats, Ints, Vector, Windows, empty

Function = Callable[[Part], Floats]


def apply(name: str, windows: Windows, extra: Floats, steps_ms: Ints) -> Vector:
    """The function at every step; absent where a window holds too few samples for it.

    extra: its scalar argument per step, where it has one.
    """
    function, least = FUNCTIONS[name]
    found: list[Vector] = []
    for part in ranges.parts(windows, extra, steps_ms):
        enough = part.window.sizes >= least
        if enough.any():
            values = function(part)
            there = np.broadcast_to(enough, values.shape)
            found.append(Vector(part.window.labels, values, there))
    if not found:
        return empty(len(steps_ms))
    return Vector(
        [labels for each in found for labels in each.labels],
        np.concatenate([each.values for each in found]),
        np.concatenate([each.present for each in found]),
    )


def any_sample(windows: Windows) -> Bools:
    """[S]: whether any series has a sample in the step's window."""
    found = np.zeros(len(windows.ends_ms), bool)
    for part in windows.parts:
        found |= part.sizes > 0
    return found


def _sum(part: Part) -> Floats:
    return part.reduce(np.add, part.values)


def _min(part: Part) -> Floats:
    return part.reduce(np.fmin, part.values)


def _max(part: Part) -> Floats:
    return part.reduce(np.fmax, part.values)


def _avg(part: Part) -> Floats:
    """Exact where nothing changes: the last digit of a flat line must not flicker, or whoever
    takes it for a counter sees resets."""
    low, mean = _min(part), _sum(part) / part.window.sizes
    return np.where((low == _max(part)) & ~np.isnan(mean), low, mean)


def _count(part: Part) -> Floats:
    return np.tile(part.window.sizes.astype(np.float64), (len(part.values), 1))


def _spread(part: Part) -> Floats:
    done = np.full((len(part.values), len(part.head)), np.nan)
    for steps, samples, _ in part.blocks():
        # Around the first sample: what does not change has no spread at all.
        done[:, steps] = (samples - samples[..., :1]).var(axis=-1)
    return done


def _quantile(part: Part) -> Floats:
    done = np.full((len(part.values), len(part.head)), np.nan)
    for steps, samples, _ in part.blocks():
        done[:, steps] = quantile(part.extra[steps], samples)
    return done


FUNCTIONS: Mapping[str, tuple[Function, int]] = {
    "rate": (change.rate, 2),
    "increase": (change.increase, 2),
    "delta": (change.delta, 2),
    "irate": (change.irate, 2),
    "idelta": (change.idelta, 2),
    "deriv": (regression.deriv, 2),
    "predict_linear": (regression.predict_linear, 2),
    "resets": (change.resets, 1),
    "changes": (change.changes, 1),
    "sum_over_time": (_sum, 1),
    "count_over_time": (_count, 1),
    "avg_over_time": (_avg, 1),
    "min_over_time": (_min, 1),
    "max_over_time": (_max, 1),
    "last_over_time": (lambda part: part.at(part.tail), 1),
    "present_over_time": (lambda part: np.ones((len(part.values), len(part.head))), 1),
    "stdvar_over_time": (_spread, 1),
    "stddev_over_time": (lambda part: np.sqrt(_spread(part)), 1),
    "quantile_over_time": (_quantile, 1),
}
"""Name → function, and how many samples a window must hold."""
