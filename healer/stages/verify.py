"""Verify: did the repair work? The incident's own signals decide, over fresh samples.

No samples are never a pass. A pod that was replaced is judged by the pods that came for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np

from healer.model.actions import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    QuarantinePod,
    RestartWorkload,
    RollbackWorkload,
    ScaleWorkload,
    SetFloor,
    UncordonNode,
)
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.intent import Effect, Intent, Outcome
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

SWITCH = "bool"
"""The unit of signals that are on or off."""


def verify(intent: Intent, snapshot: Snapshot, incident: Incident | None) -> Outcome | None:
    """The verdict, or None while it is too early to tell."""
    now = snapshot.now
    begun = max((s.receipt.at for s in intent.steps if s.receipt), default=intent.updated_at)
    late = now - begun >= intent.plan.success.deadline
    if not snapshot.cluster_ok or not snapshot.metrics_ok:
        return Outcome(Effect.INCONCLUSIVE, now, ("the world cannot be seen",)) if late else None
    unmet = tuple(_unmet_state(intent, snapshot.topology))
    if unmet:
        return Outcome(Effect.INEFFECTIVE, now, unmet) if late else None
    symptoms, seen, unseen = _symptoms(intent, snapshot, incident, begun)
    if symptoms:
        return Outcome(Effect.INEFFECTIVE, now, tuple(symptoms)) if late else None
    if intent.plan.success.signals and (unseen or not seen):
        reason = f"no fresh sample of {', '.join(unseen) or 'its signals'}"
        return Outcome(Effect.INCONCLUSIVE, now, (reason,)) if late else None
    return Outcome(Effect.EFFECTIVE, now, tuple(seen) or ("the end state is there",))


def _unmet_state(intent: Intent, topology: Topology) -> Iterator[str]:
    """What of the actions' end states is not there yet."""
    for step in intent.steps:
        action = step.action
        match action:
            case CordonNode(target=node):
                if not topology.fact(node, "unschedulable"):
                    yield f"{node} is schedulable"
            case UncordonNode(target=node):
                if topology.fact(node, "unschedulable"):
                    yield f"{node} is still cordoned"
            case EvictPod(target=pod, owner=owner) | DeletePod(target=pod, owner=owner):
                yield from _unreplaced(intent, pod, owner, topology)
            case QuarantinePod(owner=owner) if owner is not None:
                yield from _wanting(intent, owner, topology)
            case _:
                yield from _unmet_by_workload(action, topology)


def _unmet_by_workload(action: Action, topology: Topology) -> Iterator[str]:
    match action:
        case ScaleWorkload(target=workload, replicas=replicas):
            ready = topology.fact(workload, "ready_replicas") or 0
            if ready < replicas:
                yield f"{ready} of {replicas} replicas of {workload} are ready"
        case SetFloor(target=workload, floor=floor, takes_back=""):
            ready = topology.fact(workload, "ready_replicas") or 0
            if ready < floor:
                yield f"{ready} of {floor} replicas of {workload} are ready"
        case RollbackWorkload(target=workload):
            if not _rolled_out(workload, topology):
                yield f"{workload} is still rolling back"
        case RestartWorkload(target=workload):
            if not _rolled_out(workload, topology):
                yield f"{workload} is still restarting"
        case _:
            pass


def _rolled_out(workload: Target, topology: Topology) -> bool:
    entity = topology.get(workload)
    facts = entity.facts if entity else {}
    replicas = facts.get("replicas")
    if (facts.get("observed_generation") or 0) < (facts.get("generation") or 0):
        return False
    if facts.get("api_kind") == "InferenceService":  # its replicas are another object's
        return bool(facts.get("ready"))
    return (
        replicas is not None
        and facts.get("updated_replicas") == replicas
        and facts.get("available_replicas") == replicas
    )


def _unreplaced(
    intent: Intent, pod: Target, owner: Target | None, topology: Topology
) -> Iterator[str]:
    entity = topology.get(pod)
    if entity is not None and entity.target.uid == pod.uid and not _stranded(entity, topology):
        yield f"{pod} has not gone yet"
    elif owner is not None and intent.plan.success.replacement:
        yield from _wanting(intent, owner, topology)


def _wanting(intent: Intent, owner: Target, topology: Topology) -> Iterator[str]:
    """What the replacement of a pod of `owner` still lacks."""
    wanted = topology.fact(owner, "replicas") or 0
    ready = [p for p in topology.related(owner, Kind.POD) if topology.fact(p, "ready")]
    new = [p for p in ready if p.uid not in intent.pods_before]
    if not new:
        yield f"no new pod of {owner} is ready"
    elif len(ready) < wanted:
        yield f"{len(ready)} of {wanted} pods of {owner} are ready"


def _stranded(entity: Entity, topology: Topology) -> bool:
    """Told to go on a node that does not answer: it stays in the list and serves no more."""
    nodes = [t for t in topology.above(entity.target) if t.kind is Kind.NODE]
    silent = any(topology.fact(node, "ready") is False for node in nodes)
    return bool(entity.facts.get("terminating")) and silent


def _symptoms(
    intent: Intent, snapshot: Snapshot, incident: Incident | None, begun: datetime
) -> tuple[list[str], list[str], list[str]]:
    """(what is still wrong, what is seen to be right, what cannot be told) of the plan's signals.

    A signal that has no value while nobody asks for anything tells nothing by its silence, nor
    does one that this cluster has not; at least one has to speak. A switch whose series are there
    only while it is on speaks by being absent.
    """
    wrong: list[str] = []
    right: list[str] = []
    unseen: list[str] = []
    success = intent.plan.success
    moved, concerned = _moved(intent, snapshot.topology), _concerned(intent, snapshot.topology)
    # An incident may hold a second fault elsewhere, which this repair was not for.
    findings = [
        f
        for f in (incident.findings if incident else ())
        if (f.target.kind is not Kind.POD or moved is None or f.target in moved)
        and (not concerned or concerned & _around(f.target, snapshot.topology))
    ]
    for signal in success.signals:
        lasting = [
            f
            for f in findings
            if f.signal == signal and f.level >= Level.PAGE and f.at > snapshot.now - success.hold
        ]
        frame = snapshot.frames.get(signal)
        fresh = 0 if frame is None else _fresh_rows(frame, intent, snapshot.topology, begun)
        if lasting:
            wrong.append(f"{lasting[0].target}: {lasting[0].summary or signal}")
        elif fresh:
            right.append(f"{signal} is back in its band on {fresh} targets")
        elif frame is not None and _is_off(frame, snapshot, begun, success.fresh_samples):
            right.append(f"{signal} is off")
        elif frame is not None and not frame.signal.silent_when_idle:
            unseen.append(signal)
    return wrong, right, unseen


def _is_off(frame: Frame, snapshot: Snapshot, begun: datetime, samples: int) -> bool:
    """Whether a switch whose series are there only while it is on has none, and its source,
    heard by another signal, would show them."""
    told = frame.values[np.isfinite(frame.values)]
    if frame.signal.unit != SWITCH or not (told > 0).all():
        return False
    return any(
        other.signal.source == frame.signal.source
        and bool(
            (
                np.isfinite(other.values[:, other.times > begun.timestamp()]).sum(axis=1) >= samples
            ).any()
        )
        for other in snapshot.frames.values()
        if other is not frame
    )


def _fresh_rows(frame: Frame, intent: Intent, topology: Topology, begun: datetime) -> int:
    """Rows the plan concerns that have enough samples since it was carried out."""
    concerned, moved = _concerned(intent, topology), _moved(intent, topology)
    since = frame.times > begun.timestamp()
    count = 0
    for target, row in frame.rows():
        if moved is not None and target.kind is Kind.POD and target not in moved:
            continue  # good siblings say nothing about the replacement
        if not concerned or concerned & _around(target, topology):
            count += int(np.isfinite(row[since]).sum() >= intent.plan.success.fresh_samples)
    return count


def _around(target: Target, topology: Topology) -> set[Target]:
    """What a row speaks for: a GPU's also for the workloads whose pods it serves."""
    pods = topology.related(target, Kind.POD)
    return {
        target,
        *topology.related(target, Kind.WORKLOAD),
        *topology.related(target, Kind.NODE),
        *(owner for pod in pods for owner in topology.related(pod, Kind.WORKLOAD)),
    }


def _moved(intent: Intent, topology: Topology) -> frozenset[Target] | None:
    """Pods that an eviction is to be judged by: those evicted and those that came for them.

    None where every pod of the workload counts. A sibling that had troubles of its own before
    says nothing about this repair.
    """
    evicted = [s.action for s in intent.steps if isinstance(s.action, EvictPod)]
    if not evicted:
        return None
    new = {
        pod
        for action in evicted
        if action.owner is not None
        for pod in topology.related(action.owner, Kind.POD)
        if pod.uid not in intent.pods_before
    }
    return frozenset({action.target for action in evicted} | new)


def _concerned(intent: Intent, topology: Topology) -> frozenset[Target]:
    """Owners whose rows prove the repair: workloads of the pods moved, else the target itself."""
    owners = {
        step.action.owner
        for step in intent.steps
        if isinstance(step.action, EvictPod) and step.action.owner is not None
    }
    if owners:
        return frozenset(owners)
    target = intent.plan.target
    return frozenset({target, *topology.related(target, Kind.WORKLOAD)})
