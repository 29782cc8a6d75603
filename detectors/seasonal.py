"""A value unlike what this hour of this day usually brings.

The expected value is a robust daily profile (STL where the season is strong), the weekday's
offset and the level of the last day. How far off is too far is not a number of sigmas: it is
the series' own record of how wrong this very forecast was on days it had not seen, with an
extreme-value tail. The levels are budgets of false alarms, not thresholds.

A fault does not become normal while it lasts: the level is a median over a day, the profile
one over a week. A change that stays is adopted after half a day and the next refit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import moment, said, title
from detectors._grid import Grid, grid_of
from detectors._learned import (
    BLOCK_S,
    Learned,
    learn,
    row_keys,
    signed,
    stem,
    unpack,
)
from detectors._profile import DAY_S, Floats, quiet_median
from detectors._tail import evidence
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.ports import Baseline, Detector
from healer.values import Span


@dataclass(frozen=True, slots=True)
class Seasonal(Detector):
    """Speaks of rows whose error, and its mean over 15 minutes, are rarer than the budget."""

    warn_per_day: float = 0.2
    """False alarms per series and day that level warn may cost."""

    page_per_day: float = 0.02
    """The same for page: may open an incident."""

    act_per_day: float = 0.002
    """The same for act: may count as evidence for a repair."""

    hold: Span = timedelta(minutes=2)
    """How long it must last before we speak. Minutes, not samples."""

    highest: str = "act"
    """Highest level it may reach: `warn` for what is context and no symptom, such as traffic."""

    young: Span = timedelta(minutes=8)
    """A row that began so lately is still warming up, and only shown."""

    cold_sigmas: float = 8.0
    """Without a record: robust deviations from the row's own window that may page."""

    history: ClassVar[timedelta | None] = timedelta(days=14)
    history_step: ClassVar[timedelta] = timedelta(minutes=2)
    """As fine as the hold, so that the record can show what lasts; 10,080 points in two weeks,
    which one range query may bring."""

    version: ClassVar[int] = 2

    def fit(self, frame: Frame) -> Baseline | None:
        span = float(frame.times[-1] - frame.times[0]) if len(frame.times) else 0.0
        if span < 2 * 3600.0 or not np.isfinite(frame.values).any():
            return None
        arrays, meta = learn(frame, self.hold.total_seconds())
        if not (arrays["days"] > 0).any():
            return None
        return Baseline("seasonal", frame.signal.name, self.version, frame.end, arrays, meta)

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        spacing = float(baseline.meta["step_s"]) if baseline is not None else 60.0
        grid = grid_of(frame, self.hold.total_seconds(), spacing)
        if baseline is None:
            yield from self._cold(frame, grid, np.arange(len(frame)))
            return
        index = {key: i for i, key in enumerate(baseline.arrays["keys"].tolist())}
        days = baseline.arrays["days"]
        rows = np.asarray([index.get(key, -1) for key in row_keys(frame)], dtype=np.intp)
        rows = np.where((rows >= 0) & (days[rows] > 0), rows, -1)
        borrowed = rows < 0
        for i in np.flatnonzero(borrowed):
            rows[i] = index.get(stem(frame.targets[i]), -1)
        known = np.flatnonzero(rows >= 0)
        if len(known):
            yield from self._judge(frame, grid, known, rows[known], baseline, borrowed[known])
        strangers = np.flatnonzero(rows < 0)
        if len(strangers):
            yield from self._cold(frame, grid, strangers)

    def _judge(
        self,
        frame: Frame,
        grid: Grid,
        rows: NDArray[np.intp],
        lines: NDArray[np.intp],
        baseline: Baseline,
        borrowed: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        """Rows with a record: score each point of the hold, and keep the least of them.

        lines: where each row stands in the baseline. Only rows that were off by what matters at
        every point are scored: on an ordinary tick that is few of them.
        """
        worse, matters = frame.signal.worse, frame.signal.matters
        expected = _expected(baseline, lines, grid.times)
        errors = signed(grid.now[rows] - expected, worse)
        off = np.isfinite(errors[:, -1]) & ~(errors < matters).any(axis=1)
        chosen = np.flatnonzero(off)
        if not len(chosen):
            return
        rows, lines, borrowed = rows[chosen], lines[chosen], borrowed[chosen]
        expected, errors = expected[chosen], errors[chosen]
        learned = unpack(baseline.arrays, lines)
        lately = signed(grid.lately[rows] - expected, worse)
        combined = (evidence(learned.now, errors) + evidence(learned.lately, lately)) / 2.0
        rarity = evidence(learned.worst, combined)
        held = np.where(np.isfinite(errors), rarity, np.inf).min(axis=1)
        cuts = self._cuts()
        margin = _margin(learned, cuts[Level.PAGE], matters)
        # A borrowed or short record is a guess at this row's ways: it may show and page, not act.
        cap = np.where(borrowed | (learned.days < 2.0), Level.PAGE, Level.ACT)
        cap = np.where(self._young(frame, rows), Level.WARN, cap)
        cap = np.minimum(cap, Level[self.highest.upper()])
        for k in np.flatnonzero(held >= cuts[Level.WARN]):
            level = Level(min(int(cap[k]), max(v for v, cut in cuts.items() if held[k] >= cut)))
            if errors[k, -1] < margin[k]:
                level = Level.WARN  # rare in its sum, but inside the band that charts draw
            middle = float(expected[k, -1])
            yield self._finding(
                frame, grid, int(rows[k]), level, float(held[k]), middle, float(margin[k])
            )

    def _young(self, frame: Frame, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Rows that began within the window and not long ago, (N,)."""
        there = np.isfinite(frame.values[rows])
        first = frame.times[np.argmax(there, axis=1)]
        lately = frame.times[-1] - first < self.young.total_seconds()
        young: NDArray[np.bool_] = lately & (first > frame.times[0])
        return young

    def _cold(self, frame: Frame, grid: Grid, rows: NDArray[np.intp]) -> Iterator[Finding]:
        """No record yet: against the row's own window, by robust deviations, never above page.

        The window must be half full, and the change both large for the row and for the fleet,
        so a first start among restless series stays quiet.
        """
        past = frame.values[rows][:, frame.times <= grid.times[0]].astype(np.float64)
        past = np.where(np.isfinite(past), past, np.nan)
        if past.shape[1] < 10:
            return
        middle = quiet_median(past)
        spread = 1.4826 * quiet_median(np.abs(past - middle[:, None]))
        swing = _swing(past)
        finite = swing[np.isfinite(swing)]
        fleet = float(np.median(finite)) if len(finite) else 0.0
        scale = np.maximum.reduce(
            [np.nan_to_num(spread), np.nan_to_num(swing) / 3.0, np.full(len(rows), fleet / 3.0)]
        )
        scale = np.maximum(scale, max(frame.signal.matters, 1e-9) / 4.0)
        enough = np.isfinite(past).sum(axis=1) >= 0.5 * past.shape[1]
        off = signed(grid.now[rows] - middle[:, None], frame.signal.worse)
        sigmas = np.where(np.isfinite(off), off, np.inf).min(axis=1) / scale
        current = np.isfinite(grid.now[rows, -1])
        hit = enough & current & np.isfinite(sigmas) & (sigmas * scale >= frame.signal.matters)
        for k in np.flatnonzero(hit & (sigmas >= self.cold_sigmas * 0.75)):
            level = Level.PAGE if sigmas[k] >= self.cold_sigmas else Level.WARN
            level = min(level, Level[self.highest.upper()])
            score = float(min(12.0, sigmas[k] / 2.0))
            margin = float(self.cold_sigmas * scale[k])
            yield self._finding(frame, grid, int(rows[k]), level, score, float(middle[k]), margin)

    def _cuts(self) -> dict[Level, float]:
        """Score that each level needs: its budget over the chances that a day has."""
        chances = DAY_S / BLOCK_S
        budgets = {
            Level.WARN: self.warn_per_day,
            Level.PAGE: self.page_per_day,
            Level.ACT: self.act_per_day,
        }
        return {level: -math.log10(min(0.5, per / chances)) for level, per in budgets.items()}

    def _finding(
        self,
        frame: Frame,
        grid: Grid,
        row: int,
        level: Level,
        score: float,
        middle: float,
        margin: float,
    ) -> Finding:
        signal = frame.signal
        seen = float(grid.now[row, -1])
        low = middle - (0.0 if signal.worse is Worse.UP and margin <= 0 else margin)
        if signal.unit in _NEVER_NEGATIVE:
            low = max(0.0, low)
        high = middle + margin
        since = _since(frame, row, low, high, signal.worse)
        change = f" ({(seen - middle) / abs(middle):+.0%})" if abs(middle) > 1e-9 else ""
        return Finding(
            target=frame.targets[row],
            signal=signal.name,
            detector="seasonal",
            level=level,
            since=moment(since),
            at=frame.end,
            observed=seen,
            expected_low=low,
            expected_high=high,
            score=score,
            unit=signal.unit,
            summary=(
                f"{title(signal)} {said(seen, signal.unit)}{change}, "
                f"expected {said(low, '')}–{said(high, signal.unit)}"
            ),
        )


_NEVER_NEGATIVE = frozenset(
    {"s", "bytes", "ratio", "percent", "requests", "requests/s", "tokens", "tokens/s", "watts"}
)


def _expected(baseline: Baseline, lines: NDArray[np.intp], times: Floats) -> Floats:
    """Profile (between its slots by a straight line) plus weekday offset, (N, K)."""
    anchor, slots = float(baseline.meta["anchor_s"]), int(baseline.meta["slots"])
    place = ((times - anchor) % DAY_S) / DAY_S * slots
    low = np.floor(place).astype(np.intp) % slots
    part = place - np.floor(place)
    profile, at = baseline.arrays["profile"], lines[:, None]
    between = profile[at, low] * (1.0 - part) + profile[at, (low + 1) % slots] * part
    weekday = np.floor((times - anchor) / DAY_S).astype(np.intp) % 7
    expected: Floats = between + baseline.arrays["week"][at, weekday]
    return expected


def _margin(learned: Learned, cut: float, matters: float) -> Floats:
    """Half-width of the band: about the error at which the page level is reached, (N,)."""
    tail = learned.now
    beyond = np.maximum(cut - 1.7, 0.0) * math.log(10.0)
    xi = np.maximum(tail.xi, 1e-6)
    far = tail.knots[:, -1] + tail.sigma * np.expm1(xi * beyond) / xi
    half: Floats = np.maximum(far, matters)
    return half


def _swing(past: Floats) -> Floats:
    """How far medians of thirds of the window lie apart, (N,): slow movement is no anomaly."""
    thirds = [quiet_median(part) for part in np.array_split(past, 3, axis=1)]
    stacked = np.column_stack(thirds)
    swing: Floats = np.where(
        np.isfinite(stacked).all(axis=1), stacked.max(axis=1) - stacked.min(axis=1), np.nan
    )
    return swing


def _since(frame: Frame, row: int, low: float, high: float, worse: Worse) -> float:
    """Start of the newest run of samples outside the band, gaps bridged."""
    values = frame.values[row]
    inside = np.isfinite(values)
    if worse is Worse.UP:
        inside &= values <= high
    elif worse is Worse.DOWN:
        inside &= values >= low
    else:
        inside &= (values >= low) & (values <= high)
    back = np.flatnonzero(inside)
    seen = np.flatnonzero(np.isfinite(values))  # a row cannot be off before it existed
    first = int(back[-1]) + 1 if len(back) else int(seen[0]) if len(seen) else 0
    return float(frame.times[min(first, len(frame.times) - 1)])
