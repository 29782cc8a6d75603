"""A level that moved and stayed there, and when.

A deployment, a changed limit, a neighbour that moved in: the value does not leave for a moment,
it settles somewhere else. Knowing the minute of the step is what ties it to the rollout of that
minute. How large a step has to be is learned from the series itself: larger than it steps of
its own on almost any day. A shift is news for as long as the step lies within the window, and
then the new level is what the series is like.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import LEVEL, LevelName, is_fresh, moment, said, title
from detectors._kin import row_names
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.ports import Baseline, Detector
from healer.values import Span

Floats = NDArray[np.float64]

_ROOM = 1.25
"""A step must be that much larger than the largest of its own that the series usually makes."""
_USUAL_SHARE = 0.999
_MIN_HISTORY_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Changepoint(Detector):
    """Speaks of rows whose level before and after one moment differ, both being steady."""

    settle: Span = timedelta(minutes=6)
    """How long the new level must have lasted; the old one, twice as long before."""

    distance: float = 8.0
    """How many spreads within the two levels the step must measure."""

    least: float = 2.0
    """How many times what matters the step must measure before its usual steps are learned."""

    level: LevelName = "warn"
    """warn, page or act. A change is no fault by itself."""

    history: ClassVar[timedelta | None] = timedelta(days=2)
    history_step: ClassVar[timedelta] = timedelta(minutes=2)

    def fit(self, frame: Frame) -> Baseline | None:
        """The steps that each row makes of its own: difference of neighbouring medians."""
        if len(frame.times) < 2 or frame.times[-1] - frame.times[0] < _MIN_HISTORY_S:
            return None
        width = max(1, round(self.settle.total_seconds() / frame.step_s))
        steps = np.abs(_steps(frame.values, width))
        enough = np.isfinite(steps).sum(axis=1) * frame.step_s >= _MIN_HISTORY_S
        usual = np.full(len(frame), np.nan)
        if enough.any():
            usual[enough] = np.nanquantile(steps[enough], _USUAL_SHARE, axis=1)
        meta = {"rows": row_names(frame), "settle_s": self.settle.total_seconds()}
        return Baseline(
            "changepoint", frame.signal.name, self.version, frame.end, {"usual": usual}, meta
        )

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        settle = max(4, round(self.settle.total_seconds() / frame.step_s)) if frame.step_s else 0
        if not settle or len(frame.times) < 3 * settle:
            return
        usual = self._usual(frame, baseline)
        rows = np.flatnonzero(is_fresh(frame) & _moved(frame, settle))
        values = frame.values[rows].astype(np.float64)
        for i, row in zip(rows, values, strict=True):
            found = _split(row, settle)
            if found is None:
                continue
            at, before, after, spread = found
            step = after - before
            matters = frame.signal.matters
            known = np.isfinite(usual[i])
            least = max(matters, _ROOM * usual[i]) if known else self.least * matters
            if abs(step) < max(least, self.distance * spread) or not _is_worse(
                frame.signal.worse, step
            ):
                continue
            yield self._finding(frame, int(i), float(frame.times[at]), before, after, spread)

    def _usual(self, frame: Frame, baseline: Baseline | None) -> Floats:
        """Each row's usual largest step, NaN where it is not known, (N,)."""
        if baseline is None or baseline.meta["settle_s"] != self.settle.total_seconds():
            return np.full(len(frame), np.nan)
        at = dict(zip(baseline.meta["rows"], baseline.arrays["usual"], strict=True))
        return np.array([at.get(name, np.nan) for name in row_names(frame)], np.float64)

    def _finding(
        self, frame: Frame, i: int, since: float, before: float, after: float, spread: float
    ) -> Finding:
        unit = frame.signal.unit
        reach = max(3 * spread, frame.signal.matters / 2)
        minutes = (float(frame.times[-1]) - since) / 60
        return Finding(
            target=frame.targets[i],
            signal=frame.signal.name,
            detector="changepoint",
            level=LEVEL[self.level],
            since=moment(since),
            at=frame.end,
            observed=after,
            expected_low=before - reach,
            expected_high=before + reach,
            score=2.5,
            unit=unit,
            summary=f"{title(frame.signal)} moved from {said(before, unit)} to "
            f"{said(after, unit)} {minutes:.0f} min ago and stayed",
        )


def _moved(frame: Frame, settle: int) -> NDArray[np.bool_]:
    """Rows worth a closer look: the newest level differs from that of the oldest stretch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        old = np.nanmean(frame.values[:, :settle], axis=1)
        new = np.nanmean(frame.values[:, -settle:], axis=1)
    moved: NDArray[np.bool_] = np.abs(new - old) >= frame.signal.matters / 2
    return moved


def _split(row: Floats, settle: int) -> tuple[int, float, float, float] | None:
    """(column, median before, median after, spread within both) of the best split, or None.

    The split with the least absolute deviation from two levels, which a few wild samples do
    not move. Both sides must be steady: their own halves agree, or it is a ramp or a spike.
    """
    have = np.flatnonzero(np.isfinite(row))
    if len(have) < 2 * settle:
        return None
    seen = row[have]
    splits = np.arange(2 * settle, len(seen) - settle + 1)
    if not len(splits):
        return None
    centred = np.clip(seen - np.median(seen), *np.quantile(seen - np.median(seen), (0.05, 0.95)))
    sums = np.r_[0.0, np.cumsum(centred)]
    gain = sums[splits] ** 2 / splits + (sums[-1] - sums[splits]) ** 2 / (len(seen) - splits)
    cut = int(splits[int(np.argmax(gain))])
    old, new = seen[:cut], seen[cut:]
    before, after = float(np.median(old)), float(np.median(new))
    spread = 1.4826 * float(np.median(np.abs(np.r_[old - before, new - after])))
    step = abs(after - before)
    halves = (np.array_split(old, 2), np.array_split(new, 2))
    drift = max(abs(float(np.median(a) - np.median(b))) for a, b in halves)
    if drift > step / 4 or spread > step / 4:
        return None
    return int(have[cut]), before, after, spread


def _is_worse(worse: Worse, step: float) -> bool:
    return worse is Worse.BOTH or (step > 0) == (worse is Worse.UP)


def _steps(values: NDArray[np.float32], width: int) -> Floats:
    """Median of the next `width` columns less that of the last ones, (N, about T/width·2)."""
    count = values.shape[1]
    starts = np.arange(width, count - width + 1, max(1, width // 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = [
            np.nanmedian(values[:, at : at + width], axis=1)
            - np.nanmedian(values[:, at - width : at], axis=1)
            for at in starts
        ]
    return np.array(found, np.float64).T.reshape(len(values), len(starts))
