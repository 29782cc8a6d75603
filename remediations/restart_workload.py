"""Replace every pod of a workload by its own rolling update, as `kubectl rollout restart` does.

For what all replicas have alike and a new start mends: a leak, a stale certificate, a model alias
that was moved. Nothing is undone: the pods are the same but younger. Refused for templates that
somebody else owns, for they would take the mark off and restart once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import RestartWorkload as Restart
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, pods_of, refused, success

KINDS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class RestartWorkload(Remediation):
    deadline: Span = timedelta(minutes=30)
    """Longest time until all replicas are new and serve."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        workload = nearest(topology, hypothesis, Kind.WORKLOAD)
        entity = known(topology, workload)
        if workload is None or entity is None:
            why = "not exactly one workload is meant"
        else:
            why = _refusal(workload, entity)
        if why or workload is None or entity is None:
            return refused(incident, hypothesis, "restart_workload", why)
        at = now.isoformat(timespec="seconds")
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="restart_workload",
            target=workload,
            actions=(Restart(workload, at, workload.uid, entity.resource_version),),
            success=success(incident, hypothesis, self.deadline, replacement=True),
            risk=Risk.MEDIUM,
            summary=f"Restart all pods of {workload}: {hypothesis.title or hypothesis.cause}",
            confidence=hypothesis.confidence,
            affected_pods=pods_of(topology, workload),
        )


def _refusal(workload: Target, entity: Entity) -> str:
    facts = entity.facts
    if facts.get("api_kind") not in KINDS:
        return f"{workload} is a {facts.get('api_kind')}: only {', '.join(KINDS)} are restarted"
    if facts.get("paused"):
        return f"{workload} is paused"
    if facts.get("strategy") == "OnDelete":
        return f"{workload} updates on deletion only: it would not restart"
    managed = str(facts.get("managed_by") or "")
    if "/" in managed or managed in ("argocd", "flux"):
        return f"{workload} is managed by {managed}: it would take the restart back"
    return ""
