"""Cordon one node and move its GPU pods elsewhere, one eviction at a time.

For hardware that is gone or corrupts: what still runs there must not serve. The filters are
kubectl's: DaemonSet and mirror pods stay; a pod nobody would replace, or whose emptyDir on disk
would be lost, stops the whole drain before anything is evicted. Pods that use no GPU stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import Action, CordonNode, EvictPod, UncordonNode
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, pods_of, refused, workload_of


@dataclass(frozen=True, slots=True)
class DrainNode(Remediation):
    deadline: Span = timedelta(minutes=20)
    """Longest time until the moved pods serve elsewhere."""

    allow_empty_dir: bool = False
    """Whether pods with an emptyDir on disk may go; those in memory always may."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        node = nearest(topology, hypothesis, Kind.NODE)
        entity = known(topology, node)
        if node is None or entity is None:
            return refused(incident, hypothesis, "drain_node", "not exactly one node is meant")
        moving = [p for p in pods_of(topology, node) if _uses_gpus(topology.get(p))]
        # What serves no more goes first: its replacement gives a disruption budget back to those
        # that still serve.
        moving.sort(key=lambda p: bool(topology.fact(p, "ready")))
        for pod in moving:
            if why := self._refusal(topology, pod):
                return refused(incident, hypothesis, "drain_node", why)
        actions: list[Action] = []
        reason = f"{hypothesis.cause}: {hypothesis.title}"[:200]
        if not entity.facts.get("unschedulable"):
            actions.append(CordonNode(node, node.uid, entity.resource_version, reason))
        actions += [EvictPod(pod, workload_of(topology, pod), pod.uid) for pod in moving]
        if not actions:
            return refused(incident, hypothesis, "drain_node", f"{node} is drained already")
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="drain_node",
            target=node,
            actions=tuple(actions),
            success=_serves_elsewhere(incident, self.deadline, replacement=bool(moving)),
            risk=Risk.MEDIUM,
            summary=f"Cordon {node} and move {len(moving)} GPU pods: "
            f"{hypothesis.title or hypothesis.cause}",
            undo=(UncordonNode(node, node.uid),),
            undo_when="recovered",
            confidence=hypothesis.confidence,
            affected_pods=tuple(moving),
        )

    def _refusal(self, topology: Topology, pod: Target) -> str:
        entity = topology.get(pod)
        facts = entity.facts if entity else {}
        if facts.get("bare") or workload_of(topology, pod) is None:
            return f"{pod} has no controller that would replace it"
        if facts.get("empty_dir_disk") and not self.allow_empty_dir:
            return f"{pod} keeps data in an emptyDir on disk"
        return ""


def _uses_gpus(entity: Entity | None) -> bool:
    if entity is None or entity.facts.get("mirror") or entity.facts.get("daemonset"):
        return False
    return bool(entity.facts.get("gpus_requested")) and not entity.facts.get("terminating")


def _serves_elsewhere(incident: Incident, deadline: timedelta, *, replacement: bool) -> Success:
    """The pods' own signals: the hardware stays broken until somebody repairs it."""
    signals = {f.signal for f in incident.findings if f.target.kind is Kind.POD}
    return Success(tuple(sorted(signals)), deadline=deadline, replacement=replacement)
