"""The lab's samples: series by label set, stored by column.

A scrape writes one column for thousands of series at once, and a query reads many series with
the same times, so series that are scraped together share a matrix. Weeks of history come in as
one ready matrix. One thread writes while others read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from healer.lab.columns import (
    Bundle,
    Chunk,
    Lane,
    Remembered,
    gather,
    is_absent,
    is_stale,
    stale_values,
    united,
)
from healer.lab.matchers import Matcher

Labels = tuple[tuple[str, str], ...]
"""Sorted by name, no empty values: hashable, and the order Prometheus shows them in."""

_Homes = tuple[NDArray[np.int64], list[tuple[Lane, NDArray[np.int64]]]]
"""Series, ascending, and which of them each lane has."""

NEVER_MS = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True)
class Selected:
    """One series' samples, staleness markers left out."""

    labels: Mapping[str, str]
    times: NDArray[np.float64]
    """Seconds."""
    values: NDArray[np.float64]


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def canonical(labels: Mapping[str, str]) -> Labels:
    """An empty value is a label that is not there."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


class Tsdb:
    def __init__(self, retention_s: float = float("inf")) -> None:
        """retention_s: whole columns older than that are forgotten as new ones come."""
        self._retention_s = retention_s
        self._lock = threading.RLock()
        self._labels: list[Labels] = []
        self._handle_of: dict[Labels, int] = {}
        self._index: dict[str, dict[str, list[int]]] = {}
        self._found: dict[tuple[Matcher, ...], NDArray[np.int64]] = {}
        self._blocks: list[Chunk] = []
        self._lanes: list[Lane] = []
        self._lane_of = np.full(64, -1, np.int64)
        self._homes = Remembered[_Homes]()
        """Answers of `_homes_of`, until a series finds its lane."""
        self._first_ms = np.full(64, -NEVER_MS, np.int64)
        self._last_ms = np.full(64, NEVER_MS, np.int64)

    # ------------------------------------------------------------------- writing

    def handle(self, labels: Mapping[str, str]) -> int:
        """The number of a series, for `append`; a new series has no samples yet."""
        key = canonical(labels)
        with self._lock:
            known = self._handle_of.get(key)
            return self._add(key) if known is None else known

    def add_block(
        self,
        labels: Sequence[Mapping[str, str]],
        times: NDArray[np.float64],
        values: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """History: values [N, T] at times [T] seconds, ascending. Returns the N handles.

        NaN is a cell without a sample. Raises ValueError where a series has later samples.
        """
        if values.shape != (len(labels), len(times)):
            raise ValueError(f"values {values.shape}: expected ({len(labels)}, {len(times)})")
        times_ms = np.rint(np.asarray(times, np.float64) * 1000).astype(np.int64)
        if len(times_ms) > 1 and (np.diff(times_ms) <= 0).any():
            raise ValueError("times: expected ascending order")
        with self._lock:
            handles = np.fromiter(map(self.handle, labels), np.int64, len(labels))
            if len(times_ms) and len(handles):
                self._check_newer(handles, int(times_ms[0]))
                self._note(handles, int(times_ms[0]), int(times_ms[-1]))
                self._blocks.append(Chunk.of(times_ms, handles, values))
            return handles

    def append(self, at_s: float, handles: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """One scrape: a sample at `at_s` for each handle; NaN is a sample like any other.

        Raises ValueError where a series already has a sample at that time or later.
        """
        handles = np.asarray(handles, np.int64)
        if not len(handles):
            return
        at_ms = to_ms(at_s)
        with self._lock:
            self._check_newer(handles, at_ms)
            lanes = self._lanes_for(handles)
            for lane in set(lanes.tolist()):
                mine = lanes == lane
                self._lanes[lane].append(at_ms, handles[mine], np.asarray(values)[mine])
            self._note(handles, at_ms, at_ms)
            if self._retention_s != float("inf"):
                self._forget(at_ms - to_ms(self._retention_s))

    def mark_stale(self, handles: NDArray[np.int64], at_s: float) -> None:
        """These series vanished: from `at_s` on they are absent, not merely old.

        One that still had a sample at that very moment vanishes a millisecond later.
        """
        handles = np.asarray(handles, np.int64)
        with self._lock:
            seen = self._last_ms[handles] == to_ms(at_s)
            for some, moment_s in ((handles[~seen], at_s), (handles[seen], at_s + 0.001)):
                self.append(moment_s, some, stale_values(len(some)))

    # ------------------------------------------------------------------- reading

    def find(self, matchers: Sequence[Matcher]) -> NDArray[np.int64]:
        """Handles of the series all matchers accept, in order of creation."""
        key = tuple(matchers)
        with self._lock:
            found = self._found.get(key)
            if found is None:
                found = self._found[key] = self._search(key)
            return found

    def labels_of(self, handles: Iterable[int]) -> list[Labels]:
        return [self._labels[handle] for handle in handles]

    def gather(self, handles: NDArray[np.int64], start_ms: int, end_ms: int) -> list[Bundle]:
        """Samples with start_ms <= time <= end_ms, series with the same times together."""
        if not len(handles):
            return []
        with self._lock:
            blocks = [b for b in self._blocks if b.last_ms >= start_ms and b.first_ms <= end_ms]
            ascending, homes = self._homes.of(handles, self._homes_of)
            if blocks or len(homes) < 2:
                for lane, _ in homes:
                    blocks += lane.between(start_ms, end_ms)
                return gather(blocks, ascending, start_ms, end_ms)
            # Most questions are about now: then every series is in its own lane alone.
            found: list[Bundle] = []
            for lane, its in homes:
                found += gather(lane.between(start_ms, end_ms), its, start_ms, end_ms)
            return united(found)

    def select(self, matchers: Sequence[Matcher], start_s: float, end_s: float) -> list[Selected]:
        """Raw samples of the matching series that have any in [start_s, end_s]."""
        found: list[Selected] = []
        for bundle in self.gather(self.find(matchers), to_ms(start_s), to_ms(end_s)):
            holes = is_absent(bundle.values) | is_stale(bundle.values)
            for handle, row, hole in zip(bundle.handles, bundle.values, holes, strict=True):
                if not hole.all():
                    times = bundle.times_ms[~hole] / 1000
                    found.append(Selected(dict(self._labels[handle]), times, row[~hole]))
        return found

    def series(
        self, matchers: Sequence[Matcher], start_s: float = -1e15, end_s: float = 1e15
    ) -> list[Labels]:
        """Label sets whose first sample is not after, and whose last is not before that span."""
        handles = self.find(matchers)
        with self._lock:
            begun = self._first_ms[handles] <= to_ms(end_s)
            alive = handles[begun & (self._last_ms[handles] >= to_ms(start_s))]
        return sorted(self.labels_of(alive.tolist()))

    def label_names(self) -> list[str]:
        with self._lock:
            return sorted(self._index)

    def label_values(self, name: str) -> list[str]:
        with self._lock:
            return sorted(self._index.get(name, ()))

    # ------------------------------------------------------------------- inside

    def _add(self, key: Labels) -> int:
        handle = self._handle_of[key] = len(self._labels)
        self._labels.append(key)
        for name, value in key:
            self._index.setdefault(name, {}).setdefault(value, []).append(handle)
        if handle >= len(self._last_ms):
            more = len(self._last_ms)
            self._first_ms = np.concatenate([self._first_ms, np.full(more, -NEVER_MS, np.int64)])
            self._last_ms = np.concatenate([self._last_ms, np.full(more, NEVER_MS, np.int64)])
            self._lane_of = np.concatenate([self._lane_of, np.full(more, -1, np.int64)])
        self._found.clear()
        return handle

    def _note(self, handles: NDArray[np.int64], first_ms: int, last_ms: int) -> None:
        self._first_ms[handles] = np.minimum(self._first_ms[handles], first_ms)
        self._last_ms[handles] = last_ms

    def _homes_of(self, handles: NDArray[np.int64]) -> _Homes:
        ascending = np.sort(handles)
        lanes = self._lane_of[ascending]
        return ascending, [
            (self._lanes[lane], ascending[lanes == lane])
            for lane in np.unique(lanes[lanes >= 0]).tolist()
        ]

    def _check_newer(self, handles: NDArray[np.int64], at_ms: int) -> None:
        late = self._last_ms[handles] >= at_ms
        if late.any():
            labels = dict(self._labels[int(handles[late][0])])
            raise ValueError(f"{labels}: a sample at {at_ms / 1000} s is not newer than the last")

    def _lanes_for(self, handles: NDArray[np.int64]) -> NDArray[np.int64]:
        """A newborn series joins the lane it is first scraped with."""
        lanes = self._lane_of[handles]
        newborn = lanes < 0
        if newborn.any():
            if newborn.all():
                self._lanes.append(Lane())
                home = len(self._lanes) - 1
            else:
                home = int(lanes[~newborn][0])
            self._lane_of[handles[newborn]] = home
            self._homes.clear()
            lanes = self._lane_of[handles]
        return lanes

    def _forget(self, before_ms: int) -> None:
        self._blocks = [each for each in self._blocks if each.last_ms >= before_ms]
        for lane in self._lanes:
            lane.forget(before_ms)

    def _search(self, matchers: tuple[Matcher, ...]) -> NDArray[np.int64]:
        left: set[int] | None = None
        for matcher in matchers:
            values = self._index.get(matcher.name, {})
            if matcher.accepts(""):
                # Without the label is accepted too: take away what is refused.
                refused = {h for v, hs in values.items() if not matcher.accepts(v) for h in hs}
                left = (set(range(len(self._labels))) if left is None else left) - refused
                continue
            if matcher.op == "=":
                accepted = set(values.get(matcher.value, ()))
            else:
                accepted = {h for v, hs in values.items() if matcher.accepts(v) for h in hs}
            left = accepted if left is None else left & accepted
        everything = range(len(self._labels))
        return np.array(sorted(everything if left is None else left), np.int64)
