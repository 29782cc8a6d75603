"""A limit that must not be crossed for longer than a while.

The plainest detector, for limits that somebody knows: a disk is full at 100 %, a GPU slows
itself down near 90 °C. It learns nothing. Hold keeps blips out; hysteresis keeps a value that
dances on the limit from opening and closing an incident every minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, is_fresh, moment, newest, said, title
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.ports import Baseline, Detector
from healer.values import Span

_SCORE = {Level.WARN: 2.0, Level.PAGE: 3.0, Level.ACT: 4.0}
"""A known limit has no tail to measure: the level's usual score stands in."""


@dataclass(frozen=True, slots=True)
class Threshold(Detector):
    """Speaks when every sample within `hold` lies beyond the limit."""

    above: float | None = None
    """Too much is more than this, in the signal's unit."""

    below: float | None = None
    """Too little is less than this."""

    hold: Span = timedelta(minutes=2)
    """How long every sample must lie beyond. Longer than the window counts as the window."""

    clear: float | None = None
    """Once found, it lasts until a sample is back on this side of `clear`; default: the limit."""

    level: LevelName = "page"
    """warn, page or act."""

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("exactly one of 'above' and 'below' is required")
        limit, clear = self._limit, self.clear
        if clear is not None and (clear > limit if self.above is not None else clear < limit):
            raise ValueError(f"'clear' {clear:g} must lie on the good side of the limit {limit:g}")

    @property
    def _limit(self) -> float:
        limit = self.above if self.above is not None else self.below
        assert limit is not None
        return limit

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        current = newest(frame)
        since = self._since(frame, current)
        level = LEVEL[self.level]
        limit, up = self._limit, self.above is not None
        for i in np.flatnonzero(np.isfinite(since) & is_fresh(frame)):
            seen = float(current[i])
            yield Finding(
                target=frame.targets[i],
                signal=frame.signal.name,
                detector="threshold",
                level=level,
                since=moment(since[i]),
                at=frame.end,
                observed=seen,
                expected_low=min(0.0, limit) if up else limit,
                expected_high=limit if up else max(limit, float(np.nanmax(frame.values[i]))),
                score=_SCORE[level],
                unit=frame.signal.unit,
                summary=(
                    f"{title(frame.signal)} {said(seen, frame.signal.unit)}, "
                    f"limit {said(limit, frame.signal.unit)}, "
                    f"for {_minutes(float(frame.times[-1] - since[i]))}"
                ),
            )

    def _since(self, frame: Frame, current: NDArray[np.float64]) -> NDArray[np.float64]:
        """Since when each row is found, shape (N,); NaN where it is not.

        One pass over the columns with the whole fleet at once. A missing sample is no breach
        and no recovery. A gap longer than half the hold leaves the breach unproven: it starts
        anew, unless it had been found before.
        """
        sign = 1.0 if self.above is not None else -1.0
        limit = sign * self._limit
        clear = sign * (self._limit if self.clear is None else self.clear)
        found = np.full(len(frame), np.nan)
        # Most never crossed the limit or are back behind the line: they need no slow look.
        back = sign * current <= min(clear, limit)
        crossed = np.flatnonzero((sign * frame.values > limit).any(axis=1) & ~back)
        if not len(crossed):
            return found
        values = sign * frame.values[crossed]
        span = float(frame.times[-1] - frame.times[0])
        hold = min(self.hold.total_seconds(), span)
        longest_gap = max(3.0 * frame.step_s, hold / 2)
        start = np.full(len(crossed), np.nan)
        seen = np.full(len(crossed), np.nan)
        on = np.zeros(len(crossed), bool)
        for j, at in enumerate(frame.times):
            column = values[:, j]
            present = np.isfinite(column)
            beyond = present & (column > limit)
            over = present & np.where(on, column <= clear, ~beyond)
            lost = present & ~on & (at - seen > longest_gap)
            start[over | lost] = np.nan
            on &= ~over
            start[beyond & np.isnan(start)] = at
            on |= beyond & (at - start >= hold)
            seen[present] = at
        found[crossed] = np.where(on, start, np.nan)
        return found


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
