"""Driver calls can block for ever, so they never run in the scrape path.

A worker thread sweeps at its own pace and leaves the newest sweep; a scrape takes what is there
with its age. A worker that does not come back is itself a signal.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporters.device import Driver, Sweep


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known now. Ages are seconds; `blocked_s` is 0 while the driver answers."""

    sweep: Sweep | None
    age_s: float
    blocked_s: float
    faults: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """(uuid, Xid) → how often since start."""
    fault_at: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """(uuid, Xid) → seconds since the epoch of the last."""
    most_gpus: int = 0
    """The most devices ever seen: what the node should have."""


class Watch:
    """Two daemon threads: one sweeps, one waits for faults."""

    def __init__(self, driver: Driver, every_s: float = 5.0, deadline_s: float = 10.0) -> None:
        self._driver, self._every_s, self._deadline_s = driver, every_s, deadline_s
        self._lock = threading.Lock()
        self._sweep: Sweep | None = None
        self._swept_at = self._began_at = 0.0
        self._running = False
        self._faults: Counter[tuple[str, int]] = Counter()
        self._fault_at: dict[tuple[str, int], float] = {}
        self._most = 0
        self._stop = threading.Event()

    def start(self) -> None:
        for job in (self._sweep_for_ever, self._listen_for_ever):
            threading.Thread(target=job, daemon=True, name=job.__name__.strip("_")).start()

    def stop(self) -> None:
        self._stop.set()

    def sweep_once(self) -> None:
        with self._lock:
            self._running, self._began_at = True, time.monotonic()
        sweep = self._driver.sweep()
        with self._lock:
            self._running, self._sweep, self._swept_at = False, sweep, time.monotonic()
            self._most = max(self._most, len(sweep.readings))

    def seen(self) -> Seen:
        with self._lock:
            now = time.monotonic()
            running_s = now - self._began_at if self._running else 0.0
            return Seen(
                sweep=self._sweep,
                age_s=now - self._swept_at if self._sweep else 0.0,
                blocked_s=running_s if running_s > self._deadline_s else 0.0,
                faults=dict(self._faults),
                fault_at=dict(self._fault_at),
                most_gpus=self._most,
            )

    def _sweep_for_ever(self) -> None:
        while not self._stop.is_set():
            self.sweep_once()
            self._stop.wait(self._every_s)

    def _listen_for_ever(self) -> None:
        while not self._stop.is_set():
            try:
                faults = self._driver.wait_faults(1000)
            except Exception:  # noqa: BLE001  # a driver without events; the sweep says why
                self._stop.wait(self._every_s)
                continue
            with self._lock:
                for fault in faults:
                    self._faults[fault.uuid, fault.code] += 1
                    self._fault_at[fault.uuid, fault.code] = time.time()
