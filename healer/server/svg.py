"""One chart as inline SVG: the line, the expected band, when it was off, what we did.

No script and no style attributes, so it stands under a strict content policy and prints. Colours
come from the page's stylesheet by class, so it follows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from healer.server.charts import Chart
from healer.wording import name, say

WIDTH, HEIGHT = 720, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 24
MOST_POINTS = 1000


@dataclass(frozen=True, slots=True)
class _Axes:
    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (min(max(at, self.start), self.end) - self.start) / (self.end - self.start)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def render_svg(chart: Chart, language: str, zone: str = "UTC") -> str:
    """Markup safe to put into a page: everything from outside is escaped."""
    thin = max(1, math.ceil(len(chart.times) / MOST_POINTS))
    title = (chart.title_zh if language == "zh" else "") or chart.title or chart.signal
    label = f"{title} · {chart.target}"
    head = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}" preserveAspectRatio="xMidYMid meet">'
        f"<title>{escape(label)}</title>"
    )
    seen = [v for v in chart.values if math.isfinite(v)]
    if not seen or len(chart.times) < 2:
        text = escape(say("page.no_charts", language))
        return f'{head}<text x="{WIDTH / 2}" y="{HEIGHT / 2}" class="mid">{text}</text></svg>'
    axes = _axes(chart, seen)
    parts = [
        head,
        *_spans(chart, axes, say("page.anomaly", language)),
        *_grid(axes, chart.unit, ZoneInfo(zone)),
        *_band(chart, axes, thin),
        *(f'<path class="line" d="{path}"/>' for path in _paths(chart, axes, thin)),
        *_markers(chart, axes, language),
        "</svg>",
    ]
    return "".join(parts)


def _axes(chart: Chart, seen: Sequence[float]) -> _Axes:
    """The band is shown as far as it helps: it may not squeeze the line into one pixel."""
    edges = [v for v in (*chart.low, *chart.high) if math.isfinite(v)]
    low, high = min(seen), max(seen)
    reach = max(high - low, abs(high) * 0.1, 1e-9)
    close = [e for e in edges if low - 2 * reach <= e <= high + 2 * reach]
    low, high = min([low, *close]), max([high, *close])
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    room = max(high - low, abs(high) * 0.02, 1e-9) * 0.08
    return _Axes(chart.times[0], chart.times[-1], low if low == 0 else low - room, high + room)


def _grid(axes: _Axes, unit: str, zone: ZoneInfo) -> Iterator[str]:
    for value in ticks(axes.low, axes.high, 4):
        y = axes.y(value)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{human(value)}</text>'
    yield f'<text class="tick" x="4" y="14">{escape(unit)}</text>'
    step = _time_step(axes.end - axes.start)
    at = math.ceil(axes.start / step) * step
    while at <= axes.end:
        x = axes.x(at)
        moment = datetime.fromtimestamp(at, zone)
        text = moment.strftime("%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%m-%d")
        yield f'<path class="grid" d="M{x:.1f} {HEIGHT - BOTTOM}v4"/>'
        side = "end" if x > WIDTH - RIGHT - 14 else "mid"
        place = min(x, WIDTH - 2) if side == "mid" else WIDTH - 2
        yield f'<text class="tick {side}" x="{place:.1f}" y="{HEIGHT - 6}">{text}</text>'
        at += step


def _spans(chart: Chart, axes: _Axes, title: str) -> Iterator[str]:
    for start, end in _merged(chart.spans):
        if end < axes.start or start > axes.end:
            continue
        x = axes.x(start)
        width = max(axes.x(end) - x, 2.0)
        yield (
            f'<rect class="span" x="{x:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(title)}</title></rect>'
        )


def _band(chart: Chart, axes: _Axes, thin: int) -> Iterator[str]:
    if not chart.low or not chart.high:
        return
    rows = list(zip(chart.times, chart.low, chart.high, strict=True))[::thin]
    above = [(axes.x(t), axes.y(h if math.isfinite(h) else axes.high)) for t, _, h in rows]
    below = [(axes.x(t), axes.y(lo if math.isfinite(lo) else axes.low)) for t, lo, _ in rows]
    outline = [*_corners(above), *reversed(_corners(below))]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
    yield f'<polygon class="band" points="{points}"/>'


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the points inside a level stretch: a constant band needs two."""
    last = len(points) - 1
    return [
        p
        for i, p in enumerate(points)
        if i in (0, last) or not points[i - 1][1] == p[1] == points[i + 1][1]
    ]


def _paths(chart: Chart, axes: _Axes, thin: int) -> Iterator[str]:
    """One path for each unbroken run: a gap is a gap."""
    run: list[str] = []
    for at, value in list(zip(chart.times, chart.values, strict=True))[::thin]:
        if math.isfinite(value):
            run.append(f"{axes.x(at):.1f} {axes.y(value):.1f}")
        elif run:
            yield _path(run)
            run = []
    if run:
        yield _path(run)


def _path(run: Sequence[str]) -> str:
    return "M" + "L".join(run) if len(run) > 1 else f"M{run[0]}h1.5"


def _markers(chart: Chart, axes: _Axes, language: str) -> Iterator[str]:
    free = -1e9
    for at, what in chart.markers:
        if not axes.start <= at <= axes.end:
            continue
        x = axes.x(at)
        text = name("verb", what, language)
        text = name("effect", what, language) if text == what else text
        mark = f"M{x:.1f} {TOP - 6}V{HEIGHT - BOTTOM}"
        yield f'<path class="mark" d="{mark}"><title>{escape(text)}</title></path>'
        if x - free > 8:
            end = x > WIDTH - 150
            side = ' end"' if end else '"'
            place = x - 4 if end else x + 4
            yield f'<text class="marker{side} x="{place:.1f}" y="{TOP - 9}">{escape(text)}</text>'
            free = x + 7 * len(text)


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers inside [low, high], at most about `most` of them."""
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= raw)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def human(value: float) -> str:
    """`12.5k`: short enough for an axis."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"


def _time_step(length_s: float) -> float:
    for step in (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200):
        if length_s / step <= 8:
            return float(step)
    return 86400.0 * max(1, math.ceil(length_s / 86400 / 8))
