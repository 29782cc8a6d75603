"""Others at work on the same object: rollouts, autoscalers, GitOps, somebody's cordon."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, defer, deny, owners_of
from healer.model.plan import Plan
from healer.model.target import Kind
from healer.model.topology import Entity
from healer.model.verdict import Verdict
from healer.ports import Case, Guard


@dataclass(frozen=True, slots=True)
class Conflicts(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        topology = case.snapshot.topology
        verbs = {action.verb for action in plan.actions}
        for owner in sorted(owners_of(plan, topology)):
            entity = topology.get(owner)
            if entity is None or owner.kind is not Kind.WORKLOAD:
                continue
            if "scale_workload" in verbs and entity.facts.get("hpa"):
                return deny("conflicts", f"an autoscaler owns the replicas of {owner}")
            if "rollback_workload" in verbs and entity.facts.get("paused"):
                return deny("conflicts", f"{owner} is paused")
            if "rollback_workload" not in verbs and _rolling(entity):
                return defer("conflicts", f"a rollout of {owner} is in progress")
        entity = topology.get(plan.target)
        foreign = entity is not None and entity.facts.get("unschedulable")
        if foreign and "cordon_node" in verbs:
            return defer("conflicts", f"{plan.target} was cordoned by somebody else")
        return allow("conflicts", "nobody else is at it")


def _rolling(entity: Entity) -> bool:
    facts = entity.facts
    generation, observed = facts.get("generation"), facts.get("observed_generation")
    if generation is not None and observed is not None and observed < generation:
        return True
    replicas, updated = facts.get("replicas"), facts.get("updated_replicas")
    return replicas is not None and updated is not None and updated < replicas
