"""The ledger of Xids: each edge counted once, though two sources may report it.

NVML tells what happens while one listens; the kernel log also knows what was before, and what
NVML left out. A report is the twin of one from the other source that came for the same device and
code within a few seconds; twins are one Xid. Repeats without a silence of three minutes are one
burst, as NVIDIA counts incidents.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace

from exporters.device import XID, Fault

TWIN_WITHIN_S = 10.0
"""The log line and the event of one Xid are milliseconds apart; a busy worker may lag."""
SILENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one code on one device."""

    kind: str
    bus: str
    code: int
    count: int = 0
    bursts: int = 0
    last_s: float = 0.0
    """Seconds since the epoch."""


@dataclass(slots=True)
class _Entry:
    seen: Seen
    waiting: dict[str, deque[float]] = field(default_factory=dict)
    """By source: reports that have found no twin, oldest first."""


class XidLedger:
    """Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str, int], _Entry] = {}
        self._last_code: dict[str, tuple[float, int]] = {}

    def record(self, source: str, fault: Fault, now_s: float) -> bool:
        """Whether a burst begins with it."""
        at = now_s if fault.at_s is None else fault.at_s
        key = (fault.kind, fault.bus, fault.code)
        with self._lock:
            entry = self._entries.setdefault(key, _Entry(Seen(*key)))
            if self._has_twin(entry, source, at):
                return False
            entry.waiting.setdefault(source, deque()).append(at)
            seen = entry.seen
            new_burst = seen.count == 0 or at - seen.last_s >= SILENCE_S
            entry.seen = replace(
                seen,
                count=seen.count + 1,
                bursts=seen.bursts + new_burst,
                last_s=max(seen.last_s, at),
            )
            if fault.kind == XID and at >= self._last_code.get(fault.bus, (0.0, 0))[0]:
                self._last_code[fault.bus] = (at, fault.code)
            return new_burst

    def seen(self) -> tuple[Seen, ...]:
        with self._lock:
            return tuple(entry.seen for entry in self._entries.values())

    def last_codes(self) -> dict[str, int]:
        """By device, the newest code."""
        with self._lock:
            return {bus: code for bus, (_, code) in self._last_code.items()}

    @staticmethod
    def _has_twin(entry: _Entry, source: str, at: float) -> bool:
        for other, waiting in entry.waiting.items():
            while waiting and waiting[0] < at - TWIN_WITHIN_S:
                waiting.popleft()
            if other != source and waiting and waiting[0] <= at + TWIN_WITHIN_S:
                waiting.popleft()
                return True
        return False
