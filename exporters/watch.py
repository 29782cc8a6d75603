"""Driver calls can block for ever, so they never run in the scrape path.

A worker thread sweeps at its own pace and leaves the newest sweep; a scrape takes what is there
with its age. A worker that does not come back is itself a signal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from exporters import xids
from exporters.device import Driver, Fault, Sweep
from exporters.journal import Journal
from exporters.kernel_log import KernelLog
from exporters.xids import XidLedger

_LOG_EVERY_S = 1.0
_OPEN_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known now. Ages are seconds; `blocked_s` is 0 while the driver answers."""

    sweep: Sweep | None = None
    age_s: float = 0.0
    blocked_s: float = 0.0
    xids: tuple[xids.Seen, ...] = ()
    last_codes: Mapping[str, int] = field(default_factory=dict)
    """By place on the bus: the newest Xid."""
    answered_s: Mapping[str, float] = field(default_factory=dict)
    """By UUID: when it last answered well, in seconds since the epoch."""
    most_gpus: int = 0
    """The most devices ever seen at once: what the node should have at least."""
    sources: Mapping[str, bool] = field(default_factory=dict)
    """Whether each source of Xids can be listened to."""
    sweeps: int = 0
    took_s: float = 0.0
    """How long the last sweep took: a driver grows slow before it blocks."""


class Watch:
    """Daemon threads: one sweeps, one waits for events, one reads the kernel's log."""

    def __init__(
        self,
        driver: Driver,
        every_s: float = 5.0,
        deadline_s: float = 10.0,
        open_log: Callable[[], KernelLog] | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ) -> None:
        self._driver, self._every_s, self._deadline_s = driver, every_s, deadline_s
        self._open_log, self._clock = open_log, clock
        self._lock = threading.Lock()
        self._sweep: Sweep | None = None
        self._swept_at = self._began_at = 0.0
        self._running = False
        self._sweeps, self._took_s = 0, 0.0
        self._journal = journal or Journal()
        self._answered: dict[str, float] = {}
        self._most = 0
        self._ledger = XidLedger()
        self._sources: dict[str, bool] = {}
        self._stop = threading.Event()
        self._workers: list[threading.Thread] = []

    def start(self) -> None:
        jobs = [self._sweep_for_ever, self._listen_for_ever]
        if self._open_log is not None:
            jobs.append(self._read_log_for_ever)
        for job in jobs:
            worker = threading.Thread(target=job, daemon=True, name=job.__name__.strip("_"))
            self._workers.append(worker)
            worker.start()

    def stop(self, wait_s: float = 0.0) -> None:
        """wait_s: how long to wait for the threads; one that is blocked ends with the process."""
        self._stop.set()
        until = time.monotonic() + wait_s
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))

    def sweep_once(self) -> None:
        with self._lock:
            self._running, self._began_at = True, self._clock()
        try:
            sweep = self._driver.sweep()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next sweep tries again
            sweep = Sweep((), state="error", detail=f"{type(error).__name__}: {error}")
        self._journal.sweep(sweep)
        now = time.time()
        with self._lock:
            self._running, self._sweep, self._swept_at = False, sweep, self._clock()
            self._sweeps += 1
            self._took_s = self._swept_at - self._began_at
            self._most = max(self._most, len(sweep.readings))
            self._answered |= {r.uuid: now for r in sweep.readings if r.state == "ok"}

    def seen(self) -> Seen:
        with self._lock:
            now = self._clock()
            running_s = now - self._began_at if self._running else 0.0
            return Seen(
                sweep=self._sweep,
                age_s=now - self._swept_at if self._sweep else 0.0,
                blocked_s=running_s if running_s > self._deadline_s else 0.0,
                xids=self._ledger.seen(),
                last_codes=self._ledger.last_codes(),
                answered_s=dict(self._answered),
                most_gpus=self._most,
                sources=dict(self._sources),
                sweeps=self._sweeps,
                took_s=self._took_s,
            )

    def _sweep_for_ever(self) -> None:
        while not self._stop.is_set():
            self.sweep_once()
            self._stop.wait(self._every_s)

    def _listen_for_ever(self) -> None:
        while not self._stop.is_set():
            try:
                faults = self._driver.wait_faults(1000)
            except Exception:  # noqa: BLE001  # a driver without events; the source says so
                self._sources["nvml"] = False
                self._stop.wait(self._every_s)
                continue
            self._sources["nvml"] = True
            self._record("nvml", faults)

    def _read_log_for_ever(self) -> None:
        assert self._open_log is not None
        while not self._stop.is_set():
            try:
                log = self._open_log()
            except OSError:
                self._sources["kernel_log"] = False
                self._stop.wait(_OPEN_AGAIN_S)
                continue
            self._sources["kernel_log"] = True
            try:
                while not self._stop.is_set():
                    self._record("kernel_log", tuple(log.faults()))
                    self._stop.wait(_LOG_EVERY_S)
            except OSError:
                self._sources["kernel_log"] = False
            finally:
                log.close()
            self._stop.wait(_OPEN_AGAIN_S)

    def _record(self, source: str, faults: tuple[Fault, ...]) -> None:
        now = time.time()
        for fault in faults:
            if self._ledger.record(source, fault, now):
                self._journal.burst(fault)
