"""Undo: what we did is taken back when its reason has gone, and only what we did.

A cordon of ours goes when its node is ready again with all its GPUs and nothing speaks against
it; a scale-up of ours goes back when fewer replicas would carry the present load and nobody has
changed the number since; a minimum that we raised goes down again after the same time. All are
plans of their own: guarded, written down, verified.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from healer.model.actions import Action, ScaleWorkload, SetFloor, UncordonNode
from healer.model.intent import Intent, State
from healer.model.plan import Plan, Risk, Success
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.settings import RemediationSettings
from healer.stages.act import is_unanswered

BUSY = 0.6
"""Share of the KV cache in use on the remaining replicas above which none is taken away."""

UNDONE_NOT = frozenset({State.ABORTED, State.FAILED, State.UNKNOWN, State.REHEARSED})
"""Ends that are no success. After them, what a compensation was to take back still stands."""

MOST_DOUBLINGS = 5


def due(
    history: Sequence[Intent],
    open_incidents: frozenset[str],
    snapshot: Snapshot,
    settings: RemediationSettings,
) -> tuple[Plan, ...]:
    """Compensations that are due now. Doubt leaves things as they are."""
    if not (snapshot.metrics_ok and snapshot.cluster_ok and snapshot.topology.complete):
        return ()
    return tuple(
        plan
        for intent in _outstanding(history)
        if intent.plan.incident_id not in open_incidents
        and _rested_since(dropped := _dropped(history, intent), snapshot.now, settings)
        for plan in _undo(intent, snapshot, settings, len(dropped))
    )


def owing(history: Sequence[Intent], snapshot: Snapshot) -> frozenset[str]:
    """Ids of intents whose deed is still to be taken back, as far as the cluster can be seen.

    What somebody else has taken back already, or what has gone altogether, is owed no more.
    """
    sees = snapshot.cluster_ok and snapshot.topology.complete
    return frozenset(
        intent.id
        for intent in _outstanding(history)
        if not sees or any(_stands(action, snapshot.topology) for action in intent.plan.undo)
    )


def _outstanding(history: Sequence[Intent]) -> Iterator[Intent]:
    """Intents that left something behind and were not taken back. A try that failed is none."""
    taken_back = {i.compensates for i in history if i.compensates and i.state not in UNDONE_NOT}
    for intent in history:
        if intent.plan.undo and intent.id not in taken_back and _left_something(intent):
            yield intent


def _stands(action: Action, topology: Topology) -> bool:
    """Whether there still is what `action` would take back."""
    if topology.get(action.target) is None:
        return False
    match action:
        case UncordonNode(target=node):
            return topology.fact(node, "unschedulable") is not False
        case ScaleWorkload(target=workload, was=ours):
            return bool(topology.fact(workload, "replicas", ours) == ours)
        case _:
            return True


def _left_something(intent: Intent) -> bool:
    """However it ended: what was done of it, or may have been, may have to be taken back."""
    if intent.state in UNDONE_NOT:
        return any(step.done or is_unanswered(step) for step in intent.steps)
    return intent.state is State.SUCCEEDED


def _dropped(history: Sequence[Intent], intent: Intent) -> tuple[Intent, ...]:
    """Compensations of `intent` that came to nothing."""
    return tuple(i for i in history if i.compensates == intent.id and i.state in UNDONE_NOT)


def _rested_since(dropped: Sequence[Intent], now: datetime, settings: RemediationSettings) -> bool:
    """The rest doubles with each try: what the API server refuses is not asked all day long."""
    rest = settings.cooldown * 2 ** min(max(len(dropped) - 1, 0), MOST_DOUBLINGS)
    return all(now - i.updated_at >= rest for i in dropped)


def _undo(
    intent: Intent, snapshot: Snapshot, settings: RemediationSettings, dropped: int
) -> Iterator[Plan]:
    for action in intent.plan.undo:
        match action:
            case UncordonNode(target=node) if settings.uncordon:
                if _node_is_well(node, snapshot) and _rested(intent, snapshot.now, settings):
                    uncordon = dataclasses.replace(action, cordon_id=intent.id)
                    said = f"Uncordon {node}: its reason is gone"
                    yield _plan(intent, uncordon, said, dropped)
            case ScaleWorkload(target=workload, replicas=replicas, was=ours) if (
                settings.scale_back_after > timedelta(0)
            ):
                quiet = snapshot.now - intent.updated_at >= settings.scale_back_after
                if quiet and _load_is_gone(workload, replicas, ours, snapshot):
                    said = f"Scale {workload} back from {ours} to {replicas}"
                    yield _plan(intent, action, said, dropped)
            case SetFloor(scaler=scaler, floor=floor, was=ours) if (
                settings.scale_back_after > timedelta(0)
            ):
                # The autoscaler itself shrinks no further than the load allows.
                if snapshot.now - intent.updated_at >= settings.scale_back_after:
                    back = dataclasses.replace(action, takes_back=intent.id)
                    said = f"Lower the minimum of {scaler} from {ours} to {floor} again"
                    yield _plan(intent, back, said, dropped)
            case _:
                pass


def _rested(intent: Intent, now: datetime, settings: RemediationSettings) -> bool:
    return now - intent.updated_at >= settings.cooldown


def _node_is_well(node: Target, snapshot: Snapshot) -> bool:
    topology = snapshot.topology
    capacity = topology.fact(node, "gpus_capacity")
    frame = snapshot.frames.get("node_gpus_present")
    row = frame.row(node) if frame is not None else None
    present = float(row[-1]) if row is not None and len(row) else float("nan")
    return (
        topology.fact(node, "ready") is True
        and topology.fact(node, "unschedulable") is True
        and capacity is not None
        and topology.fact(node, "gpus_allocatable") == capacity
        and present >= capacity
    )


def _load_is_gone(workload: Target, replicas: int, ours: int, snapshot: Snapshot) -> bool:
    """Nobody changed the number, nothing waits, and the load fits on fewer."""
    if snapshot.topology.fact(workload, "replicas") != ours or replicas >= ours:
        return False
    pods = set(snapshot.topology.related(workload, Kind.POD))
    waiting, usage = snapshot.frames.get("requests_waiting"), snapshot.frames.get("kv_usage")
    if waiting is None or usage is None:
        return False
    queued = [float(row[-8:].max()) for target, row in waiting.rows() if target in pods]
    used = [float(row[-8:].max()) for target, row in usage.rows() if target in pods]
    if not queued or not used or not all(q == 0 for q in queued):
        return False  # a gap makes the maximum NaN, and NaN is not zero
    return sum(used) / replicas < BUSY


def _plan(intent: Intent, action: Action, summary: str, dropped: int) -> Plan:
    return Plan(
        incident_id=intent.plan.incident_id,
        cause=intent.plan.cause,
        remediation=intent.plan.remediation,
        target=action.target,
        actions=(action,),
        success=Success(signals=(), deadline=timedelta(minutes=5)),
        risk=Risk.LOW,
        summary=summary,
        compensates=intent.id,
        attempt=intent.plan.attempt + 1000 + dropped,  # apart from the attempts at healing
    )
