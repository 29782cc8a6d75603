"""APScheduler 3 with its defaults put right.

Its misfire grace is one second, checked in the worker, so queued jobs vanish silently; and an
exception or a skipped run is only logged. Here nothing is missed by grace, runs never overlap,
and each failure reaches a callback. Durable work lives in the store, never in the scheduler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

REASONS = {
    EVENT_JOB_ERROR: "error",
    EVENT_JOB_MAX_INSTANCES: "overrun",
    EVENT_JOB_MISSED: "missed",
}
_NUDGED = "nudged "


class Jobs:
    """Named jobs at fixed intervals, each in a pool of its own so that none starves another."""

    def __init__(
        self, failed: Callable[[str, str, BaseException | None], None], speed: float = 1.0
    ) -> None:
        self._failed, self._speed = failed, speed
        self._plan: dict[str, tuple[Callable[[], object], timedelta]] = {}
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._scheduler: Any = None
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._asking = threading.Lock()

    def every(self, name: str, interval: timedelta, job: Callable[[], object]) -> None:
        """`interval` is simulated time where the clock runs `speed` times as fast."""
        self._plan[name] = (job, interval)

    def start(self) -> None:
        with self._lock:
            self._asked.clear()
            self._pools = {name: ThreadPoolExecutor(1) for name in (*self._plan, "default")}
            scheduler = BackgroundScheduler(
                executors=self._pools,
                job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
                timezone="UTC",
            )
            for name, (job, interval) in self._plan.items():
                scheduler.add_job(
                    job,
                    "interval",
                    seconds=max(interval.total_seconds() / self._speed, 0.05),
                    id=name,
                    executor=name,
                    next_run_time=datetime.now().astimezone(),
                )
            scheduler.add_listener(self._heard, sum(REASONS))
            self._scheduler = scheduler  # before the first run, which may nudge
            scheduler.start()

    def nudge(self, name: str) -> None:
        """Run `name` now instead of at its next turn; while it runs, once more after it.

        As a job of its own in the same pool of one thread: moving the next turn instead would be
        refused as an overrun until the present run is booked as done.
        """
        scheduler = self._scheduler
        if scheduler is None or name not in self._plan:
            return
        with self._asking:
            if name in self._asked:
                return  # one that has not begun does for this nudge too
            self._asked.add(name)
        # Two instances: one that runs, and one that waits for it.
        scheduler.add_job(
            self._nudged, args=(name,), id=_NUDGED + name, executor=name, max_instances=2
        )

    def _nudged(self, name: str) -> None:
        with self._asking:
            self._asked.discard(name)
        if self.alive:
            self._plan[name][0]()

    @property
    def alive(self) -> bool:
        return self._scheduler is not None and bool(self._scheduler.running)

    def stop(self) -> None:
        """Waits for running jobs: all of their I/O has time-outs."""
        with self._lock:
            if self._scheduler is not None:
                # Asked to wait, it would hold its locks meanwhile, and a job that nudges wants one.
                self._scheduler.shutdown(wait=False)
                for pool in self._pools.values():
                    pool.shutdown(wait=True)
                self._scheduler = None

    def intervals(self) -> Mapping[str, timedelta]:
        return {name: interval for name, (_, interval) in self._plan.items()}

    def _heard(self, event: Any) -> None:
        name = event.job_id.removeprefix(_NUDGED)
        self._failed(name, REASONS[event.code], getattr(event, "exception", None))
