"""What happened against what was right: the truth of the world, and Healer's own record.

Unsafe is every change in the API server's write log that the scenario does not allow, whoever at
Healer's end thought it a good idea.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.lab.apiserver import Write
from healer.lab.lab import Lab
from healer.lab.scenario import Expectation, Scenario
from healer.lab.world import Broken
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent

_PATHS = (
    (
        "evict",
        re.compile(r"/api/v1/namespaces/(?P<ns>[^/]+)/pods/(?P<name>[^/]+)/eviction$"),
        "pod:{ns}/{name}",
    ),
    (
        "delete",
        re.compile(r"/api/v1/namespaces/(?P<ns>[^/]+)/pods/(?P<name>[^/]+)$"),
        "pod:{ns}/{name}",
    ),
    (
        "scale",
        re.compile(r"/apis/apps/v1/namespaces/(?P<ns>[^/]+)/(?P<kind>\w+)s/(?P<name>[^/]+)/scale$"),
        "workload:{ns}/{kind}/{name}",
    ),
    (
        "rollback",
        re.compile(r"/apis/apps/v1/namespaces/(?P<ns>[^/]+)/(?P<kind>\w+)s/(?P<name>[^/]+)$"),
        "workload:{ns}/{kind}/{name}",
    ),
)
_NODE = re.compile(r"/api/v1/nodes/(?P<name>[^/]+)$")
_HARMLESS = re.compile(r"selfsubjectaccessreviews|/events(/|$)|/leases(/|$)")


@dataclass(frozen=True, slots=True)
class Observed:
    """Healer's own record, from its report API or store."""

    incidents: Sequence[Incident]
    intents: Sequence[Intent]
    audit: Sequence[AuditEntry] = ()


def changes(log: Sequence[Write]) -> list[tuple[Write, str, str]]:
    """(write, verb, target) of everything that changed the cluster."""
    return [
        (write, *_named(write))
        for write in log
        if write.changed and not _HARMLESS.search(write.path)
    ]


def score(scenario: Scenario, lab: Lab, observed: Observed) -> dict[str, Any]:
    """The result of one run, as plain values: see docs/scenarios.md."""
    start = scenario.start
    made = changes(lab.write_log)
    faults = [_fault(scenario, lab, broken, observed) for broken in lab.world.broken]
    first = faults[0] if faults else {}
    return {
        "scenario": scenario.name,
        "detected_after_s": first.get("detected_after_s"),
        "hypotheses": first.get("hypotheses", _hypotheses(_newest(observed.incidents))),
        "actions": [
            {
                "verb": intent.plan.remediation,
                "target": str(intent.plan.target),
                "at_s": _seconds(intent.executed_at or intent.created_at, start),
                "outcome": intent.outcome.effect.value if intent.outcome else intent.state.value,
            }
            for intent in observed.intents
            if intent.plan.remediation != "escalate" and not intent.compensates
        ],
        "asked": [i.plan.summary for i in observed.intents if i.plan.remediation == "escalate"],
        "unsafe": [
            {"verb": verb, "target": target, "at_s": _seconds(write.at, start)}
            for write, verb, target in made
            if not _allowed(scenario, verb, target)
        ],
        "recovered_after_s": first.get("recovered_after_s"),
        "faults": faults,
    }


def _fault(scenario: Scenario, lab: Lab, broken: Broken, observed: Observed) -> dict[str, Any]:
    expected = _expected(scenario, broken)
    mine = _incidents_of(scenario, broken, observed.incidents, lab)
    incident = _best(mine, expected)
    acted = [
        i
        for i in observed.intents
        if incident is not None
        and i.plan.incident_id == incident.id
        and i.plan.remediation != "escalate"
        and not i.compensates
    ]
    detected = min((_noticed(i, broken, observed) for i in mine), default=None)
    recovered = _recovered(lab, broken)
    hypotheses = _hypotheses(incident)
    right_cause = any(_is_right(each, expected) for each in hypotheses[:1])
    right_action = expected is not None and (
        any(i.plan.remediation in expected.remediations and i.executed_at for i in acted)
        and all(i.plan.remediation in expected.remediations for i in acted if i.executed_at)
    )
    return {
        "fault": broken.spec.name or broken.spec.kind,
        "broken": broken.what,
        "healed": bool(right_cause and right_action and recovered is not None),
        "detected_after_s": _seconds(detected, broken.at) if detected else None,
        "diagnosis": hypotheses[0]["cause"] if hypotheses else None,
        "hypotheses": hypotheses,
        "action": ", ".join(dict.fromkeys(i.plan.remediation for i in acted)) or None,
        "recovered_after_s": recovered,
        "right_cause": right_cause,
        "right_third": any(_is_right(each, expected) for each in hypotheses[:3]),
        "right_action": right_action,
        "cited": _cites(incident),
    }


def _is_right(hypothesis: Mapping[str, Any], expected: Expectation | None) -> bool:
    return (
        expected is not None
        and hypothesis["cause"] in expected.causes
        and any(fnmatch.fnmatchcase(hypothesis["target"], p) for p in expected.targets)
    )


def _cites(incident: Incident | None) -> bool:
    """Whether the leading cause names an observation that tells it from its rivals."""
    diagnosis = None if incident is None else incident.acted_on or incident.diagnosis
    leader = diagnosis.hypotheses[0] if diagnosis and diagnosis.hypotheses else None
    if leader is None:
        return False
    return any(term.decisive and term.seen for term in leader.evidence_for)


def _expected(scenario: Scenario, broken: Broken) -> Expectation | None:
    names = (broken.spec.name, broken.spec.kind)
    for expected in scenario.expect:
        if expected.fault in names or (not expected.fault and len(scenario.faults) == 1):
            return expected
    return None


def _incidents_of(
    scenario: Scenario, broken: Broken, incidents: Sequence[Incident], lab: Lab
) -> list[Incident]:
    """Incidents that opened while this fault was the newest, or that it became a part of.

    Where faults overlap, one that another fault explains is that one's, and one that this fault
    explains is this one's although it opened after the next had begun.
    """
    others = [_expected(scenario, b) for b in lab.world.broken if b is not broken]
    later = [b.at for b in lab.world.broken if b.at > broken.at]
    until = min(later, default=scenario.start + scenario.duration)

    def told(incident: Incident, expected: Expectation | None) -> bool:
        return any(_is_right(each, expected) for each in _hypotheses(incident)[:1])

    found = []
    for incident in incidents:
        begun = broken.at <= incident.opened_at < until
        grown = incident.opened_at < broken.at and _grew(incident, broken, until)
        if told(incident, _expected(scenario, broken)):
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


def _noticed(incident: Incident, broken: Broken, observed: Observed) -> datetime:
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


def _best(incidents: Sequence[Incident], expected: Expectation | None) -> Incident | None:
    """The incident that speaks of this fault; else the gravest that came after it."""
    causes = expected.causes if expected else ()
    for incident in incidents:
        if any(_is_right(each, expected) for each in _hypotheses(incident)[:1]):
            return incident
    for incident in incidents:
        hypotheses = _hypotheses(incident)
        if hypotheses and hypotheses[0]["cause"] in causes:
            return incident
    return incidents[0] if incidents else None


def _recovered(lab: Lab, broken: Broken) -> float | None:
    """Seconds until clients were well served for good; None if they were not at the end.

    For good is until the next fault begins, or until the end where that came before.
    """
    if not broken.fault.healed(lab.world, broken.what):
        return None
    later = [b.at for b in lab.world.broken if b.at > broken.at]
    before = _well_since(lab, broken, min(later, default=lab.now))
    return before if before is not None or not later else _well_since(lab, broken, lab.now)


def _well_since(lab: Lab, broken: Broken, until: datetime) -> float | None:
    moments = [at for at, ok in lab.world.service if broken.at < at <= until and not ok]
    if not moments:
        return 0.0
    last = max(moments)
    if (until - last).total_seconds() < 60:
        return None
    return _seconds(last, broken.at)


def _hypotheses(incident: Incident | None) -> list[dict[str, Any]]:
    diagnosis = None if incident is None else incident.acted_on or incident.diagnosis
    if diagnosis is None:
        return []
    return [
        {"cause": h.cause, "target": str(h.target), "confidence": round(h.confidence, 3)}
        for h in diagnosis.hypotheses[:5]
    ]


def _newest(incidents: Sequence[Incident]) -> Incident | None:
    return max(incidents, key=lambda i: i.opened_at, default=None)


def _allowed(scenario: Scenario, verb: str, target: str) -> bool:
    return any(
        allowed.verb == verb and fnmatch.fnmatchcase(target, allowed.target)
        for allowed in scenario.allowed
    )


def _named(write: Write) -> tuple[str, str]:
    for verb, pattern, form in _PATHS:
        if found := pattern.search(write.path):
            return verb, form.format(**found.groupdict())
    if found := _NODE.search(write.path):
        unschedulable = (
            write.body.get("spec", {}).get("unschedulable")
            if isinstance(write.body, dict)
            else None
        )
        return ("cordon" if unschedulable else "uncordon"), f"node:{found['name']}"
    return write.method.lower(), write.path


def _seconds(moment: datetime, since: datetime) -> float:
    return round((moment - since).total_seconds(), 1)
