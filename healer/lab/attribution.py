"""Which of Healer's incidents speaks of which fault, and what it said of it.

Where faults overlap this is a judgement: an incident is a fault's when it names its cause, or when
it opened or grew while that fault was the newest and names no other's.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.lab.lab import Lab
from healer.lab.scenario import Expectation, Scenario
from healer.lab.world import Broken
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent


@dataclass(frozen=True, slots=True)
class Observed:
    """Healer's own record, from its report API or store."""

    incidents: Sequence[Incident]
    intents: Sequence[Intent]
    audit: Sequence[AuditEntry] = ()


def is_right(hypothesis: Mapping[str, Any], expected: Expectation | None) -> bool:
    return (
        expected is not None
        and hypothesis["cause"] in expected.causes
        and any(fnmatch.fnmatchcase(hypothesis["target"], p) for p in expected.targets)
    )


def cites(incident: Incident | None) -> bool:
    """Whether the leading cause names an observation that tells it from its rivals."""
    diagnosis = None if incident is None else incident.acted_on or incident.diagnosis
    leader = diagnosis.hypotheses[0] if diagnosis and diagnosis.hypotheses else None
    if leader is None:
        return False
    return any(term.decisive and term.seen for term in leader.evidence_for)


def expectation_of(scenario: Scenario, broken: Broken) -> Expectation | None:
    names = (broken.spec.name, broken.spec.kind)
    for expected in scenario.expect:
        if expected.fault in names or (not expected.fault and len(scenario.faults) == 1):
            return expected
    return None


def others_than(scenario: Scenario, broken: Broken, lab: Lab) -> list[Expectation | None]:
    """What is expected of the other faults."""
    return [expectation_of(scenario, b) for b in lab.world.broken if b is not broken]


def repairs(incident: Incident | None, observed: Observed) -> list[Intent]:
    return [
        i
        for i in observed.intents
        if incident is not None
        and i.plan.incident_id == incident.id
        and i.plan.remediation != "escalate"
        and not i.compensates
    ]


def is_for(
    intent: Intent, others: Sequence[Expectation | None], expected: Expectation | None
) -> bool:
    """Whether a repair, by its cause, was for another fault of the same incident."""
    if expected is not None and intent.plan.cause in expected.causes:
        return False
    return any(other is not None and intent.plan.cause in other.causes for other in others)


def said_of(
    incident: Incident | None, expected: Expectation | None, broken: Broken, observed: Observed
) -> list[dict[str, Any]]:
    """The ranking that speaks of this fault: the incident's own, or, where one incident held
    several faults one after another, led by what it was acted on, or a person asked, for this
    one."""
    last = hypotheses_of(incident)
    if incident is None or any(is_right(each, expected) for each in last[:1]):
        return last
    told = [
        entry
        for entry in observed.audit
        if entry.incident_id == incident.id and entry.kind == "incident.diagnosed"
    ]
    for intent in observed.intents:
        if intent.plan.incident_id != incident.id or intent.compensates:
            continue
        before = [entry.message for entry in told if entry.at <= intent.created_at]
        if intent.created_at < broken.at or not intent.executed_at or not before:
            continue
        cause, _, target = before[-1].partition(" on ")
        led = {"cause": cause, "target": target, "confidence": round(intent.plan.confidence, 3)}
        if is_right(led, expected):
            return [led, *last]
    return last


def incidents_of(
    scenario: Scenario, broken: Broken, observed: Observed, lab: Lab
) -> list[Incident]:
    """Incidents that opened while this fault was the newest, or that it became a part of.

    Where faults overlap, one that another fault explains is that one's, and one that this fault
    explains is this one's although it opened after the next had begun.
    """
    others = others_than(scenario, broken, lab)
    later = [b.at for b in lab.world.broken if b.at > broken.at]
    until = min(later, default=scenario.start + scenario.duration)

    def told(incident: Incident, expected: Expectation | None) -> bool:
        said = said_of(incident, expected, broken, observed)
        return any(is_right(each, expected) for each in said[:1])

    found = []
    for incident in observed.incidents:
        begun = broken.at <= incident.opened_at < until
        grown = incident.opened_at < broken.at and _grew(incident, broken, until)
        if told(incident, expectation_of(scenario, broken)):
            if incident.opened_at >= broken.at or grown:
                found.append(incident)
        elif (begun or grown) and not any(told(incident, other) for other in others):
            found.append(incident)
    return found


def _grew(incident: Incident, broken: Broken, until: datetime) -> bool:
    """Whether an incident that was open already took in symptoms of a later fault."""
    symptoms = [f.since for f in incident.findings] + [e.at for e in incident.events]
    still = incident.resolved_at is None or incident.resolved_at > broken.at
    return still and any(broken.at <= at < until for at in symptoms)


def noticed_at(incident: Incident, broken: Broken, observed: Observed) -> datetime:
    """When it opened; for one that was open already, when its diagnosis changed."""
    if incident.opened_at >= broken.at:
        return incident.opened_at
    changed = [
        entry.at
        for entry in observed.audit
        if entry.incident_id == incident.id
        and entry.kind == "incident.diagnosed"
        and entry.at >= broken.at
    ]
    return min(changed, default=incident.updated_at)


def best_of(
    incidents: Sequence[Incident],
    expected: Expectation | None,
    broken: Broken,
    observed: Observed,
) -> Incident | None:
    """The incident that speaks of this fault; else the gravest that came after it."""
    causes = expected.causes if expected else ()
    for incident in incidents:
        said = said_of(incident, expected, broken, observed)
        if any(is_right(each, expected) for each in said[:1]):
            return incident
    for incident in incidents:
        hypotheses = hypotheses_of(incident)
        if hypotheses and hypotheses[0]["cause"] in causes:
            return incident
    return incidents[0] if incidents else None


def hypotheses_of(incident: Incident | None) -> list[dict[str, Any]]:
    diagnosis = None if incident is None else incident.acted_on or incident.diagnosis
    if diagnosis is None:
        return []
    return [
        {"cause": h.cause, "target": str(h.target), "confidence": round(h.confidence, 3)}
        for h in diagnosis.hypotheses[:5]
    ]


def newest(incidents: Sequence[Incident]) -> Incident | None:
    return max(incidents, key=lambda i: i.opened_at, default=None)
