"""Which earlier repairs of an incident were about what leads it now.

Replicas of one model that fail one after another are one incident, for they may have one
reason. Yet a second replica that hangs while the first is replaced is not healed by that, and
must not wait until the first repair has rested.
"""

from __future__ import annotations

from collections.abc import Sequence

from healer.model.actions import DeletePod, EvictPod
from healer.model.hypothesis import Hypothesis
from healer.model.intent import Intent
from healer.model.target import Kind, Target
from healer.model.topology import Topology


def concerning(
    leader: Hypothesis, intents: Sequence[Intent], topology: Topology
) -> tuple[Intent, ...]:
    """Those of `intents` that are not about something else."""
    return tuple(i for i in intents if not _apart(leader, i, topology))


def _apart(leader: Hypothesis, intent: Intent, topology: Topology) -> bool:
    """Whether `intent` mended another thing: `leader` began later, and none of the pods behind
    it was moved by the repair or came from it.

    What stands above pods (a workload, a rack) is never apart from what stands below it.
    """
    if leader.target.kind not in (Kind.POD, Kind.GPU) or not intent.pods_before:
        return False
    if leader.onset <= intent.created_at:
        return False
    moved = {s.action.target for s in intent.steps if isinstance(s.action, EvictPod | DeletePod)}
    behind = _pods(leader.target, topology)
    old = all(pod.uid in intent.pods_before for pod in behind)
    mended = moved | {intent.plan.target}
    near = {leader.target, *topology.related(leader.target, Kind.NODE)} & mended
    return bool(behind) and old and not near and not behind & moved


def _pods(target: Target, topology: Topology) -> set[Target]:
    return {target} if target.kind is Kind.POD else set(topology.related(target, Kind.POD))
