"""A line through the samples of a window: `deriv` and `predict_linear`.

The sums are Prometheus' own, with its compensated addition: the line through few samples far
from its origin magnifies every rounding.
"""

from __future__ import annotations

import numpy as np

from healer.lab.promql.ranges import Part
from healer.lab.promql.values import Floats, Ints


def deriv(part: Part) -> Floats:
    done = np.full((len(part.values), len(part.head)), np.nan)
    for steps, samples, times_ms in part.blocks():
        done[:, steps] = _line(samples, times_ms, times_ms[:, 0])[0]
    return done


def predict_linear(part: Part) -> Floats:
    done = np.full((len(part.values), len(part.head)), np.nan)
    for steps, samples, times_ms in part.blocks():
        slope, now = _line(samples, times_ms, part.steps_ms[steps])
        done[:, steps] = slope * part.extra[steps] + now
    return done


def _line(samples: Floats, times_ms: Ints, origin_ms: Ints) -> tuple[Floats, Floats]:
    """Slope and value at `origin_ms` of the least-squares line: [n, s, w] → [n, s] twice."""
    x = (times_ms - origin_ms[:, None]) / 1000  # seconds since 1970 would lose digits
    count = samples.shape[-1]
    sum_x, sum_y = _sum(x), _sum(samples)
    slope = (_sum(x * samples) - sum_x * sum_y / count) / (_sum(x * x) - sum_x * sum_x / count)
    start = sum_y / count - slope * sum_x / count
    first = samples[..., 0]
    flat = (samples == samples[..., :1]).all(axis=-1)
    endless = flat & np.isinf(first)
    slope = np.where(endless, np.nan, np.where(flat, 0.0, slope))
    return slope, np.where(endless, np.nan, np.where(flat, first, start))


def _sum(terms: Floats) -> Floats:
    """Along the last axis, with Neumaier's compensation."""
    total = np.zeros(terms.shape[:-1])
    lost = np.zeros(terms.shape[:-1])
    for at in range(terms.shape[-1]):
        term = terms[..., at]
        summed = total + term
        larger = np.abs(total) >= np.abs(term)
        lost += np.where(larger, (total - summed) + term, (term - summed) + total)
        total = summed
    return total + lost
