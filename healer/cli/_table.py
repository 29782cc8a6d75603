"""Reads a CSV of time series, and refuses what cannot be one with the number of its line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from healer.errors import BadInput

_BLANK = frozenset({"", "nan", "null", "none", "na", "n/a"})


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """stamps as they were written; times (T,) seconds since the epoch; values (T, C)."""

    stamps: tuple[str, ...]
    times: NDArray[np.float64]
    columns: tuple[str, ...]
    values: NDArray[np.float64]


def read_table(file: Path) -> Table:
    """Raises BadInput with file and line for a bad header, falling times and what is no number."""
    stamps: list[str] = []
    times: list[float] = []
    rows: list[list[float]] = []
    lines = _lines(file)
    columns = _header(file, next(lines, (1, []))[1])
    for line, cells in lines:
        if len(cells) != len(columns) + 1:
            raise BadInput(
                f"{len(columns) + 1} columns, as in the header",
                file=file,
                line=line,
                value=len(cells),
            )
        time = _time(file, line, cells[0])
        if times and time < times[-1]:
            raise BadInput(
                f"times that never fall (the line before has {stamps[-1]})",
                file=file,
                line=line,
                value=cells[0],
            )
        stamps.append(cells[0])
        times.append(time)
        rows.append([_number(file, line, n, c) for n, c in zip(columns, cells[1:], strict=True)])
    if not rows:
        raise BadInput("at least one row after the header", file=file, line=2)
    return Table(tuple(stamps), np.asarray(times), columns, np.asarray(rows))


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, its cells); empty lines are skipped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except OSError as error:
        raise BadInput(f"a readable file ({error.strerror})", file=file) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"UTF-8 text (byte {error.start})", file=file) from error
    except csv.Error as error:
        raise BadInput(f"CSV ({error})", file=file, line=reader.line_num) from error


def _header(file: Path, cells: list[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    if len(names) < 2 or names[0] != "timestamp" or names[1] != "value" or "" in names:
        raise BadInput(
            "header 'timestamp,value[,more columns]'", file=file, line=1, value=",".join(cells)
        )
    if len(set(names)) != len(names):
        raise BadInput("column names that differ", file=file, line=1, value=",".join(cells))
    return names[1:]


_EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Least number that counts nano-, micro- or milliseconds since 1970, and how many a second has."""


def _time(file: Path, line: int, text: str) -> float:
    """Seconds since the epoch, from ISO 8601 (UTC where no zone is) or a plain number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        unit = next((unit for least, unit in _EPOCH_UNITS if abs(number) >= least), 1.0)
        return number / unit
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(
            "an ISO 8601 time such as 2026-03-04T12:00:00Z, or seconds since 1970",
            file=file,
            line=line,
            path="timestamp",
            value=text,
        ) from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _number(file: Path, line: int, column: str, text: str) -> float:
    """Blank is missing, and so is an infinity: nothing can be measured against it."""
    if text.strip().lower() in _BLANK:
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise BadInput(
            "a number or nothing", file=file, line=line, path=column, value=text
        ) from error
    return value if math.isfinite(value) else math.nan
