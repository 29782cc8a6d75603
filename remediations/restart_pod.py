"""Replace one pod through the eviction API.

For a replica that is broken while its siblings serve. Eviction honours disruption budgets and
carries the pod's UID, so a pod that has been replaced already is left alone. Refused for what
nobody would replace: bare, mirror and DaemonSet pods, and Jobs, whose retries it would use up.
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
from remediations._find import nearest, refused, success, workload_of


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
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="restart_pod",
            target=pod,
            actions=(EvictPod(pod, owner, pod.uid),),
            success=success(incident, hypothesis, self.deadline, replacement=True),
            risk=Risk.LOW,
            summary=f"Evict {pod}: {hypothesis.title or hypothesis.cause}",
            affected_pods=(pod,),
            confidence=hypothesis.confidence,
        )

    def _refusal(self, topology: Topology, pod: Target, owner: Target | None) -> str:
        entity = topology.get(pod)
        if entity is None or not pod.uid:
            return f"{pod} is not known to the API server"
        facts = entity.facts
        if facts.get("terminating"):
            return f"{pod} is terminating already"
        if facts.get("mirror") or facts.get("daemonset"):
            return f"{pod} is a static or DaemonSet pod: eviction would not move it"
        if owner is None or facts.get("bare"):
            return f"{pod} has no controller that would replace it"
        if facts.get("owner_kind") == "Job":
            return f"{pod} belongs to a Job: eviction would use up its retries"
        replicas = topology.fact(owner, "replicas")
        if replicas is None:
            return f"the replicas of {owner} are unknown"
        if replicas < 2 and not self.single_replica:
            return f"{owner} has one replica: its service would stop"
        return ""
