"""Add replicas to the workload that cannot keep up, to a concrete number.

How many follows from the evidence: requests waiting against requests running says how much more
capacity the present load needs. Refused where an autoscaler owns the number: it would undo a
direct write at its next sync.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import ScaleWorkload
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, refused, success


@dataclass(frozen=True, slots=True)
class Scale(Remediation):
    max_step: int = 4
    """Most replicas added at once."""

    growth: float = 0.5
    """Share of the present replicas that is added, rounded up, when nothing tells more."""

    max_replicas: int = 32
    """Never more than that in all."""

    deadline: Span = timedelta(minutes=15)
    """Longest time until new replicas have loaded the model and the queue is gone."""

    recovers: tuple[str, ...] = ("requests_waiting", "queue_time_p95", "preemptions")
    """Signals that prove it: the load stays, so only what piled up has to go."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        workload = nearest(topology, hypothesis, Kind.WORKLOAD)
        entity = known(topology, workload)
        if workload is None or entity is None:
            return refused(incident, hypothesis, "scale", "not exactly one workload is meant")
        facts = entity.facts
        was = facts.get("replicas")
        if was is None or was < 1:
            return refused(incident, hypothesis, "scale", f"replicas of {workload} are {was}")
        if facts.get("hpa"):
            name = facts["hpa"].get("name", "an autoscaler")
            return refused(incident, hypothesis, "scale", f"{name} owns the replicas of {workload}")
        wanted = min(was + self._step(was), self.max_replicas)
        if wanted <= was:
            return refused(incident, hypothesis, "scale", f"{workload} has {was}, the most allowed")
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="scale",
            target=workload,
            actions=(ScaleWorkload(workload, wanted, was, workload.uid, entity.resource_version),),
            success=self._success(incident, hypothesis),
            risk=Risk.LOW,
            summary=f"Scale {workload} from {was} to {wanted} replicas: "
            f"{hypothesis.title or hypothesis.cause}",
            undo=(ScaleWorkload(workload, was, wanted, workload.uid),),
            undo_when="quiet",
            confidence=hypothesis.confidence,
        )

    def _success(self, incident: Incident, hypothesis: Hypothesis) -> Success:
        """Latency under a higher load is higher; it is the queue that must be gone."""
        asked = success(incident, hypothesis, self.deadline)
        piled = tuple(signal for signal in asked.signals if signal in self.recovers)
        return dataclasses.replace(asked, signals=piled or asked.signals)

    def _step(self, replicas: int) -> int:
        return max(1, min(self.max_step, math.ceil(replicas * self.growth)))
