"""Three clocks: the real one, one that is moved by hand, and one that runs fast."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Wall time, UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, span: timedelta) -> None:
        time.sleep(max(0.0, span.total_seconds()))


class SteppedClock:
    """Stands still until it is moved; sleeping moves it."""

    def __init__(self, start: datetime) -> None:
        self._start = self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        return (self.now() - self._start).total_seconds()

    def sleep(self, span: timedelta) -> None:
        self.move(span)

    def move(self, span: timedelta) -> None:
        with self._lock:
            self._now += max(span, timedelta(0))

    def move_to(self, moment: datetime) -> None:
        """Never backwards."""
        with self._lock:
            self._now = max(self._now, moment)


class AcceleratedClock:
    """Starts at `start` and runs `speed` times as fast as wall time."""

    def __init__(self, start: datetime, speed: float) -> None:
        self._start, self._speed, self._began = start, speed, time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._speed

    def sleep(self, span: timedelta) -> None:
        time.sleep(max(0.0, span.total_seconds()) / self._speed)
