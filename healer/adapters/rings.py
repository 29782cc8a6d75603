"""The recent past of one signal, fed with only what is new.

A tick asks Prometheus for the last few steps and keeps the rest here. The newest steps
are asked again, because samples arrive late; a row that has no sample left is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from sys import intern

import numpy as np
from numpy.typing import NDArray

from healer.ports import Matrix

REREAD_STEPS = 3
"""How many of the newest steps are asked again on the next tick."""

_Key = tuple[tuple[str, str], ...]


class Ring:
    """Series over a window that slides in whole steps. The grid is multiples of the step."""

    def __init__(self, window: timedelta, step: timedelta) -> None:
        self._step_s = step.total_seconds()
        self._columns = max(2, round(window / step) + 1)
        self._end_s: float | None = None
        self._values = np.empty((0, self._columns), np.float32)
        self._row_of: dict[_Key, int] = {}
        """In the order of the rows, as are the labels."""
        self._labels: tuple[Mapping[str, str], ...] = ()

    def missing(self, now: datetime) -> tuple[datetime, datetime]:
        """The span to ask for at `now`, both ends included and on the grid."""
        end_s = self._floor(now)
        start_s = end_s - (self._columns - 1) * self._step_s
        if self._end_s is not None and start_s <= self._end_s <= end_s:
            start_s = max(start_s, self._end_s - REREAD_STEPS * self._step_s)
        return datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC)

    def take(self, answer: Matrix, start: datetime, end: datetime) -> None:
        """Lay the answer for `missing`'s span over what is known; it is right where both are."""
        first = self._slide_to(end.timestamp(), start.timestamp())
        self._values[:, first:] = np.nan
        keys = [tuple(sorted(labels.items())) for labels in answer.labels]
        fresh = [key for key in dict.fromkeys(keys) if key not in self._row_of]
        if fresh:
            more = np.full((len(fresh), self._columns), np.nan, np.float32)
            self._values = np.concatenate([self._values, more])
            self._know([*self._row_of, *map(_interned, fresh)])
        if keys and len(answer.times):
            columns = self._columns_of(answer.times)
            inside = (columns >= first) & (columns < self._columns)
            rows = np.array([self._row_of[key] for key in keys])
            self._values[np.ix_(rows, columns[inside])] = answer.values[:, inside]
        self._forget_empty()

    def matrix(self, now: datetime) -> Matrix:
        """The window that ends at `now`; NaN where nothing was answered."""
        end_s = self._floor(now)
        times = end_s + self._step_s * np.arange(1 - self._columns, 1, dtype=np.float64)
        values = np.full(self._values.shape, np.nan)
        if self._end_s is not None:
            late = round((end_s - self._end_s) / self._step_s)
            if 0 <= late < self._columns:
                values[:, : self._columns - late] = self._values[:, late:]
        return Matrix(times, values, self._labels)

    def _floor(self, now: datetime) -> float:
        return float(np.floor(now.timestamp() / self._step_s) * self._step_s)

    def _slide_to(self, end_s: float, start_s: float) -> int:
        """Make room for columns up to `end_s`; returns the column of `start_s`."""
        shift = (
            self._columns if self._end_s is None else round((end_s - self._end_s) / self._step_s)
        )
        if shift < 0 or shift >= self._columns:
            # The clock went back, or the gap is longer than the window: begin anew.
            self._values[:] = np.nan
        elif shift:
            self._values[:, :-shift] = self._values[:, shift:].copy()
            self._values[:, -shift:] = np.nan
        self._end_s = end_s
        return max(0, self._columns - 1 - round((end_s - start_s) / self._step_s))

    def _columns_of(self, times: NDArray[np.float64]) -> NDArray[np.intp]:
        assert self._end_s is not None
        return self._columns - 1 - np.rint((self._end_s - times) / self._step_s).astype(np.intp)

    def _forget_empty(self) -> None:
        alive = np.flatnonzero(np.isfinite(self._values).any(axis=1))
        if len(alive) < len(self._values):
            self._values = self._values[alive]
            keys = list(self._row_of)
            self._know([keys[at] for at in alive])

    def _know(self, keys: Sequence[_Key]) -> None:
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._labels = tuple(dict(key) for key in keys)


def _interned(key: _Key) -> _Key:
    """Ten thousand rows share few label values: each is held once."""
    return tuple((intern(name), intern(value)) for name, value in key)
