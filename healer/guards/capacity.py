"""Whether what is moved or added fits: disruption budgets, GPUs, and the load on those who stay."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from healer.guards.common import allow, defer, deny
from healer.guards.fit import Need, unplaced
from healer.model.actions import Action, QuarantinePod, ScaleWorkload, SetFloor
from healer.model.plan import Plan
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.model.verdict import Verdict
from healer.ports import Case, Guard

FULL = 0.95
"""Share of the KV caches of those who stay that the present load may fill."""


@dataclass(frozen=True, slots=True)
class Capacity(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        topology = case.snapshot.topology
        if budget := _exhausted_budget(plan, topology):
            return defer("capacity", budget)
        for action in plan.actions:
            more = _added(action, topology)
            if more > 0:
                need = _one_of(topology, _whose(action))
                if need is None:
                    return defer(
                        "capacity", f"the GPUs of one replica of {action.target} are unknown"
                    )
                if left := unplaced([need] * more, topology):
                    return deny(
                        "capacity",
                        f"no room for {left} of {more} more replicas of {need.gpus} GPUs each",
                    )
        if plan.target.kind is Kind.NODE and plan.affected_pods:
            return _moved(plan, case.snapshot)
        return allow("capacity", "it fits")


def _moved(plan: Plan, snapshot: Snapshot) -> Verdict:
    """Whether the pods of a node find another, and the others carry the load until they are up."""
    topology = snapshot.topology
    pods = [e for p in plan.affected_pods if (e := topology.get(p)) is not None]
    unknown = [e.target for e in pods if e.facts.get("gpus_requested") is None]
    if unknown:
        return defer("capacity", f"the GPUs of {unknown[0]} are unknown")
    needs = [Need(int(e.facts["gpus_requested"]), e.facts) for e in pods]
    if left := unplaced(needs, topology, without=plan.target):
        return deny("capacity", f"{left} of {len(needs)} pods of {plan.target} find no other node")
    for entity in pods:
        if entity.facts.get("ready") and (why := _overloads(entity.target, snapshot)):
            return defer("capacity", why)
    return allow("capacity", f"{len(needs)} pods find other nodes")


def _overloads(pod: Target, snapshot: Snapshot) -> str:
    """Why the siblings of `pod` cannot carry its load too; nothing where there is none, or where
    its load is not known: how many may be out at all is asked elsewhere."""
    frame = snapshot.frames.get("kv_usage")
    for owner in snapshot.topology.related(pod, Kind.WORKLOAD)[:1]:
        pods = snapshot.topology.related(owner, Kind.POD)
        left = sum(bool(snapshot.topology.fact(p, "ready")) for p in pods if p != pod)
        rows = [frame.row(p) for p in pods] if frame is not None else []
        used = [float(row[-1]) for row in rows if row is not None and len(row)]
        load = sum(share for share in used if math.isfinite(share))
        if left and load / left > FULL:
            return (
                f"{left} other pods of {owner} would have to carry {load:.2f} KV caches full: "
                f"{load / left:.0%} each"
            )
    return ""


def _added(action: Action, topology: Topology) -> int:
    """Replicas that an action asks for beyond those there are."""
    match action:
        case ScaleWorkload():
            return action.replicas - action.was
        case SetFloor() if not action.takes_back:
            return action.floor - int(topology.fact(action.target, "replicas") or 0)
        case QuarantinePod():
            return 1  # it keeps its GPUs while another takes its place
    return 0


def _whose(action: Action) -> Target:
    """The workload that makes the replicas."""
    if isinstance(action, QuarantinePod) and action.owner is not None:
        return action.owner
    return action.target


def _one_of(topology: Topology, workload: Target) -> Need | None:
    """What one more replica would want; None when unknown, which is not nothing."""
    pods = [e for p in topology.related(workload, Kind.POD) if (e := topology.get(p)) is not None]
    alike = pods[-1].facts if pods else {}
    stated = topology.fact(workload, "gpus_per_replica")
    if stated is not None:
        return Need(int(stated), alike)
    known = [int(n) for e in pods if (n := e.facts.get("gpus_requested")) is not None]
    return Need(max(known), alike) if known and len(known) == len(pods) else None


def _exhausted_budget(plan: Plan, topology: Topology) -> str:
    """What no budget allows. One that is used up by pods which the plan itself moves first comes
    back with their replacements; each eviction is judged again when its turn comes."""
    going: Counter[Target] = Counter()
    back: Counter[Target] = Counter()
    for pod in plan.affected_pods:
        if not any(a.target == pod for a in plan.actions):
            continue
        owners = topology.related(pod, Kind.WORKLOAD)[:1]
        (going if topology.fact(pod, "ready") else back).update(owners)
    for owner, count in sorted(going.items()):
        budget = topology.fact(owner, "pdb") or {}
        allowed = budget.get("disruptions_allowed")
        if allowed is not None and allowed + back[owner] < 1:
            return f"the disruption budget of {owner} allows none of {count}"
    return ""
