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

from detectors._common import fresh_s, moment, said, title
from detectors._learned import (
    BLOCK_S,
    LATELY_S,
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
        grid = _grid(frame, self.hold.total_seconds(), spacing)
        if baseline is None:
            yield from self._cold(frame, grid, np.arange(len(frame)))
            return
        index = {str(key): i for i, key in enumerate(baseline.arrays["keys"])}
        keys = row_keys(frame)
        days = baseline.arrays["days"]
        own = np.asarray([index.get(key, -1) for key in keys], dtype=np.intp)
        own = np.where((own >= 0) & (days[own] > 0), own, -1)
        lent = np.asarray([index.get(stem(t), -1) for t in frame.targets], dtype=np.intp)
        rows = np.where(own >= 0, own, lent)
        known = np.flatnonzero(rows >= 0)
        if len(known):
            learned = unpack(baseline.arrays, rows[known])
            yield from self._judge(frame, grid, known, learned, baseline, own[known] < 0)
        strangers = np.flatnonzero(rows < 0)
        if len(strangers):
            yield from self._cold(frame, grid, strangers)

    def _judge(
        self,
        frame: Frame,
        grid: _Grid,
        rows: NDArray[np.intp],
        learned: Learned,
        baseline: Baseline,
        borrowed: NDArray[np.bool_],
    ) -> Iterator[Finding]:
        """Rows with a record: score each minute of the hold, and keep the least of them."""
        worse, matters = frame.signal.worse, frame.signal.matters
        expected = _expected(learned, grid.times, baseline)
        errors = signed(grid.now[rows] - expected, worse)
        lately = signed(grid.lately[rows] - expected, worse)
        combined = (evidence(learned.now, errors) + evidence(learned.lately, lately)) / 2.0
        rarity = evidence(learned.worst, combined)
        rarity = np.where(np.isfinite(errors) & (errors >= matters), rarity, 0.0)
        held = np.where(np.isfinite(grid.now[rows]), rarity, np.inf).min(axis=1)
        held = np.where(np.isfinite(grid.now[rows, -1]), held, 0.0)
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

    def _cold(self, frame: Frame, grid: _Grid, rows: NDArray[np.intp]) -> Iterator[Finding]:
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
        grid: _Grid,
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


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """What is judged, at the spacing of the record. times: (K,), from one hold ago until now;
    now: (N, K), the newest sample of the minute that ends then; lately: (N, K), means over the
    15 minutes before."""

    times: Floats
    now: Floats
    lately: Floats


def _grid(frame: Frame, hold_s: float, spacing_s: float) -> _Grid:
    """Samples as far apart as those of the record were: a mean over more of them would be
    calmer than the record knows, and a false alarm rarer than its budget.

    The newest may be as old as a missed scrape; elsewhere a minute without a sample is NaN.
    """
    step, count = max(frame.step_s, 1.0), frame.values.shape[1]
    apart = max(1, round(max(spacing_s, 60.0, step) / step))
    number = max(1, round(LATELY_S / (apart * step)))
    hold = max(0, min(round(hold_s / step), count - 1))
    lags = np.unique(np.r_[np.arange(0, hold, min(apart, max(hold, 1))), hold])[::-1]
    width = max(1, round(60.0 / step))
    wanted = np.unique(lags[:, None] + apart * np.arange(number)[None, :])
    wanted = wanted[wanted < count]
    fresh = max(width, round(fresh_s(frame) / step))
    seen = {
        int(lag): _newest(frame.values, count - int(lag), width if lag else fresh)
        for lag in wanted
    }
    lately = np.column_stack(
        [_mean([seen[k] for k in lag + apart * np.arange(number) if k in seen]) for lag in lags]
    )
    now = np.column_stack([seen[int(lag)] for lag in lags])
    return _Grid(frame.times[count - 1 - lags], now, lately)


def _newest(values: NDArray[np.float32], end: int, width: int) -> Floats:
    """The newest finite one of the `width` columns before `end`, (N,)."""
    newest = values[:, end - 1].astype(np.float64)
    for column in range(end - 2, max(end - width, 0) - 1, -1):
        missing = ~np.isfinite(newest)
        if not missing.any():
            break
        newest = np.where(missing, values[:, column], newest)
    return np.where(np.isfinite(newest), newest, np.nan)


def _mean(columns: list[Floats]) -> Floats:
    table = np.stack(columns)
    known = np.isfinite(table)
    total = np.where(known, table, 0.0).sum(axis=0)
    number = known.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _expected(learned: Learned, times: Floats, baseline: Baseline) -> Floats:
    """Profile (between its slots by a straight line) plus weekday offset, (N, K)."""
    anchor, slots = float(baseline.meta["anchor_s"]), int(baseline.meta["slots"])
    place = ((times - anchor) % DAY_S) / DAY_S * slots
    low = np.floor(place).astype(np.intp) % slots
    part = place - np.floor(place)
    profile = learned.profile
    between = profile[:, low] * (1.0 - part) + profile[:, (low + 1) % slots] * part
    weekday = np.floor((times - anchor) / DAY_S).astype(np.intp) % 7
    expected: Floats = between + learned.week[:, weekday]
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
