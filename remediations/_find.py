"""From a hypothesis' target to the object that is to be changed."""

from __future__ import annotations

from datetime import timedelta

from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

NOTHING = Success(signals=())


def nearest(topology: Topology, hypothesis: Hypothesis, kind: Kind) -> Target | None:
    """The one target of `kind` the hypothesis means; None when there is none or several."""
    found = topology.related(hypothesis.target, kind)
    known = [t for t in found if topology.get(t) is not None]
    return known[0] if len(known) == 1 else None


def known(topology: Topology, target: Target | None) -> Entity | None:
    return None if target is None else topology.get(target)


def workload_of(topology: Topology, pod: Target) -> Target | None:
    found = [t for t in topology.related(pod, Kind.WORKLOAD) if topology.get(t) is not None]
    return found[0] if found else None


def pods_of(topology: Topology, target: Target) -> tuple[Target, ...]:
    """Pods on or of `target` that have not ended."""
    return tuple(
        pod
        for pod in topology.related(target, Kind.POD)
        if topology.fact(pod, "phase") not in ("Succeeded", "Failed")
    )


def unreplaced(topology: Topology, pod: Target, owner: Target | None) -> str:
    """Why the end of `pod` would not be made good by anybody; empty where it would."""
    entity = topology.get(pod)
    if entity is None or not pod.uid:
        return f"{pod} is not known to the API server"
    facts = entity.facts
    if facts.get("terminating"):
        return f"{pod} is terminating already"
    if facts.get("mirror"):
        return f"{pod} is a static pod: its kubelet would start it again"
    if owner is None or facts.get("bare"):
        return f"{pod} has no controller that would replace it"
    if facts.get("owner_kind") == "Job":
        return f"{pod} belongs to a Job: its end would use up its retries"
    return ""


GROUP_NAME = "leaderworkerset.sigs.k8s.io/name"
GROUP_INDEX = "leaderworkerset.sigs.k8s.io/group-index"


def fate_sharers(topology: Topology, pod: Target) -> tuple[Target, ...]:
    """Pods that go with `pod`: all of its LeaderWorkerSet group, which is made anew as a whole."""
    entity = topology.get(pod)
    group = _group(entity)
    if group is None:
        return (pod,)
    mates = (e.target for e in topology.of(Kind.POD) if _group(e) == group)
    return tuple(sorted({pod, *mates}))


def _group(entity: Entity | None) -> tuple[str, str, str] | None:
    if entity is None or GROUP_NAME not in entity.labels:
        return None
    labels = entity.labels
    return entity.target.namespace, labels[GROUP_NAME], labels.get(GROUP_INDEX, "")


def success(
    incident: Incident,
    hypothesis: Hypothesis,
    deadline: timedelta,
    *,
    replacement: bool = False,
) -> Success:
    """The signals the hypothesis explains must recover; nothing else proves a repair."""
    explained = [f for f in incident.findings if f.key in hypothesis.explains]
    return Success(
        signals=tuple(sorted({finding.signal for finding in explained or incident.findings})),
        deadline=deadline,
        replacement=replacement,
    )


def refused(incident: Incident, hypothesis: Hypothesis, remediation: str, why: str) -> Plan:
    return Plan(
        incident_id=incident.id,
        cause=hypothesis.cause,
        remediation=remediation,
        target=hypothesis.target,
        actions=(),
        success=NOTHING,
        risk=Risk.NONE,
        refused=why,
        confidence=hypothesis.confidence,
    )
