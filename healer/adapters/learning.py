"""Baselines: loaded at start, refitted off the tick, saved as they are learned."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from healer.adapters.fitter import Fitter, Task
from healer.adapters.observer import Observer
from healer.errors import HealerError
from healer.model.frame import Frame
from healer.model.signal import Signal
from healer.model.snapshot import Problem
from healer.model.topology import Topology
from healer.ports import Baseline, Store
from healer.stages.detect import Detectors, FitJob, due

BATCH = 64
"""Fits a turn: the oldest come first, so a turn stays short and all are reached."""


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
        self._known = {(b.detector, b.signal): b for b in store.baselines()}

    def baselines(self) -> Mapping[tuple[str, str], Baseline]:
        with self._lock:
            return dict(self._known)

    def refit(
        self, now: datetime, present: Sequence[str], topology: Topology
    ) -> tuple[Problem, ...]:
        """Learn what is due. `present`: names of the signals that have data."""
        problems: list[Problem] = []
        tasks = [
            self._task(job, now, problems)
            for job in due(self._detectors, self.baselines(), now, present)[:BATCH]
        ]
        learned, failed = self._fitter.fit([t for t in tasks if t is not None], topology, now)
        for baseline in learned:
            with self._lock:
                self._known[baseline.detector, baseline.signal] = baseline
            try:
                self._store.put_baseline(baseline)
            except HealerError as error:
                problems.append(Problem("store.baselines", str(error), now))
        return (*problems, *failed)

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


WAIT = timedelta(seconds=60)
"""Between two looks at what is due."""
