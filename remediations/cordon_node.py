"""Mark one node unschedulable, signed as ours, and leave its pods alone.

For hardware that degrades but still serves: nothing new lands on it, what runs goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import CordonNode, UncordonNode
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, refused


@dataclass(frozen=True, slots=True)
class CordonNodeRemediation(Remediation):
    deadline: Span = timedelta(minutes=2)
    """How long until the node must show as unschedulable."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        node = nearest(topology, hypothesis, Kind.NODE)
        entity = known(topology, node)
        if node is None or entity is None:
            return refused(incident, hypothesis, "cordon_node", "not exactly one node is meant")
        if entity.facts.get("unschedulable"):
            return refused(incident, hypothesis, "cordon_node", f"{node} is cordoned already")
        reason = f"{hypothesis.cause}: {hypothesis.title}"[:200]
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="cordon_node",
            target=node,
            actions=(CordonNode(node, node.uid, entity.resource_version, reason),),
            success=Success(signals=(), deadline=self.deadline),
            risk=Risk.MEDIUM,
            summary=f"Cordon {node}: {hypothesis.title or hypothesis.cause}",
            undo=(UncordonNode(node, node.uid),),
            undo_when="recovered",
            confidence=hypothesis.confidence,
        )
