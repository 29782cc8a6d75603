"""One incident as a sequence of moments, put together from everything that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.redaction import redact
from healer.wording import name, say

MOST_SEEN = 200
_SEEN = ("event", "symptom")


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime
    kind: str
    """started, symptom, event, opened, audit kinds such as intent.executing, told, resolved."""
    text: str
    target: str = ""
    actor: str = ""


def timeline(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    deliveries: Sequence[Mapping[str, Any]],
    language: str = "en",
) -> tuple[Moment, ...]:
    """Oldest first. What the audit tells is not told again from the values it was written for."""
    told = {entry.kind for entry in audit}
    found: list[Moment] = [
        Moment(incident.started_at, "started", say("event.started", language)),
        *_symptoms(incident),
        *(
            Moment(e.at, "event", e.message or e.kind, str(e.target), e.source)
            for e in incident.events
        ),
        *(
            Moment(e.at, e.kind, e.message or name("audit", e.kind, language), e.target, e.actor)
            for e in audit
        ),
        *_told(deliveries, language),
    ]
    if "incident.opened" not in told:
        found.append(Moment(incident.opened_at, "opened", say("event.opened", language)))
    if incident.resolved_at is not None and "incident.resolved" not in told:
        text = incident.resolution or say("event.resolved", language)
        found.append(Moment(incident.resolved_at, "resolved", text))
    if not any(kind.startswith(("step.", "intent.")) for kind in told):
        found.extend(_deeds(intents, language))
    return tuple(sorted(found, key=lambda m: m.at))


def readable(moments: Sequence[Moment], language: str) -> tuple[Moment, ...]:
    """What a person can read: of a storm's alerts and symptoms the first few hundred, and how many
    more there were. What was done and decided is always there."""
    seen = [m for m in moments if m.kind in _SEEN]
    if len(seen) <= MOST_SEEN:
        return tuple(moments)
    cut = seen[MOST_SEEN:]
    left = {id(m) for m in cut}
    more = Moment(cut[-1].at, "event", say("chat.more", language, n=len(cut)))
    kept = [m for m in moments if id(m) not in left]
    return tuple(sorted([*kept, more], key=lambda m: m.at))


def worded(moments: Sequence[Moment], speak: Callable[[str], str]) -> tuple[Moment, ...]:
    """What is shown of a timeline, in the reader's language and without anybody's secrets: only
    now, for a storm's has thousands."""
    return tuple(replace(m, text=redact(speak(m.text))) for m in moments)


def _symptoms(incident: Incident) -> Iterator[Moment]:
    """The first of each signal on each target: later detectors only confirm it."""
    seen: set[tuple[str, str]] = set()
    for finding in sorted(incident.findings, key=lambda f: f.since):
        place = (finding.signal, str(finding.target))
        if place not in seen:
            seen.add(place)
            text = finding.summary or finding.signal
            yield Moment(finding.since, "symptom", text, place[1], finding.detector)


def _deeds(intents: Sequence[Intent], language: str) -> Iterator[Moment]:
    for intent in intents:
        for step in intent.steps:
            if step.sent_at is not None:
                what = name("verb", step.action.verb, language)
                text = say("event.sent", language, what=what)
                yield Moment(step.sent_at, "step.sent", text, str(step.action.target))
        if intent.outcome is not None:
            what = name("effect", intent.outcome.effect.value, language)
            text = say("event.outcome", language, what=what)
            yield Moment(intent.outcome.at, "intent.verified", text, str(intent.plan.target))


def _told(deliveries: Sequence[Mapping[str, Any]], language: str) -> Iterator[Moment]:
    for row in deliveries:
        if row["result"] == "delivered":
            moment = datetime.fromisoformat(row["updated_at"])
            yield Moment(moment, "told", say("event.told", language, channel=row["channel"]))
