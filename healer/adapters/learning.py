"""Baselines: loaded at start, refitted off the tick, saved as they are learned.

What is due is fitted oldest first, in batches small enough for the memory, until the turn's
budget is spent; the rest comes with the next turn. A baseline that cannot be read, or that
another version wrote, is learned anew: losing them costs time and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from healer.adapters.fitter import Fitter, Task
from healer.adapters.observer import Observer
from healer.errors import HealerError
from healer.model.frame import Frame
from healer.model.signal import Signal
from healer.model.snapshot import Problem
from healer.model.topology import Topology
from healer.ports import Baseline, Store
from healer.stages.detect import Detectors, FitJob, due

BATCH_CELLS = 25_000_000
"""Samples of history that are held at once: 100 MB."""

BATCH_FITS = 8
"""Fits a worker and batch, after which what was learned is saved."""

AGAIN_AFTER = timedelta(minutes=10)
"""A fit that failed, or had too little history, is not tried again before."""

log = structlog.get_logger("healer.learning")


class Learning:
    """`baselines()` for the tick; `refit()` for the job that runs beside it."""

    def __init__(
        self,
        store: Store,
        observer: Observer,
        fitter: Fitter,
        detectors: Detectors,
        signals: Sequence[Signal],
    ) -> None:
        self._store, self._observer, self._fitter = store, observer, fitter
        self._detectors = detectors
        self._signals = {signal.name: signal for signal in signals}
        self._lock = threading.Lock()
        self._tried: dict[tuple[str, str], datetime] = {}
        self._known = _remembered(store)

    def baselines(self) -> Mapping[tuple[str, str], Baseline]:
        with self._lock:
            return dict(self._known)

    def reload(self) -> None:
        """What another replica learned in the meantime."""
        found = _remembered(self._store)
        with self._lock:
            self._known |= found

    def refit(
        self, now: datetime, present: Sequence[str], topology: Topology
    ) -> tuple[Problem, ...]:
        """Learn what is due. `present`: names of the signals that have data."""
        problems: list[Problem] = []
        ends = time.monotonic() + self._fitter.budget_s
        jobs = [
            job
            for job in due(self._detectors, self.baselines(), now, present)
            if not self._was_tried(job, now)
        ]
        for batch in self._batches(jobs, now, problems):
            learned, failed = self._fitter.fit(batch, topology, now)
            problems += failed
            for baseline in learned:
                self._take(baseline, now, problems)
            if time.monotonic() >= ends:
                break
        return tuple(problems)

    def _was_tried(self, job: FitJob, now: datetime) -> bool:
        tried = self._tried.get((job.name, job.signal))
        return tried is not None and timedelta(0) <= now - tried < AGAIN_AFTER

    def _batches(
        self, jobs: Sequence[FitJob], now: datetime, problems: list[Problem]
    ) -> Iterator[list[Task]]:
        """Tasks with their history, as many at a time as memory and workers allow."""
        batch: list[Task] = []
        cells = 0
        for job in jobs:
            self._tried[job.name, job.signal] = now
            task = self._task(job, now, problems)
            if task is None:
                continue
            batch.append(task)
            cells += sum(frame.values.size for frame in task[3].values())
            if cells >= BATCH_CELLS or len(batch) >= BATCH_FITS * self._fitter.workers:
                yield batch
                batch, cells = [], 0
        if batch:
            yield batch

    def _take(self, baseline: Baseline, now: datetime, problems: list[Problem]) -> None:
        with self._lock:
            self._known[baseline.detector, baseline.signal] = baseline
        try:
            self._store.put_baseline(baseline)
        except HealerError as error:
            problems.append(Problem("store.baselines", str(error), now))

    def _task(self, job: FitJob, now: datetime, problems: list[Problem]) -> Task | None:
        frames: dict[str, Frame] = {}
        for name in job.wants:
            try:
                frames[name] = self._observer.history(
                    self._signals[name], now, job.history, job.step
                )
            except HealerError as error:
                problems.append(Problem(f"history.{name}", str(error), now))
                return None
        return job.name, job.signal, job.detector, frames


def _remembered(store: Store) -> dict[tuple[str, str], Baseline]:
    """What the store holds; nothing where it cannot be read, and then all is learned anew."""
    try:
        return {(b.detector, b.signal): b for b in store.baselines()}
    except Exception as error:  # noqa: BLE001  a torn file of arrays may raise anything
        log.warning("baselines.unreadable", error=f"{type(error).__name__}: {error}")
        return {}
