"""Functions of instant vectors that change values, and those of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from healer.lab.promql.values import Floats, Ints, Vector, merged, nameless

ELEMENTWISE: Mapping[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": np.degrees,
    "rad": np.radians,
}


def _days(seconds: Floats) -> Ints:
    whole: Ints = np.floor_divide(np.trunc(seconds), 86400).astype(np.int64)
    return whole


def _date(seconds: Floats, unit: str) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return _days(seconds).astype("datetime64[D]").astype(f"datetime64[{unit}]")


def _since(seconds: Floats, unit: str) -> Ints:
    """Days since the beginning of that month or year."""
    day = _date(seconds, "D")
    days: Ints = (day - _date(seconds, unit).astype("datetime64[D]")).astype(np.int64)
    return days


def _month_length(seconds: Floats) -> Ints:
    month = _date(seconds, "M")
    first, after = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")
    days: Ints = (after - first).astype(np.int64)
    return days


CALENDAR: Mapping[str, Callable[[Floats], Floats | Ints]] = {
    "minute": lambda s: np.floor_divide(np.trunc(s), 60) % 60,
    "hour": lambda s: np.floor_divide(np.trunc(s), 3600) % 24,
    "day_of_week": lambda s: (_days(s) + 4) % 7,
    "day_of_month": lambda s: _since(s, "M") + 1,
    "day_of_year": lambda s: _since(s, "Y") + 1,
    "days_in_month": _month_length,
    "month": lambda s: _date(s, "M").astype(np.int64) % 12 + 1,
    "year": lambda s: _date(s, "Y").astype(np.int64) + 1970,
}
"""Of seconds since 1970, in UTC."""


def elementwise(name: str, vector: Vector) -> Vector:
    return changed(vector, ELEMENTWISE[name](vector.values))


def calendar(name: str, vector: Vector) -> Vector:
    seconds = np.where(vector.present & np.isfinite(vector.values), vector.values, 0.0)
    return changed(vector, CALENDAR[name](seconds).astype(np.float64))


def changed(vector: Vector, values: Floats) -> Vector:
    """New values: it is another quantity by now, so the metric's name goes."""
    return merged(Vector(nameless(vector.labels), values, vector.present))


def maximum(one: Floats, other: Floats) -> Floats:
    """NaN wins over numbers, and infinity over NaN."""
    endless = np.isposinf(one) | np.isposinf(other)
    return np.where(endless, np.inf, np.maximum(one, other))


def minimum(one: Floats, other: Floats) -> Floats:
    return -maximum(-one, -other)


def clamp(vector: Vector, low: Floats, high: Floats) -> Vector:
    """Nothing at all where low > high. NaN stays NaN, and a NaN limit makes everything NaN."""
    values = maximum(low, minimum(high, vector.values))
    sane = vector.present & ~(low > high)
    return merged(Vector(nameless(vector.labels), values, sane))


def rounded(vector: Vector, nearest: Floats) -> Vector:
    """Ties go up; like Prometheus it multiplies by the inverse, for exact decimals."""
    inverse = 1.0 / nearest
    return changed(vector, np.floor(vector.values * inverse + 0.5) / inverse)


def scalar_of(vector: Vector) -> Floats:
    """The value of the only element; NaN where there is none or more than one."""
    alone = vector.present.sum(axis=0) == 1
    values = np.where(vector.present, vector.values, 0.0).sum(axis=0)
    answer: Floats = np.where(alone, values, np.nan)
    return answer


def vector_of(scalar: Floats) -> Vector:
    return Vector([()], scalar[None, :], np.ones((1, len(scalar)), bool))


def ordered(vector: Vector, keys: Floats) -> Vector:
    """By ascending keys, NaN at the end; only an instant query has an order."""
    if vector.values.shape[1] != 1:
        return vector
    rows = np.argsort(keys[:, 0], kind="stable")
    return Vector([vector.labels[row] for row in rows], vector.values[rows], vector.present[rows])
