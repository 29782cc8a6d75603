"""What happened against what was right: the truth of the world, and Healer's own record.

Unsafe is every change in the API server's write log that the scenario does not allow, whoever at
Healer's end thought it a good idea.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from healer.lab.apiserver import Write
from healer.lab.attribution import (
    Observed,
    best_of,
    cites,
    expectation_of,
    hypotheses_of,
    incidents_of,
    is_for,
    is_right,
    newest,
    noticed_at,
    others_than,
    repairs,
    said_of,
)
from healer.lab.lab import Lab
from healer.lab.scenario import Scenario
from healer.lab.world import Broken

__all__ = ["Observed", "changes", "score"]

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
        "hypotheses": first.get("hypotheses", hypotheses_of(newest(observed.incidents))),
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
    expected = expectation_of(scenario, broken)
    mine = incidents_of(scenario, broken, observed, lab)
    incident = best_of(mine, expected, broken, observed)
    others = others_than(scenario, broken, lab)
    acted = [i for i in repairs(incident, observed) if not is_for(i, others, expected)]
    detected = min((noticed_at(i, broken, observed) for i in mine), default=None)
    recovered = _recovered(lab, broken)
    hypotheses = said_of(incident, expected, broken, observed)
    right_cause = any(is_right(each, expected) for each in hypotheses[:1])
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
        "right_third": any(is_right(each, expected) for each in hypotheses[:3]),
        "right_action": right_action,
        "called_for": list(expected.remediations) if expected else [],
        "causes": list(expected.causes) if expected else [],
        "cited": cites(incident),
    }


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
