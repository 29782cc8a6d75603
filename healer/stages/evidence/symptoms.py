"""Symptoms: what an incident consists of, findings and events alike, and which still last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.event import Event
from healer.model.finding import Finding, Level
from healer.model.incident import Incident
from healer.model.target import Target

LASTS = timedelta(seconds=60)
"""A finding repeats every tick while it lasts; a tick or two, and a scrape, may be late."""


def lasts(step: timedelta) -> timedelta:
    """How old a finding may be and still be there, at a scrape interval of `step`."""
    return max(LASTS, 3 * step)


@dataclass(frozen=True, slots=True)
class Symptom:
    """One finding or event of an incident. `name` is its signal, or the event's kind."""

    key: str
    name: str
    target: Target
    since: datetime
    grave: bool
    """Whether it may open an incident, and so wants an explanation."""
    said: str
    parts: tuple[str, ...] = ()
    """Of a joint finding: the signals that made it up."""

    def is_any(self, names: tuple[str, ...]) -> bool:
        """Whether it is among `names`. Alerts are other people's words for any of them."""
        return (
            self.name == "alert"
            or "*" in names
            or self.name in names
            or any(part in names for part in self.parts)
        )


PART_COUNTS = 0.2
"""Share of a joint score from which on a signal is part of the symptom."""


def of_finding(finding: Finding) -> Symptom:
    said = finding.summary or f"{finding.signal} of {finding.target} deviates"
    grave = finding.level >= Level.PAGE
    parts = tuple(name for name, share in finding.contributions if share >= PART_COUNTS)
    return Symptom(finding.key, finding.signal, finding.target, finding.since, grave, said, parts)


def of_event(event: Event, *, grave: bool) -> Symptom:
    said = event.message or event.attributes.get("alertname", "") or str(event.target)
    return Symptom(event.key, event.kind, event.target, event.at, grave, f"{event.kind}: {said}")


def symptoms(incident: Incident, now: datetime, step: timedelta) -> tuple[Symptom, ...]:
    """What `incident` still has to explain; everything it ever had where all of it has gone."""
    alive = [f for f in incident.findings if now - f.at <= lasts(step)]
    going = [e for e in incident.events if e.ended_at is None]
    if not alive and not going:
        alive, going = list(incident.findings), list(incident.events)
    found = [*map(of_finding, alive), *(of_event(e, grave=True) for e in going)]
    return tuple(sorted(found, key=lambda each: (each.since, each.key)))
