"""Add replicas to the workload that cannot keep up, to a concrete number.

Where an autoscaler owns the number, its lower bound is raised instead, never beyond its upper one:
it would undo a direct write at its next sync.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from healer.model.actions import Action, ScaleWorkload, SetFloor
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, refused, success

SCALABLE = (None, "Deployment", "StatefulSet", "ReplicaSet", "LeaderWorkerSet", "Rollout")
"""Kinds with a scale; None is a kind that the topology did not tell."""


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
    """Signals that prove it: the load stays, so only what piled up has to go. The first one is
    asked where the incident shows none of them."""

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
        if facts.get("api_kind") not in SCALABLE:
            why = f"{workload} is a {facts.get('api_kind')}: it has no number to set"
            return refused(incident, hypothesis, "scale", why)
        wanted = min(was + self._step(was), self.max_replicas)
        change = _by_autoscaler(workload, facts["hpa"], wanted, was) if facts.get("hpa") else None
        if isinstance(change, str):
            return refused(incident, hypothesis, "scale", change)
        if wanted <= was:
            return refused(incident, hypothesis, "scale", f"{workload} has {was}, the most allowed")
        does, undo, told = change or (
            ScaleWorkload(workload, wanted, was, workload.uid, entity.resource_version),
            ScaleWorkload(workload, was, wanted, workload.uid),
            f"Scale {workload} from {was} to {wanted} replicas",
        )
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="scale",
            target=workload,
            actions=(does,),
            success=self._success(incident, hypothesis),
            risk=Risk.LOW,
            summary=f"{told}: {hypothesis.title or hypothesis.cause}",
            undo=(undo,),
            undo_when="quiet",
            confidence=hypothesis.confidence,
        )

    def _success(self, incident: Incident, hypothesis: Hypothesis) -> Success:
        """Latency under a higher load is higher; it is the queue that must be gone."""
        asked = success(incident, hypothesis, self.deadline)
        piled = tuple(signal for signal in asked.signals if signal in self.recovers)
        return dataclasses.replace(asked, signals=piled or self.recovers[:1])

    def _step(self, replicas: int) -> int:
        return max(1, min(self.max_step, math.ceil(replicas * self.growth)))


def _by_autoscaler(
    workload: Target, known: Mapping[str, Any], wanted: int, was: int
) -> tuple[Action, Action, str] | str:
    """(raise the lower bound, take it back, in words), or why that may not be."""
    scaler, low, high = known.get("scaler"), known.get("min"), known.get("max")
    if not scaler or low is None or high is None:
        return f"{known.get('name', 'an autoscaler')} owns the replicas of {workload}"
    floor = min(wanted, high)
    if floor <= was:
        return f"{scaler} allows {high} replicas of {workload} at most, and it has {was}"
    uid = str(known.get("uid", ""))
    return (
        SetFloor(workload, scaler, floor, low, uid),
        SetFloor(workload, scaler, low, floor, uid),
        f"Raise the minimum of {scaler} from {low} to {floor}, so that {workload} has more than "
        f"{was} replicas",
    )
