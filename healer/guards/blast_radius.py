"""How much may be out at once: a share, an absolute number, and a floor for small pools."""

from __future__ import annotations

import math
from dataclasses import dataclass

from healer.guards.common import active, allow, defer, deny, unseen
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

ENDING = frozenset({"evict_pod", "delete_pod", "quarantine_pod"})
"""Verbs by which a pod stops serving at once. A rolling update keeps to its own bounds."""


@dataclass(frozen=True, slots=True)
class BlastRadius(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        topology = case.snapshot.topology
        at_work = len(active(case.history))
        if not plan.compensates and at_work >= self.settings.max_concurrent:
            return defer(
                "blast_radius",
                f"{at_work} plans are at work, {self.settings.max_concurrent} allowed",
            )
        verbs = {action.verb for action in plan.actions}
        since = case.snapshot.now - self.settings.fresh_within
        if "cordon_node" in verbs:
            return self._nodes(plan, topology, unseen(case.history, "cordon_node", since))
        if verbs & ENDING:
            sent = [unseen(case.history, verb, since) for verb in sorted(ENDING)]
            return self._replicas(plan, topology, frozenset().union(*sent))
        return allow("blast_radius", "takes nothing out of service")

    def _nodes(self, plan: Plan, topology: Topology, sent: frozenset[Target]) -> Verdict:
        pool = topology.fact(plan.target, "pool", "")
        nodes = [
            n
            for n in topology.of(Kind.NODE)
            if n.facts.get("pool", "") == pool and n.facts.get("gpus_capacity")
        ]
        out = {n.target for n in nodes if n.facts.get("unschedulable") or not n.facts.get("ready")}
        after = len(out | (sent & {n.target for n in nodes}) | {plan.target})
        most = min(
            max(1, math.floor(len(nodes) * self.settings.max_unavailable_fraction)),
            self.settings.max_unavailable_nodes,
        )
        if len(nodes) < 2:
            return deny("blast_radius", f"{plan.target} is the only GPU node of its pool")
        if after > most:
            return defer("blast_radius", f"{after} of {len(nodes)} nodes would be out, {most} may")
        return allow("blast_radius", f"{after} of {len(nodes)} nodes out, {most} may")

    def _replicas(self, plan: Plan, topology: Topology, sent: frozenset[Target]) -> Verdict:
        """Each pod by itself: evictions are sent one by one, and judged again before each."""
        for pod in _ended(plan):
            for owner in topology.related(pod, Kind.WORKLOAD)[:1]:
                replicas = topology.fact(owner, "replicas")
                if replicas is None:
                    return defer("blast_radius", f"the replicas of {owner} are unknown")
                pods = topology.related(owner, Kind.POD)
                ready = {p for p in pods if topology.fact(p, "ready") and p not in sent - {pod}}
                left = len(ready - {pod})
                most = max(1, math.floor(replicas * self.settings.max_unavailable_fraction))
                if pod in ready and replicas - left > most:
                    return defer(
                        "blast_radius",
                        f"{left} of {replicas} replicas of {owner} would be left, "
                        f"at most {most} may be out",
                    )
        return allow("blast_radius", "enough replicas are left")


def _ended(plan: Plan) -> tuple[Target, ...]:
    """Pods that go at once: of a rollback, only those that are ended after it."""
    if any(action.verb == "rollback_workload" for action in plan.actions):
        return tuple(action.target for action in plan.actions if action.verb in ENDING)
    return plan.affected_pods
