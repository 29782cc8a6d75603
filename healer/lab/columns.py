"""Matrices of samples behind `Tsdb`: rows are series, columns are times.

Two NaN patterns have a meaning: Prometheus' staleness marker, and one of our own for a cell
without a sample. They are told from an ordinary NaN by their bits, so samples are copied and
never computed with before the patterns are sorted out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

STALE_BITS = np.uint64(0x7FF0000000000002)
"""Prometheus' own pattern."""
ABSENT_BITS = np.uint64(0x7FF00000000000AB)

COLUMNS = 240
"""Of one chunk: an hour at 15 s. A series that died costs no more than its last chunk."""

REMEMBERED = 1024
"""Sets of series that something is remembered about: few questions come, and come again."""

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was worked out about sets of series, until it is no longer true."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[bytes, T] = {}

    def of(self, handles: NDArray[np.int64], work: Callable[[NDArray[np.int64]], T]) -> T:
        key = handles.tobytes()
        if key not in self._kept:
            if len(self._kept) >= REMEMBERED:
                self._kept.clear()
            self._kept[key] = work(handles)
        return self._kept[key]

    def clear(self) -> None:
        self._kept.clear()


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    marked: NDArray[np.bool_] = values.view(np.uint64) == STALE_BITS
    return marked


def is_absent(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    marked: NDArray[np.bool_] = values.view(np.uint64) == ABSENT_BITS
    return marked


def stale_values(count: int) -> NDArray[np.float64]:
    return np.full(count, STALE_BITS).view(np.float64)


def absent_values(rows: int, columns: int) -> NDArray[np.float64]:
    return np.full((rows, columns), ABSENT_BITS).view(np.float64)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Series with common times."""

    handles: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    """[len(handles), len(times_ms)], C-contiguous."""


class Chunk:
    """A matrix that grows by rows, and by columns up to its capacity."""

    __slots__ = ("_asked", "_handles", "_order", "_times_ms", "_values", "_written", "length")

    def __init__(self, rows: int, columns: int = COLUMNS) -> None:
        self._times_ms = np.zeros(columns, np.int64)
        self._values = absent_values(rows, columns)
        self._handles = np.zeros(0, np.int64)
        """Of the rows in use."""
        self._order = np.zeros(0, np.int64)
        """Sorts them."""
        self._written = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        """Handles and rows of the last scrape: most often the next one has the same."""
        self._asked = Remembered[tuple[NDArray[np.int64], bool]]()
        """Answers of `rows_of`, until a row is added."""
        self.length = 0
        """Columns in use."""

    @classmethod
    def of(
        cls,
        times_ms: NDArray[np.int64],
        handles: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> Chunk:
        """A full one; NaN is a cell without a sample."""
        chunk = cls(len(handles), len(times_ms))
        chunk._times_ms[:] = times_ms
        rows = chunk.rows_for(handles)
        chunk._values[rows] = values
        chunk._values.view(np.uint64)[np.isnan(chunk._values)] = ABSENT_BITS
        chunk.length = len(times_ms)
        return chunk

    @property
    def first_ms(self) -> int:
        return int(self._times_ms[0])

    @property
    def last_ms(self) -> int:
        return int(self._times_ms[self.length - 1])

    @property
    def full(self) -> bool:
        return self.length == len(self._times_ms)

    def rows_of(self, handles: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
        """-1 for a series that is not in here, and whether all of them are."""
        return self._asked.of(handles, self._rows_and_whether_all)

    def _rows_and_whether_all(self, handles: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
        rows = self._rows_of(handles)
        return rows, bool((rows >= 0).all())

    def _rows_of(self, handles: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(self._handles):
            return np.full(len(handles), -1, np.int64)
        near = np.searchsorted(self._handles, handles, sorter=self._order)
        rows = self._order[np.minimum(near, len(self._order) - 1)]
        found: NDArray[np.int64] = np.where(self._handles[rows] == handles, rows, -1)
        return found

    def rows_for(self, handles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Like `rows_of`, with a row made for every series that has none."""
        if np.array_equal(self._written[0], handles):
            return self._written[1]
        new = handles[self._rows_of(handles) < 0]
        if len(new):
            self._asked.clear()
            self._handles = np.concatenate([self._handles, new])
            self._order = np.argsort(self._handles)
            need = len(self._handles)
            if need > len(self._values):
                extra = max(need, len(self._values) * 3 // 2) - len(self._values)
                more = absent_values(extra, len(self._times_ms))
                self._values = np.concatenate([self._values, more])
        rows = self._rows_of(handles)
        self._written = (handles.copy(), rows)
        return rows

    def write(self, at_ms: int, handles: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if not self.length or self.last_ms != at_ms:
            self._times_ms[self.length] = at_ms
            self.length += 1
        rows = self.rows_for(handles)  # may replace the matrix by a larger one
        self._values[rows, self.length - 1] = values

    def span(self, start_ms: int, end_ms: int) -> slice:
        times = self._times_ms[: self.length]
        return slice(
            int(times.searchsorted(start_ms, "left")), int(times.searchsorted(end_ms, "right"))
        )

    def cut(
        self, rows: NDArray[np.int64], span: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Copies: the writer goes on while the reader computes."""
        return self._times_ms[span].copy(), self._values[rows, span]


class Lane:
    """Series that are scraped together, in chunks one after another."""

    __slots__ = ("chunks",)

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def append(self, at_ms: int, handles: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        newest = self.chunks[-1] if self.chunks else None
        if newest is not None and at_ms < newest.last_ms:
            raise ValueError(f"a scrape at {at_ms} ms comes after one at {newest.last_ms} ms")
        if newest is None or (newest.full and newest.last_ms != at_ms):
            newest = Chunk(len(handles))
            self.chunks.append(newest)
        newest.write(at_ms, handles, values)

    def between(self, start_ms: int, end_ms: int) -> list[Chunk]:
        """Looked for from the newest: most questions are about now."""
        found = []
        for chunk in reversed(self.chunks):
            if chunk.last_ms < start_ms:
                break
            if chunk.first_ms <= end_ms:
                found.append(chunk)
        return found

    def forget(self, before_ms: int) -> None:
        while len(self.chunks) > 1 and self.chunks[0].last_ms < before_ms:
            del self.chunks[0]


def gather(
    chunks: Sequence[Chunk], handles: NDArray[np.int64], start_ms: int, end_ms: int
) -> list[Bundle]:
    """The samples of these series, ascending, in that span; series found in the same chunks
    together."""
    spans = [
        (chunk, span)
        for chunk in sorted((each for each in chunks if each.length), key=lambda c: c.first_ms)
        if (span := chunk.span(start_ms, end_ms)).start < span.stop
    ]
    if not spans or not len(handles):
        return []
    found = [chunk.rows_of(handles) for chunk, _ in spans]
    if all(everything for _, everything in found):  # most questions
        cuts = [
            chunk.cut(rows, span) for (chunk, span), (rows, _) in zip(spans, found, strict=True)
        ]
        return [_joined(handles, cuts)]
    rows = np.stack([each for each, _ in found])
    held = (rows >= 0).T
    bundles = []
    for mine in alike(held):
        where = np.flatnonzero(held[mine[0]])
        cuts = [spans[at][0].cut(rows[at, mine], spans[at][1]) for at in where]
        if cuts:
            bundles.append(_joined(handles[mine], cuts))
    return united(bundles)


def alike(flags: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Rows with the same flags, group by group."""
    groups: dict[bytes, list[int]] = {}
    for row, packed in enumerate(np.packbits(flags, axis=1)):
        groups.setdefault(packed.tobytes(), []).append(row)
    return [np.array(rows, np.int64) for rows in groups.values()]


def _joined(
    handles: NDArray[np.int64], cuts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
) -> Bundle:
    """What several chunks have of the same series, one after another."""
    if len(cuts) == 1:
        return Bundle(handles, cuts[0][0], np.ascontiguousarray(cuts[0][1]))
    times = np.concatenate([cut[0] for cut in cuts])
    return Bundle(
        handles, times, np.ascontiguousarray(np.concatenate([c[1] for c in cuts], axis=1))
    )


def united(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Targets scraped at the same moments are computed with together, in order of handles."""
    same: dict[bytes, list[Bundle]] = {}
    for bundle in bundles:
        same.setdefault(bundle.times_ms.tobytes(), []).append(bundle)
    united = []
    for each in same.values():
        if len(each) == 1:
            united += each
            continue
        handles = np.concatenate([bundle.handles for bundle in each])
        values = np.concatenate([bundle.values for bundle in each])
        order = np.argsort(handles)
        united.append(Bundle(handles[order], each[0].times_ms, values[order]))
    return united
