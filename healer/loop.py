"""The pipeline on one screen: `Loop.tick()`.

    observe  → detect  → correlate → diagnose   → plan → guard   → act     → verify  → report
    Snapshot   Finding   Incident    Hypothesis   Plan   Verdict   Outcome   Outcome   AuditEntry

Synchronous and level-triggered: each tick looks at the world afresh. Only open incidents,
unfinished intents, the outbox and learned baselines live in the store, so a restart resumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from healer.healing import Healing
from healer.model.audit import AuditEntry
from healer.model.finding import Finding
from healer.model.incident import Incident, Phase
from healer.model.intent import ACTIVE_STATES, Intent, State
from healer.model.message import Notice
from healer.model.report import Report
from healer.model.rule import RuleBook
from healer.model.snapshot import Problem, Snapshot
from healer.ports import Clock, Spans, Store, untraced
from healer.settings import LoopSettings
from healer.stages.correlate import correlate, quiet_for
from healer.stages.detect import Baselines, Detectors, detect
from healer.stages.diagnose import diagnose_all
from healer.stages.phase import is_actionable, is_lost, settle, with_diagnosis
from healer.stages.report import notices

RECENT = timedelta(hours=2)
"""How long an ended incident counts when symptoms come back."""


class Observes(Protocol):
    def snapshot(self, now: datetime) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class Loop:
    """`tick()` is the whole of Healer; its fields are the world and what is known beforehand."""

    clock: Clock
    store: Store
    observer: Observes
    detectors: Detectors
    baselines: Callable[[], Baselines]
    rules: RuleBook
    healing: Healing
    tell: Callable[[Sequence[Notice]], tuple[Problem, ...]]
    new_id: Callable[[datetime], str]
    settings: LoopSettings
    public_url: str = ""
    span: Spans = untraced

    def tick(self) -> Report:
        began, now = self.clock.monotonic(), self.clock.now()
        before = self.store.open_incidents()

        with self.span("observe"):
            snapshot = self.observer.snapshot(now)
        with self.span("detect"):
            findings, undetected, learning = detect(snapshot, self.detectors, self.baselines())
        with self.span("correlate"):
            incidents = self._correlate(before, findings, snapshot)
        with self.span("diagnose"):
            incidents, unexplained = self._diagnose(incidents, snapshot)
        with self.span("heal"):  # plan, guard, act and verify, one span for each turn of an intent
            intents, unhealed = self.healing.heal(incidents, snapshot)
        with self.span("report"):
            incidents = self._kept(incidents, _acted(incidents, intents, now))
            incidents = self._conclude(incidents, now)
            untold = self._tell(before, incidents, now)

        return Report(
            at=now,
            signals=len(snapshot.frames),
            series=sum(len(frame) for frame in snapshot.frames.values()),
            findings=len(findings),
            incidents=incidents,
            intents=intents,
            problems=(*snapshot.problems, *undetected, *unexplained, *unhealed, *untold),
            learning=learning,
            took_s=self.clock.monotonic() - began,
        )

    def _correlate(
        self, before: tuple[Incident, ...], findings: tuple[Finding, ...], snapshot: Snapshot
    ) -> tuple[Incident, ...]:
        ended = self.store.incidents(
            phase=(Phase.RESOLVED.value,), since=snapshot.now - RECENT, limit=200
        ).items
        incidents = correlate(
            before,
            findings,
            snapshot,
            self.settings,
            self.new_id,
            opens=self.rules.opens,
            recent=ended,
        )
        known = {incident.id for incident in (*before, *ended)}
        for incident in incidents:
            if incident.id not in known:
                self._record("incident.opened", incident, snapshot.now, incident.title)
        return self._kept(before, incidents)

    def _diagnose(
        self, incidents: tuple[Incident, ...], snapshot: Snapshot
    ) -> tuple[tuple[Incident, ...], tuple[Problem, ...]]:
        """A new ranking for each, but for those being acted on: our own doing would blur it."""
        busy = {
            intent.plan.incident_id
            for intent in self.store.intents(open_only=True)
            if intent.state in ACTIVE_STATES
        }
        asked = [i for i in incidents if i.id not in busy and i.quiet_since is None and i.is_open]
        standings = self.store.standings() if asked else {}
        ranked, problems = diagnose_all(asked, snapshot, self.rules, verdict_counts=standings)
        mended, told = self._lately(snapshot.now)
        diagnosed = tuple(
            with_diagnosis(i, ranked[i.id], snapshot.now)
            if i.id in ranked
            and (i.id not in mended or is_actionable(ranked[i.id]))
            and (i.id not in told or not is_lost(i.diagnosis, ranked[i.id]))
            else i
            for i in incidents
        )
        for old, new in zip(incidents, diagnosed, strict=True):
            if _cause(old) != _cause(new):
                self._record("incident.diagnosed", new, snapshot.now, _cause(new))
        return self._kept(incidents, diagnosed), problems

    def _lately(self, now: datetime) -> tuple[frozenset[str], frozenset[str]]:
        """Incidents that were repaired, and those that a person was asked about.

        While the traces of a repair fade, doubt does not replace what was known; another cause
        that could be acted on does. What a person was told stands while its traces fade: that
        nothing known fits what is left of them is no news.
        """
        done = [
            x.plan for x in self.store.intents(since=now - RECENT) if x.state is State.SUCCEEDED
        ]
        told = frozenset(plan.incident_id for plan in done if plan.remediation == "escalate")
        mended = frozenset(plan.incident_id for plan in done if plan.remediation != "escalate")
        return mended, told

    def _conclude(self, incidents: tuple[Incident, ...], now: datetime) -> tuple[Incident, ...]:
        concluded = tuple(
            settle(
                incident,
                self.store.intents(incident_id=incident.id),
                now,
                quiet_for(incident, self.settings),
            )
            for incident in incidents
        )
        for old, new in zip(incidents, concluded, strict=True):
            if new.phase is not old.phase and new.phase in (Phase.RESOLVED, Phase.ESCALATED):
                self._record(f"incident.{new.phase}", new, now, new.resolution)
        return self._kept(incidents, concluded)

    def _tell(
        self, before: tuple[Incident, ...], incidents: tuple[Incident, ...], now: datetime
    ) -> tuple[Problem, ...]:
        intents = [x for i in incidents for x in self.store.intents(incident_id=i.id)]
        return self.tell(notices(before, incidents, tuple(intents), now, self.public_url))

    def _kept(self, old: tuple[Incident, ...], new: tuple[Incident, ...]) -> tuple[Incident, ...]:
        """`new`, with what differs from `old` durable."""
        known = {incident.id: incident for incident in old}
        for incident in new:
            if known.get(incident.id) != incident:
                self.store.put_incident(incident)
        return new

    def _record(self, kind: str, incident: Incident, now: datetime, message: str) -> None:
        self.store.record(
            AuditEntry(
                kind=kind,
                at=now,
                actor="healer",
                incident_id=incident.id,
                target=", ".join(str(t) for t in incident.targets[:5]),
                message=message,
                detail={"title": incident.title, "severity": incident.severity.value},
            )
        )


def _acted(
    incidents: tuple[Incident, ...], intents: Sequence[Intent], now: datetime
) -> tuple[Incident, ...]:
    """Incidents that got a plan in this tick keep the ranking it rests on."""
    planned = {
        i.plan.incident_id
        for i in intents
        if i.created_at == now and i.plan.remediation != "escalate"
    }
    return tuple(
        dataclasses.replace(i, acted_on=i.diagnosis, version=i.version + 1)
        if i.id in planned
        else i
        for i in incidents
    )


def _cause(incident: Incident) -> str:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    return f"{leader.cause} on {leader.target}" if leader else ""
