"""How the columns of a metrics table moved: from numbers to shifts that can be weighed.

Robust deviations with a floor per family, so that no jitter in a near-constant series outshouts
a real change; counters by their increments, ratios by the requests they stand for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("errors", ("avail", "success", "err", "fail", "5xx", "abort")),
    ("latency", ("lat", "duration", "response", "inclient", "inserver", "outclient", "p50", "p90",
                 "p95", "p99", "rt")),
    ("cpu", ("cpu",)),
    ("memory", ("mem", "rss", "heap")),
    ("disk", ("disk", "fs", "io", "iops")),
    ("network", ("net", "socket", "tcp", "rx", "tx", "packet", "receive", "transmit")),
    ("traffic", ("req", "workload", "load", "rps", "qps", "throughput", "count", "calls")),
)  # fmt: skip
"""A metric's family by how its name begins, else by what it contains; the first that fits."""

CAP = 3.0

FROM, SCALE = 3.0, 9.0
"""A deviation below three robust deviations tells nothing; at twelve it tells two thirds."""

FLOOR = 0.05
"""Smallest spread, as a share of the level."""

FIRST_FLOOR = 0.02
"""Of the largest value, where there was nothing before: a first sign of life is strong evidence."""

POINT_FLOOR = 0.002
"""Smallest spread of a success ratio: two requests in a thousand."""

REQUESTS = ("req", "workload", "rps", "qps", "throughput", "calls")
"""How the name of a metric begins that counts requests."""

COUNTS_FROM, COUNTS_SHARE = 10, 0.6
"""Samples from which on, and share of rising ones above which, a series is a counter."""

DEMAND = 1.2
"""Growth of most services' requests from which on more demand explains a part of what moved."""

VANISHED = 2.5

GAPLESS = 0.8
"""Only series that had at least this share of their samples can vanish."""

GUARD_S = 120.0
"""Kept out of the baseline before the told moment: faults are told late."""


@dataclass(frozen=True, slots=True)
class MetricCase:
    """One incident as plain data. values: shape (T, C), NaN where there was no sample."""

    times: Series
    columns: tuple[tuple[str, str], ...]
    """(service, metric) of each column."""
    values: Series
    told_at: float
    """When the fault is said to have begun, seconds since the epoch."""
    slo: tuple[str, str] | None = None
    """(service, metric or family) that broke."""
    calls: tuple[tuple[str, str], ...] = ()
    """(caller, callee)."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How one column changed, in its own unit; `worse` is positive when it got worse."""

    service: str
    metric: str
    family: str
    score: float
    """Robust deviations, towards worse; 0 where it did not get worse."""
    worse: float
    level: float
    onset: float | None


def family_of(metric: str) -> str:
    """What kind of thing a metric measures, by its name; `other` where the name does not say."""
    name = metric.lower()
    begins = [family for family, words in FAMILIES if name.startswith(words)]
    holds = [family for family, words in FAMILIES if any(w in name for w in words if len(w) > 2)]
    # `request-latency` begins with what it is of, and says later what it is.
    told = [family for family in (*begins, *holds) if family != "traffic" or begins != [family]]
    return (*told, *begins, "other")[0]


def shift_of(case: MetricCase, column: int) -> Shift | None:
    """How a column moved, or None where too little of it was seen."""
    service, metric = case.columns[column]
    row = _rate(case, case.values[:, column])
    seen = np.isfinite(row)
    before = row[seen & (case.times < case.told_at - GUARD_S)]
    if len(before) < 4:
        before = row[seen & (case.times < case.told_at)]
    late = seen & (case.times >= case.told_at)
    after = row[late]
    if len(before) < 2 or not len(after):
        return None
    family = family_of(metric)
    level = float(np.median(before))
    spread = float(np.subtract(*np.percentile(before, [75, 25]))) / 1.349
    spread = max(spread, _floor(family, metric, level, after))
    moved = _direction(family, metric) * (after - level)
    worse = _typical(moved)
    lasting = math.sqrt(min(1.0, len(after) / 3))
    score = max(0.0, worse / spread) * lasting
    if family == "errors" and (counted := _failures(case, column)) is not None:
        score = counted
    onset = _onset(case, row, level, spread) if score > FROM else None
    return Shift(service, metric, family, score, max(worse, 0.0), level, onset)


def beyond_demand(shifts: tuple[Shift, ...]) -> tuple[Shift, ...]:
    """The shifts less what more requests alone would bring: twice as many take twice the work.

    A service's resources are allowed to grow as its own requests did. Requests and latency are
    allowed what is common to most services, for all of them serve the same crowd.
    """
    asked = {s.service: _grew(s) for s in shifts if s.family == "traffic" and s.level > 0}
    usual = _median(asked.values())
    if usual < DEMAND:
        return shifts
    latency: dict[str, float] = {}
    for s in shifts:
        if s.family == "latency" and s.level > 0:
            latency[s.service] = max(latency.get(s.service, 1.0), _grew(s))
    slower = _median(latency.values())
    common = {"latency": slower, "traffic": usual, "errors": 1.0}
    return tuple(
        _less(shift, common.get(shift.family, asked.get(shift.service, usual))) for shift in shifts
    )


def _grew(shift: Shift) -> float:
    return 1 + shift.worse / shift.level


def _median(values: Iterable[float]) -> float:
    found = sorted(values)
    return found[(len(found) - 1) // 2] if found else 1.0


def _less(shift: Shift, growth: float) -> Shift:
    """`shift` without the part that a growth of all it does, with a tenth of play, brings."""
    allowed = 1.1 * (growth - 1) * abs(shift.level)
    if shift.worse <= 0 or allowed <= 0:
        return shift
    left = max(0.0, shift.worse - allowed)
    score = shift.score * left / shift.worse
    onset = shift.onset if score > FROM else None
    return replace(shift, score=score, worse=left, onset=onset)


def _rate(case: MetricCase, row: Series) -> Series:
    """A counter's increments; anything else as it is.

    What never falls and mostly rises while all is well counts something. A reset is a gap.
    """
    steps = np.diff(row, prepend=np.nan)
    usual = steps[np.isfinite(steps) & (case.times < case.told_at)]
    if len(usual) < COUNTS_FROM or (usual < 0).sum() > 1 or (usual > 0).mean() < COUNTS_SHARE:
        return row
    return np.where(steps >= 0, steps, np.nan)


def vanished_of(case: MetricCase) -> dict[str, float]:
    """By service: log-odds that its silence is no chance, where others still speak.

    A pod that was killed has no worse numbers, it has none. Series that often miss a sample
    prove little by missing a few more.
    """
    seen = np.isfinite(case.values)
    late = case.times >= case.told_at
    if not late.any() or not seen[late].any():
        return {}
    odds: dict[str, list[float]] = defaultdict(list)
    for i, (service, _) in enumerate(case.columns):
        usual = float(seen[~late, i].mean()) if (~late).any() else 0.0
        silent = int(late.sum()) if not seen[late, i].any() else 0
        proof = -silent * math.log1p(-min(usual, 0.99)) if usual > GAPLESS else 0.0
        odds[service].append(min(VANISHED, proof))
    found = {service: float(np.median(each)) for service, each in odds.items()}
    # When half of all fall silent it is the measurement.
    gone = [service for service, proof in found.items() if proof > 0]
    return {service: found[service] for service in gone} if 2 * len(gone) < len(found) else {}


def _typical(moved: Series) -> float:
    """Lower median of the larger half: a fault may not fill the window, one spike is no fault."""
    largest = np.sort(moved)[len(moved) // 2 :]
    return float(largest[(len(largest) - 1) // 2])


def _failures(case: MetricCase, column: int) -> float | None:
    """Deviations of the number of failed requests; None where requests are not counted.

    One failure among eleven requests is a fall of nine points and proves nothing.
    """
    service, metric = case.columns[column]
    requests = next(
        (
            i
            for i, (s, m) in enumerate(case.columns)
            if s == service and m.lower().startswith(REQUESTS)
        ),
        None,
    )
    if requests is None:
        return None
    ratio = case.values[:, column]
    most = np.nanmax(ratio, initial=0.0)
    if _direction("errors", metric) > 0:
        if most > 1:
            return None
        failed = ratio * case.values[:, requests]
    else:
        failed = (1 - ratio / (100.0 if most > 2 else 1.0)) * case.values[:, requests]
    seen = np.isfinite(failed)
    before = failed[seen & (case.times < case.told_at - GUARD_S)]
    after = failed[seen & (case.times >= case.told_at)]
    if len(before) < 4 or not len(after):
        return None
    rise = (_typical(after) - float(before.mean())) * len(after)
    return max(0.0, rise / math.sqrt(1 + len(after) * float(before.var())))


def _floor(family: str, metric: str, level: float, after: Series) -> float:
    if family == "errors" and _direction(family, metric) < 0:
        return POINT_FLOOR * (100 if abs(level) > 2 else 1)
    if level == 0:
        return FIRST_FLOOR * float(np.max(np.abs(after))) or 1e-9
    return FLOOR * abs(level)


def _direction(family: str, metric: str) -> float:
    """−1 for what is worse when it falls."""
    name = metric.lower()
    good = ("avail", "success") if family == "errors" else ("avail", "free", "idle")
    return -1.0 if any(w in name for w in good) and "unavail" not in name else 1.0


def _onset(case: MetricCase, row: Series, level: float, spread: float) -> float | None:
    """First of two samples in a row that are beyond, from shortly before the told moment."""
    late = np.isfinite(row) & (case.times >= case.told_at - GUARD_S)
    beyond = np.flatnonzero(late & (np.abs(row - level) > FROM * spread))
    if not len(beyond):
        return None
    runs = beyond[:-1][np.diff(beyond) == 1]
    return float(case.times[runs[0] if len(runs) else beyond[0]])


def saturate(score: float) -> float:
    """Robust deviations → log-odds in [0, 3): past a point more of it proves nothing more."""
    return CAP * (1 - math.exp(-max(0.0, score - FROM) / SCALE))
