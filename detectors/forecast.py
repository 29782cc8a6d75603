"""How long until it is full: time to a known limit, with the interval that the data allow.

A disk that fills at a steady pace, a host that leaks memory, a KV cache under growing traffic,
a latency on its way to the objective: all are told before anything breaks. A line is drawn
through the window of the tick, which sees what fills within the hour, and another through the
last day, which sees the slow leak and is not fooled by the hour of the day. Neither is followed
further ahead than a few times what was watched, and a step or a saw tooth is no trend.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, fresh_s, moment, newest, said, title
from detectors._kin import row_names
from detectors._trend import Floats, Trend, trend
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.ports import Baseline, Detector
from healer.values import Span

_MIN_SPAN_S = 900.0
"""Less than a quarter of an hour is no trend."""
_MIN_HISTORY_S = 6 * 3600.0
_PARTS = ("slope", "low", "high", "level", "start", "spread", "steady")


@dataclass(frozen=True, slots=True)
class Forecast(Detector):
    """Speaks of rows whose trend reaches the limit soon, with all of the interval soon enough."""

    limit: float
    """Where it is full, in the signal's unit."""

    within: Span = timedelta(hours=4)
    """How soon is soon."""

    reach: float = 4.0
    """How many times the watched span a line is followed ahead."""

    beyond: float | None = None
    """Say nothing before the value has passed this, for signals that rise every morning."""

    level: LevelName = "warn"
    """warn, page or act. What has not happened yet is a warning."""

    history: ClassVar[timedelta | None] = timedelta(days=1)
    history_step: ClassVar[timedelta] = timedelta(minutes=5)
    refit_every: ClassVar[timedelta] = timedelta(hours=1)

    def fit(self, frame: Frame) -> Baseline | None:
        """The line through the last day of each row, for trends too slow for a tick's window."""
        known = np.isfinite(frame.values)
        if not known.any():
            return None
        first = int(np.argmax(known.any(axis=0)))
        times = frame.times[first:]
        if times[-1] - times[0] < _MIN_HISTORY_S:
            return None
        lines = trend(times, frame.values[:, first:])
        arrays = {name: getattr(lines, name) for name in _PARTS}
        meta = {"rows": row_names(frame), "from_s": lines.from_s, "at_s": lines.at_s}
        return Baseline("forecast", frame.signal.name, self.version, frame.end, arrays, meta)

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        now = newest(frame)
        fresh = frame.times[-1] - np.nan_to_num(frame.last_seen(), nan=-1e18) <= fresh_s(frame)
        short = None
        if len(frame.times) > 1 and frame.times[-1] - frame.times[0] >= _MIN_SPAN_S:
            short = _moving(frame)
        told: set[int] = set()
        for lines in (short, _remembered(baseline, frame)):
            if lines is None:
                continue
            level = lines.level + lines.slope * (frame.times[-1] - lines.at_s)
            if lines is not short:
                # What was emptied since, or stands still, does not go on along the old line.
                level = np.where(np.isfinite(level), now, np.nan)
                level[self._has_left(frame, lines, now)] = np.nan
            for i in np.flatnonzero(fresh & self._is_soon(frame, lines, level)):
                if int(i) not in told:
                    told.add(int(i))
                    yield self._finding(frame, int(i), lines, float(level[i]), float(now[i]))

    def _is_soon(self, frame: Frame, lines: Trend, level: Floats) -> NDArray[np.bool_]:
        """Rows whose line is sure, has moved enough to matter, and ends at the limit in time."""
        left = self.limit - level
        way = np.sign(left)
        span = lines.at_s - lines.from_s
        ahead = min(self.within.total_seconds(), self.reach * span)
        with np.errstate(divide="ignore", invalid="ignore"):
            sure = (way * lines.low > 0) & (way * lines.high > 0) & lines.steady
            moved = way * lines.slope * span >= max(frame.signal.matters / 2, 1e-12)
            clear = way * lines.slope * span >= 3 * lines.spread
            eta = left / lines.slope
            latest = left / np.where(way > 0, lines.low, lines.high)
            soon = (eta <= ahead) & (latest <= 2 * ahead)
            passed = True if self.beyond is None else way * (level - self.beyond) >= 0
        found: NDArray[np.bool_] = (way != 0) & sure & moved & clear & soon & passed
        return found

    def _has_left(self, frame: Frame, lines: Trend, now: Floats) -> NDArray[np.bool_]:
        """Rows that no longer follow the remembered line: fallen back by more than matters."""
        line = lines.level + lines.slope * (frame.times[-1] - lines.at_s)
        slack = np.maximum(frame.signal.matters / 2, 3 * lines.spread)
        left: NDArray[np.bool_] = np.sign(lines.slope) * (line - now) > slack
        return left

    def _finding(self, frame: Frame, i: int, lines: Trend, level: float, now: float) -> Finding:
        left = self.limit - level
        sides = (left / lines.high[i], left / lines.low[i])
        eta, soonest, latest = left / lines.slope[i], min(sides), max(sides)
        unit = frame.signal.unit
        usual = float(lines.start[i])
        reach = max(3 * float(lines.spread[i]), frame.signal.matters / 4)
        return Finding(
            target=frame.targets[i],
            signal=frame.signal.name,
            detector="forecast",
            level=LEVEL[self.level],
            since=moment(lines.from_s),
            at=frame.end,
            observed=now,
            expected_low=usual - reach,
            expected_high=usual + reach,
            score=2.0 if eta > self.within.total_seconds() / 4 else 3.0,
            unit=unit,
            summary=f"{title(frame.signal)} {said(now, unit)}, reaches {said(self.limit, unit)} "
            f"in {_span(eta)} ({_span(soonest)} to {_span(latest)})",
        )


def _moving(frame: Frame) -> Trend | None:
    """The trend of rows that went anywhere; NaN for the many that stand still, unmeasured.

    None where nothing moves at all.
    """
    quarter = max(1, len(frame.times) // 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        begin = np.nanmean(frame.values[:, :quarter], axis=1)
        end = np.nanmean(frame.values[:, -quarter:], axis=1)
    rows = np.flatnonzero(np.abs(end - begin) >= max(frame.signal.matters / 4, 1e-12))
    if not len(rows):
        return None
    lines = trend(frame.times, frame.values[rows])

    def spread(part: NDArray[Any]) -> NDArray[Any]:
        whole = np.full(len(frame), False if part.dtype == bool else np.nan, part.dtype)
        whole[rows] = part
        return whole

    return Trend(lines.from_s, lines.at_s, *(spread(getattr(lines, name)) for name in _PARTS))


def _remembered(baseline: Baseline | None, frame: Frame) -> Trend | None:
    """The lines of the last fit, in the order of the frame's rows; NaN for rows it did not see."""
    if baseline is None:
        return None
    at = {key: row for row, key in enumerate(baseline.meta["rows"])}
    rows = np.array([at.get(key, -1) for key in row_names(frame)])

    def pick(name: str) -> Floats:
        told = baseline.arrays[name].astype(np.float64)
        return np.where(rows >= 0, np.append(told, np.nan)[rows], np.nan)

    return Trend(
        float(baseline.meta["from_s"]),
        float(baseline.meta["at_s"]),
        slope=pick("slope"),
        low=pick("low"),
        high=pick("high"),
        level=pick("level"),
        start=pick("start"),
        spread=pick("spread"),
        steady=np.nan_to_num(pick("steady")).astype(bool),
    )


def _span(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"
