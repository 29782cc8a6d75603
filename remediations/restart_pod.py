"""Replace one pod through the eviction API.

For a replica that is broken while its siblings serve. Eviction honours disruption budgets and
carries the pod's UID, so a pod that has been replaced already is left alone. Refused for what
nobody would replace: bare, mirror and DaemonSet pods, and Jobs, whose retries it would use up. A
pod of a LeaderWorkerSet takes its whole group with it, and is counted so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import EvictPod
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import (
    fate_sharers,
    nearest,
    pods_of,
    refused,
    success,
    unreplaced,
    workload_of,
)


@dataclass(frozen=True, slots=True)
class RestartPod(Remediation):
    deadline: Span = timedelta(minutes=15)
    """Longest time a model may take to load on the replacement."""

    single_replica: bool = False
    """Whether the only replica of a workload may be evicted: its service stops meanwhile."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        pod = nearest(topology, hypothesis, Kind.POD)
        if pod is None:
            return refused(incident, hypothesis, "restart_pod", "not exactly one pod is meant")
        owner = workload_of(topology, pod)
        if why := self._refusal(topology, pod, owner):
            return refused(incident, hypothesis, "restart_pod", why)
        together = fate_sharers(topology, pod)
        others = f" and the {len(together) - 1} other pods of its group" * (len(together) > 1)
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="restart_pod",
            target=pod,
            actions=(EvictPod(pod, owner, pod.uid),),
            success=success(incident, hypothesis, self.deadline, replacement=True),
            risk=Risk.LOW if len(together) == 1 else Risk.MEDIUM,
            summary=f"Evict {pod}{others}: {hypothesis.title or hypothesis.cause}",
            affected_pods=together,
            confidence=hypothesis.confidence,
        )

    def _refusal(self, topology: Topology, pod: Target, owner: Target | None) -> str:
        if why := unreplaced(topology, pod, owner):
            return why
        assert owner is not None  # `unreplaced` has refused it
        if topology.fact(pod, "daemonset"):
            return f"{pod} is a DaemonSet pod: eviction would not move it"
        replicas = topology.fact(owner, "replicas")
        if replicas is None:
            return f"the replicas of {owner} are unknown"
        if replicas < 2 and not self.single_replica:
            return f"{owner} has one replica: its service would stop"
        if topology.fact(owner, "api_kind") == "StatefulSet":
            return _blocked(topology, pod, owner)
        return ""


def _blocked(topology: Topology, pod: Target, owner: Target) -> str:
    """In order, a StatefulSet makes no pod anew while a lower one is unready."""
    unready = [
        other
        for other in pods_of(topology, owner)
        if other != pod and topology.fact(other, "ready") is False
    ]
    return f"{unready[0]} is unready too: {owner} might not make the pod anew" if unready else ""
