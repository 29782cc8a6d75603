"""Charts of an incident, read from Prometheus when somebody looks: the window of the tick is
too short for an incident that is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.adapters.observer import Observer
from healer.errors import HealerError
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.signal import Signal
from healer.ports import Clock

BEFORE = timedelta(minutes=10)
AFTER = timedelta(minutes=5)
MOST_POINTS = 480


@dataclass(frozen=True, slots=True)
class ChartSource:
    observer: Observer
    signals: Sequence[Signal]
    clock: Clock
    step: timedelta

    def frames(self, incident: Incident) -> dict[str, Frame]:
        """Frames of the signals the incident's findings name, around its time."""
        start = incident.started_at - BEFORE
        end = min((incident.resolved_at or self.clock.now()) + AFTER, self.clock.now())
        wanted = {finding.signal for finding in incident.findings}
        found: dict[str, Frame] = {}
        for signal in self.signals:
            if signal.name in wanted and signal.name not in found:
                try:
                    frame = self._read(signal, start, end)
                except HealerError:
                    return found  # a page without its charts is better than one that waits
                if len(frame):
                    found[signal.name] = frame
        return found

    def _read(self, signal: Signal, start: datetime, end: datetime) -> Frame:
        span = end - start
        step = max(self.step, timedelta(seconds=int(span.total_seconds() / MOST_POINTS)))
        return self.observer.history(signal, end, span, step)
