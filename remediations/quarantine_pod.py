"""Take one pod out of its services and keep it running, for somebody to look into.

Its labels change, so that services and its controller no longer select it: traffic ends, and the
controller makes a replacement at once, for which there has to be room. The pod and its GPUs stay
as they are until it is released or deleted. Only pods of ReplicaSets: others would not be
replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import QuarantinePod as Quarantine
from healer.model.actions import ReleasePod
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import nearest, refused, success, unreplaced, workload_of


@dataclass(frozen=True, slots=True)
class QuarantinePod(Remediation):
    deadline: Span = timedelta(minutes=15)
    """Longest time a model may take to load on the replacement."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        pod = nearest(topology, hypothesis, Kind.POD)
        if pod is None:
            return refused(incident, hypothesis, "quarantine_pod", "not exactly one pod is meant")
        owner = workload_of(topology, pod)
        keys = tuple(sorted(set(_selecting(topology, pod, owner))))
        why = unreplaced(topology, pod, owner)
        if not why and topology.fact(pod, "owner_kind") != "ReplicaSet":
            why = f"{pod} belongs to a {topology.fact(pod, 'owner_kind')}: it would not be replaced"
        if not why and not keys:
            why = f"no label of {pod} is known that a service selects by"
        if why:
            return refused(incident, hypothesis, "quarantine_pod", why)
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="quarantine_pod",
            target=pod,
            actions=(Quarantine(pod, keys, owner, pod.uid),),
            success=success(incident, hypothesis, self.deadline, replacement=True),
            risk=Risk.MEDIUM,
            summary=f"Take {pod} out of service and keep it running: "
            f"{hypothesis.title or hypothesis.cause}",
            undo=(ReleasePod(pod, pod.uid),),
            affected_pods=(pod,),
            confidence=hypothesis.confidence,
        )


def _selecting(topology: Topology, pod: Target, owner: Target | None) -> Iterator[str]:
    """Keys of the pod's labels that services and its controller select by."""
    entity = topology.get(pod)
    labels = entity.labels if entity else {}
    wanted: set[str] = set()
    if owner is not None:
        wanted |= set((topology.fact(owner, "selector") or {}).get("matchLabels") or {})
        for service in topology.related(owner, Kind.SERVICE):
            wanted |= set(topology.fact(service, "selector") or {})
    yield from (key for key in labels if key in wanted)
