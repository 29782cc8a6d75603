"""One signal of one target: what it is now, what it was before the incident, high or low.

Findings are believed first. Without one the newest minute is compared with the part of the
window before the onset, by median and median absolute deviation, and only a change that
matters to an operator counts. So evidence does not depend on a detector having fired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.target import Kind, Target
from healer.stages.evidence.sight import Scene, Series

NEWEST = timedelta(seconds=60)
"""What counts as now; at least three samples."""

STALE = timedelta(seconds=90)
"""Older than that (or five samples) is no longer news of the target."""

GUARD = timedelta(seconds=120)
"""Left out before the onset: rates and quantiles smear, and detectors speak late."""

FEWEST = 5
"""Samples needed before the onset to know what was usual."""

SHARED_S = 60
"""Onsets within the same minute look back on the same past."""

DEVIATIONS = 4.0
RELATIVE = 0.1
"""A change smaller than a tenth of the usual level is no change."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`state` is high, low, normal, missing or unknown."""

    state: str
    now: float | None = None
    before: float | None = None
    since: datetime | None = None
    unit: str = ""
    text: list[str] = field(default_factory=list, init=False, compare=False)
    """What it says, worked out when first cited: most readings never are, some many times."""

    def __str__(self) -> str:
        if not self.text:
            self.text.append(self._told())
        return self.text[0]

    def _told(self) -> str:
        if self.state == "missing":
            return f"no samples since {self.since:%H:%M:%S}" if self.since else "no samples"
        if self.now is None:
            return "not known"
        usual = "" if self.before is None else f", before {show(self.before, self.unit)}"
        return f"{show(self.now, self.unit)}{usual}"


def show(value: float, unit: str = "") -> str:
    """`412 tokens/s`, `92 %`: three significant digits."""
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    mark = {"percent": "%", "celsius": "°C", "watts": "W", "seconds": "s"}.get(unit, unit)
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {mark}".rstrip()


def read(scene: Scene, signal: str, target: Target) -> Reading:
    """How `signal` stands on `target`, as `scene` sees it; worked out once."""
    claims = scene.findings.get((target, signal), ())
    if claims:
        key = (signal, target)
        if key not in scene.readings:
            scene.readings[key] = _read(scene, signal, target, claims)
        found = scene.readings[key]
    else:
        # Without a claim of its own an incident sees what others of about the same onset see.
        shared = (signal, target, shared_onset(scene))
        if shared not in scene.sight.readings:
            scene.sight.readings[shared] = _read(scene, signal, target, ())
        found = scene.sight.readings[shared]
    assert isinstance(found, Reading)
    return found


def _read(scene: Scene, signal: str, target: Target, claims: tuple[Finding, ...]) -> Reading:
    current = next((f for f in claims if scene.is_current(f)), None)
    frame, row = scene.sight.frame(signal), scene.sight.row(signal, target)
    if frame is None or row is None:
        return _of_finding(current) if current else Reading("unknown")
    unit = frame.signal.unit
    present = np.isfinite(row)
    last = len(row) - 1 - int(present[::-1].argmax())
    times = frame.times
    if not present[last] or scene.now.timestamp() - times[last] > stale_s(frame):
        if current:
            return _of_finding(current)
        if not scene.sight.snapshot.metrics_ok or not present[last]:
            return Reading("unknown", unit=unit)
        return Reading("missing", since=_time(frame, last), unit=unit)
    whole = last == len(row) - 1
    first = window(scene, frame)[1] if whole else _newest(frame, last)
    now = middle_of(np.sort(row[first:][present[first:]]))
    usual = _usual(scene, frame, row, present, target)
    if current:
        before = None if usual is None else middle_of(usual)
        return Reading(_state(current, current.observed), now, before, current.since, unit)
    if usual is None:
        told = next((f for f in claims if math.isfinite(f.expected_low + f.expected_high)), None)
        state = _state(told, now) if told else "unknown"
        since = told.since if told and state != "normal" else None
        return Reading(state, now, None, since, unit)
    return _compare(frame, row, usual, now)


def window(scene: Scene, frame: Frame) -> tuple[int, int]:
    """(columns before which is what was usual, first column of what counts as now)."""
    key = id(frame.times)
    if key not in scene.windows:
        early = int(frame.times.searchsorted(usual_end(scene).timestamp(), side="right"))
        scene.windows[key] = early, _newest(frame, len(frame.times) - 1)
    return scene.windows[key]


def _newest(frame: Frame, last: int) -> int:
    return int(frame.times.searchsorted(frame.times[last] - newest_s(frame), side="right"))


def stale_s(frame: Frame) -> float:
    return max(STALE.total_seconds(), 5 * frame.step_s)


def newest_s(frame: Frame) -> float:
    return max(NEWEST.total_seconds(), 3 * frame.step_s)


def middle_of(ordered: Series) -> float:
    """Median of sorted values; numpy's own costs ten times as much on a hundred of them."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return float(ordered[half - 1] + ordered[half]) / 2


def _of_finding(finding: Finding) -> Reading:
    state = _state(finding, finding.observed)
    return Reading(state, finding.observed, None, finding.since, finding.unit)


def _state(finding: Finding, now: float) -> str:
    if now > finding.expected_high:
        return "high"
    return "low" if now < finding.expected_low else "normal"


def _usual(
    scene: Scene, frame: Frame, row: Series, present: NDArray[np.bool_], target: Target
) -> Series | None:
    """Sorted samples from before the onset; a young pod is measured by those it replaces."""
    early, _ = window(scene, frame)
    own = np.sort(row[:early][present[:early]])
    if len(own) >= FEWEST:
        return own
    if target.kind is not Kind.POD:
        return None
    pooled = predecessors(scene, frame.signal.name, target)[:, :early]
    pooled = np.sort(pooled[np.isfinite(pooled)])
    return pooled if len(pooled) >= FEWEST else None


def usual_end(scene: Scene) -> datetime:
    """Until when samples tell what was usual."""
    return min(scene.onset, scene.now - GUARD) - GUARD


def shared_onset(scene: Scene) -> int:
    """The minute up to which samples tell what was usual; scenes that share it share readings."""
    if scene.minute is None:
        scene.minute = int(usual_end(scene).timestamp()) // SHARED_S
    return scene.minute


def predecessors(scene: Scene, signal: str, pod: Target) -> Series:
    """Rows of all pods, gone ones too, of `pod`'s workload, shape (N, T)."""
    topology = scene.sight.topology
    rows = [
        scene.sight.named(signal, f"{revision.name}-", pod.namespace)
        for workload in topology.related(pod, Kind.WORKLOAD)
        for revision in topology.related(workload, Kind.REVISION)
    ]
    width = 0 if (frame := scene.sight.frame(signal)) is None else len(frame.times)
    kept = [each for each in rows if len(each)]
    return np.vstack(kept) if kept else np.empty((0, width))


def bounds(ordered: Series, matters: float) -> tuple[float, float, float]:
    """(low, middle, high) of sorted samples: outside of it is a deviation that matters.

    A change of exactly what matters does: one GPU of eight is gone.
    """
    middle = middle_of(ordered)
    spread = 1.4826 * middle_of(np.sort(np.abs(ordered - middle)))
    distance = max(matters, DEVIATIONS * spread, RELATIVE * abs(middle)) * (1 - 1e-6)
    tenth = (len(ordered) - 1) // 10
    bottom, top = float(ordered[tenth]), float(ordered[len(ordered) - 1 - tenth])
    return min(middle - distance, bottom), middle, max(middle + distance, top)


def _compare(frame: Frame, row: Series, usual: Series, now: float) -> Reading:
    unit = frame.signal.unit
    tenth = (len(usual) - 1) // 10
    if usual[tenth] <= now <= usual[len(usual) - 1 - tenth]:
        return Reading("normal", now, middle_of(usual), None, unit)
    low, middle, high = bounds(usual, frame.signal.matters)
    if low <= now <= high:
        return Reading("normal", now, middle, None, unit)
    within = row <= high if now > high else row >= low
    inside = within.nonzero()[0]
    first = int(inside[-1]) + 1 if len(inside) else 0
    since = _time(frame, min(first, len(row) - 1))
    return Reading("high" if now > high else "low", now, middle, since, unit)


def slope(
    scene: Scene, signal: str, target: Target, span: timedelta = timedelta(minutes=5)
) -> float | None:
    """Least-squares slope of the last minutes, per minute; None with too few samples."""
    frame, row = scene.sight.frame(signal), scene.sight.row(signal, target)
    if frame is None or row is None:
        return None
    keep = np.isfinite(row) & (frame.times > frame.times[-1] - span.total_seconds())
    if keep.sum() < FEWEST:
        return None
    minutes = (frame.times[keep] - frame.times[-1]) / 60
    minutes = minutes - minutes.mean()
    values = row[keep] - row[keep].mean()
    return float((minutes * values).sum() / (minutes**2).sum())


def _time(frame: Frame, column: int) -> datetime:
    return datetime.fromtimestamp(float(frame.times[column]), UTC)
