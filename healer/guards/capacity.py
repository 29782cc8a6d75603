"""Whether what is moved or added fits: disruption budgets, and GPUs by packing, not by sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from healer.guards.common import allow, defer, deny
from healer.model.actions import ScaleWorkload
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.model.verdict import Verdict
from healer.ports import Case, Guard


@dataclass(frozen=True, slots=True)
class Capacity(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        topology = case.snapshot.topology
        if budget := _exhausted_budget(plan, topology):
            return defer("capacity", budget)
        for action in plan.actions:
            if isinstance(action, ScaleWorkload) and action.replicas > action.was:
                need = _gpus_of_one(topology, action.target)
                if need is None:
                    return defer(
                        "capacity", f"the GPUs of one replica of {action.target} are unknown"
                    )
                wanted = [need] * (action.replicas - action.was)
                if not fits(wanted, _free(topology, without=None)):
                    return deny("capacity", f"no room for {len(wanted)} replicas of {need} GPUs")
        verbs = {action.verb for action in plan.actions}
        if "cordon_node" in verbs and plan.affected_pods:
            moved = [int(topology.fact(p, "gpus_requested", 0)) for p in plan.affected_pods]
            if not fits(moved, _free(topology, without=plan.target)):
                return deny(
                    "capacity", f"{len(moved)} pods with {sum(moved)} GPUs find no room elsewhere"
                )
        return allow("capacity", "it fits")


def fits(wanted: list[int], free: list[int]) -> bool:
    """First fit decreasing: a pod needs its GPUs on one node."""
    room = sorted(free, reverse=True)
    for need in sorted(wanted, reverse=True):
        at = next((i for i, have in enumerate(room) if have >= need), None)
        if at is None:
            return False
        room[at] -= need
    return True


def _free(topology: Topology, without: Target | None) -> list[int]:
    """Free GPUs of each node that takes pods."""
    used = topology.gpus_used
    return [
        int(n.facts.get("gpus_allocatable") or 0) - used.get(n.target, 0)
        for n in topology.of(Kind.NODE)
        if n.target != without and n.facts.get("ready") and not n.facts.get("unschedulable")
    ]


def _gpus_of_one(topology: Topology, workload: Target) -> int | None:
    """None when unknown, which is not zero."""
    stated = topology.fact(workload, "gpus_per_replica")
    if stated is not None:
        return int(stated)
    needs = [topology.fact(p, "gpus_requested") for p in topology.related(workload, Kind.POD)]
    known = [int(need) for need in needs if need is not None]
    return max(known) if known and len(known) == len(needs) else None


def _exhausted_budget(plan: Plan, topology: Topology) -> str:
    going: Counter[Target] = Counter()
    for pod in plan.affected_pods:
        if topology.fact(pod, "ready") and any(a.target == pod for a in plan.actions):
            going.update(topology.related(pod, Kind.WORKLOAD)[:1])
    for owner, count in sorted(going.items()):
        budget = topology.fact(owner, "pdb") or {}
        allowed = budget.get("disruptions_allowed")
        if allowed is not None and allowed < 1:
            return f"the disruption budget of {owner} allows none of {count}"
    return ""
