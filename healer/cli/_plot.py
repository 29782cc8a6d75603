"""Draws a scored table: the series, its score below, flagged rows marked. No plotting library.

HTML holds an SVG and needs nothing from a network. PNG is drawn on a small canvas of our own.
Long series are drawn by the least and the most of each pixel, so no spike is lost.
"""

from __future__ import annotations

import html
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from healer.cli._table import Table
from healer.errors import BadInput

WIDTH, HEIGHT, SCORE_HEIGHT, EDGE = 1200, 320, 120, 10
Floats = NDArray[np.float64]


def draw(file: Path, table: Table, scores: NDArray[np.float64], flags: NDArray[np.bool_]) -> None:
    """Write the picture; its kind by the file's name. Raises BadInput where that cannot be."""
    try:
        if file.suffix.lower() == ".html":
            file.write_text(_page(file.stem, table, scores, flags), encoding="utf-8")
        else:
            file.write_bytes(_png(_canvas(table, scores, flags)))
    except OSError as error:
        raise BadInput(f"a file that can be written ({error.strerror})", file=file) from error


def _columns(times: Floats) -> NDArray[np.intp]:
    """Pixel column of each row."""
    span = max(float(times[-1] - times[0]), 1.0)
    columns: NDArray[np.intp] = np.rint((times - times[0]) / span * (WIDTH - 1)).astype(np.intp)
    return columns


def _extent(values: Floats, at: NDArray[np.intp], height: int) -> tuple[Floats, Floats]:
    """Highest and lowest pixel row of each column, NaN where it has no sample."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(WIDTH, np.nan), np.full(WIDTH, np.nan)
    low, high = float(values[known].min()), float(values[known].max())
    place = (values - low) / (high - low) if high > low else np.where(known, 0.5, np.nan)
    rows = EDGE + (1.0 - place) * (height - 2 * EDGE)
    top, bottom = np.full(WIDTH, np.inf), np.full(WIDTH, -np.inf)
    np.minimum.at(top, at[known], rows[known])
    np.maximum.at(bottom, at[known], rows[known])
    return np.where(np.isfinite(top), top, np.nan), np.where(np.isfinite(bottom), bottom, np.nan)


def _path(values: Floats, at: NDArray[np.intp], height: int) -> str:
    top, bottom = _extent(values, at, height)
    points = [f"{x},{top[x]:.1f} {x},{bottom[x]:.1f}" for x in np.flatnonzero(np.isfinite(top))]
    return " ".join(points)


def _page(title: str, table: Table, scores: Floats, flags: NDArray[np.bool_]) -> str:
    at = _columns(table.times)
    marks = "".join(
        f'<rect x="{x}" y="0" width="1" height="{HEIGHT}"/>' for x in np.unique(at[flags])
    )
    colours = ("#1f5fa8", "#4c8c3f", "#7a4fa3", "#a8741f", "#3f8c8c", "#8c3f6d")
    lines = "".join(
        f'<polyline points="{_path(column, at, HEIGHT)}" stroke="{colours[i % len(colours)]}">'
        f"<title>{html.escape(name)}</title></polyline>"
        for i, (name, column) in enumerate(zip(table.columns, table.values.T, strict=True))
    )
    named = html.escape(", ".join(table.columns))
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:14px sans-serif;margin:2em}svg{width:100%;border:1px solid #ccc}"
        "polyline{fill:none;stroke-width:1}rect{fill:#d62728;opacity:.35}</style>"
        f"<h1>{html.escape(title)}</h1><p>{named}; {int(flags.sum())} of {len(flags)} rows "
        f"flagged; {html.escape(table.stamps[0])} to {html.escape(table.stamps[-1])}</p>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">{marks}{lines}</svg>'
        f"<p>score, 0 to {float(scores.max()):.2f}</p>"
        f'<svg viewBox="0 0 {WIDTH} {SCORE_HEIGHT}" preserveAspectRatio="none">'
        f'<polyline stroke="#444" points="{_path(scores, at, SCORE_HEIGHT)}"/></svg>\n'
    )


def _canvas(table: Table, scores: Floats, flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    canvas = np.full((HEIGHT + SCORE_HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    at = _columns(table.times)
    canvas[:HEIGHT, np.unique(at[flags])] = (245, 190, 190)
    for column in table.values.T:
        _trace(canvas[:HEIGHT], column, at, (31, 95, 168))
    canvas[HEIGHT] = 200
    _trace(canvas[HEIGHT:], scores, at, (68, 68, 68))
    return canvas


def _trace(
    area: NDArray[np.uint8], values: Floats, at: NDArray[np.intp], colour: tuple[int, int, int]
) -> None:
    """Vertical strokes that overlap with the column before, so that a line stays a line."""
    top, bottom = _extent(values, at, len(area))
    before: tuple[float, float] | None = None
    for x in np.flatnonzero(np.isfinite(top)):
        high, low = float(top[x]), float(bottom[x])
        if before is not None:
            high, low = min(high, before[1]), max(low, before[0])
        area[int(high) : int(low) + 1, x] = colour
        before = (float(top[x]), float(bottom[x]))


def _png(canvas: NDArray[np.uint8]) -> bytes:
    """The eight-bit RGB image as a PNG file."""
    height, width, _ = canvas.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    lines = np.concatenate(
        [np.zeros((height, 1), dtype=np.uint8), canvas.reshape(height, width * 3)], axis=1
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + chunk(b"IEND", b"")
    )
