"""One action at a time on one owner, and on the nodes of one pool."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import active, allow, defer, owners_of
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.model.verdict import Verdict
from healer.ports import Case, Guard


@dataclass(frozen=True, slots=True)
class Locks(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        topology = case.snapshot.topology
        mine = _locked(plan, topology)
        for other in active(case.history):
            shared = mine & _locked(other.plan, topology)
            if shared:
                name = sorted(shared)[0]
                return defer("locks", f"{other.plan.remediation} is at work on {name}")
        return allow("locks", "free")


def _locked(plan: Plan, topology: Topology) -> frozenset[str]:
    held = {str(owner) for owner in owners_of(plan, topology)}
    nodes: set[Target] = {a.target for a in plan.actions if a.target.kind is Kind.NODE}
    return frozenset(held | {f"pool {topology.fact(node, 'pool', '')}" for node in nodes})
