"""What one chart shows: a signal, what was expected, when it was off, what we did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.model.target import Target

MOST = 6
"""Charts an incident shows: more are scrolled past."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One signal of one target over time.

    times are seconds since the epoch, rising; values, low and high are in `unit`, one a time,
    NaN where nothing was seen. low and high may be empty: nothing was expected.
    """

    signal: str
    target: str
    unit: str
    times: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    """(from, to) of each anomaly, seconds since the epoch."""
    markers: tuple[tuple[float, str], ...] = ()
    """(moment, what was done or happened)."""
    title: str = ""
    title_zh: str = ""


def charts_of(
    incident: Incident,
    intents: Sequence[Intent],
    frames: Mapping[str, Frame],
    most: int = MOST,
) -> tuple[Chart, ...]:
    """Charts of the incident's findings, strongest first, from frames that hold their rows.

    A finding whose frame or row is not there has no chart.
    """
    marks = action_markers(intents)
    charts: list[Chart] = []
    seen: set[tuple[str, Target]] = set()
    for finding in sorted(incident.findings, key=lambda f: (-f.level, -f.score)):
        place = (finding.signal, finding.target)
        frame = frames.get(finding.signal)
        row = frame.row(finding.target) if frame is not None else None
        if place in seen or frame is None or row is None:
            continue
        seen.add(place)
        same = [f for f in incident.findings if (f.signal, f.target) == place]
        charts.append(_chart(frame, [float(v) for v in row], same, marks))
        if len(charts) == most:
            break
    return tuple(charts)


def action_markers(intents: Sequence[Intent]) -> tuple[tuple[float, str], ...]:
    """When each action was sent, or its result known, with what a chart writes beside it."""
    marks: list[tuple[float, str]] = []
    for intent in intents:
        for step in intent.steps:
            moment: datetime | None = step.sent_at or (step.receipt.at if step.receipt else None)
            if moment is not None and step.action.verb != "escalate":
                marks.append((moment.timestamp(), step.action.verb))
        if intent.outcome is not None:
            marks.append((intent.outcome.at.timestamp(), intent.outcome.effect.value))
    return tuple(sorted(marks))


def _chart(
    frame: Frame,
    values: list[float],
    findings: Sequence[Finding],
    marks: tuple[tuple[float, str], ...],
) -> Chart:
    times = tuple(float(t) for t in frame.times)
    newest = max(findings, key=lambda f: f.at)
    low, high = newest.expected_low, newest.expected_high
    banded = math.isfinite(low) or math.isfinite(high)
    start, end = (times[0], times[-1]) if times else (0.0, 0.0)
    return Chart(
        signal=frame.signal.name,
        target=str(newest.target),
        unit=frame.signal.unit,
        times=times,
        values=tuple(values),
        low=(low,) * len(times) if banded else (),
        high=(high,) * len(times) if banded else (),
        spans=tuple((f.since.timestamp(), f.at.timestamp()) for f in findings),
        markers=tuple((at, what) for at, what in marks if start <= at <= end),
        title=frame.signal.title,
        title_zh=frame.signal.title_zh,
    )
