"""What the API and the pages both read from the store, so that they cannot disagree."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from healer.errors import Temporary
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent, State
from healer.ports import Store
from healer.redaction import redacted
from healer.server.deps import ServerDeps
from healer.server.problems import Refusal
from healer.server.stats import Stats, stats_of
from healer.server.timeline import Moment, timeline

STATS_FRESH = timedelta(minutes=1)
"""How old the figures of the overview may be: it is loaded again every few seconds."""


MOST_SHOWN = 200
"""Findings, and events, of one incident in one answer: a storm has thousands."""
MOST_TARGETS = 100
"""Targets of one incident in one answer."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known about one incident, as it is stored: what is shown of it is `bounded` and
    redacted first."""

    incident: Incident
    intents: tuple[Intent, ...]
    audit: tuple[AuditEntry, ...]
    deliveries: tuple[Any, ...]

    def timeline(self, language: str = "en") -> tuple[Moment, ...]:
        return timeline(self.incident, self.intents, self.audit, self.deliveries, language)


def incident_of(store: Store, incident_id: str) -> Incident:
    """As it is stored. Raises Refusal 404."""
    found = store.incident(incident_id)
    if found is None:
        raise Refusal(404, "expected the id of a stored incident")
    return found


def bounded(incident: Incident, most: int = MOST_SHOWN) -> Incident:
    """The first findings and events of an incident, and its targets, redacted: what one answer
    shows. How many there are in all, the incident itself tells."""
    return redacted(
        replace(incident, findings=incident.findings[:most], events=incident.events[:most])
    )


def record_of(store: Store, incident_id: str) -> Record:
    incident = incident_of(store, incident_id)
    return Record(
        incident,
        store.intents(incident_id=incident.id),
        tuple(entry for _, entry in store.audit(incident_id=incident.id, limit=5000)),
        store.deliveries(incident_id=incident.id),
    )


def waiting(store: Store, now: datetime) -> tuple[Intent, ...]:
    """Plans that wait for a person's answer, oldest first."""
    return tuple(
        i
        for i in store.intents(open_only=True)
        if i.state is State.PLANNED
        and i.expires_at is not None
        and i.expires_at > now
        and not i.approved_by
    )


def stats_of_store(store: Store, since: datetime) -> Stats:
    """Over incidents opened since then, and the actions for them."""
    return stats_of(store.tally(since))


@dataclass(slots=True)
class RecentStats:
    """The figures of the last `span`, worked out aside at most once a minute.

    The overview is loaded every few seconds and need not count ten thousand incidents each time:
    it shows the figures of the minute before, and none while there are none yet.
    """

    span: timedelta
    wait_s: float = 0.05
    """How long the very first reader waits for them: mostly that is enough."""
    _stats: Stats | None = None
    _at: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _worker: threading.Thread | None = None

    def read(self, deps: ServerDeps) -> Stats | None:
        now = deps.clock.now()
        with self._lock:
            stale = self._at is None or now - self._at >= STATS_FRESH
            if stale and (self._worker is None or not self._worker.is_alive()):
                self._worker = threading.Thread(
                    target=self._work, args=(deps, now), name="stats", daemon=True
                )
                self._worker.start()
            worker = self._worker
        if self._stats is None and worker is not None:
            worker.join(self.wait_s)
        return self._stats

    def _work(self, deps: ServerDeps, now: datetime) -> None:
        try:
            found = stats_of_store(deps.store, now - self.span)
        except Temporary:
            return  # the page itself says that the store does not answer; the next one asks again
        with self._lock:
            self._stats, self._at = found, now
