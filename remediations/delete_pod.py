"""Delete one pod that cannot be evicted, whatever its disruption budget says.

With every replica broken, a budget lets none of them go. Deleting asks nobody, so a person does:
the risk is high, and the guards let it through by approval alone. Grace is the pod's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import DeletePod as Delete
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import fate_sharers, nearest, refused, success, unreplaced, workload_of


@dataclass(frozen=True, slots=True)
class DeletePod(Remediation):
    deadline: Span = timedelta(minutes=15)
    """Longest time a model may take to load on the replacement."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        pod = nearest(topology, hypothesis, Kind.POD)
        if pod is None:
            return refused(incident, hypothesis, "delete_pod", "not exactly one pod is meant")
        owner = workload_of(topology, pod)
        if why := unreplaced(topology, pod, owner):
            return refused(incident, hypothesis, "delete_pod", why)
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="delete_pod",
            target=pod,
            actions=(Delete(pod, owner, pod.uid),),
            success=success(incident, hypothesis, self.deadline, replacement=True),
            risk=Risk.HIGH,
            summary=f"Delete {pod}, asking no disruption budget: "
            f"{hypothesis.title or hypothesis.cause}",
            affected_pods=fate_sharers(topology, pod),
            confidence=hypothesis.confidence,
        )
