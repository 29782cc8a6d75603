"""Stale or missing data is doubt, and doubt does not act. Nodes need two independent signs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from healer.guards.common import allow, defer
from healer.model.plan import Plan
from healer.model.target import Kind
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

MOST_STALE = 1 / 3
"""Share of the evidence, by weight, that may be old. What Kubernetes says is as old as the view
of the cluster, which is asked for above."""


@dataclass(frozen=True, slots=True)
class FreshEvidence(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        snapshot = case.snapshot
        if not snapshot.metrics_ok:
            return defer("fresh_evidence", "Prometheus did not answer")
        if not snapshot.cluster_ok or not snapshot.topology.complete:
            return defer("fresh_evidence", "the view of the cluster is incomplete")
        if plan.compensates:
            return allow("fresh_evidence", "the world is seen whole")
        weights: dict[str, float] = defaultdict(float)
        for term in case.hypothesis.evidence_for:
            weights[term.source] += abs(term.weight)
        ages = {name: age for name in weights if (age := snapshot.age(name)) is not None}
        stale = sorted(name for name, age in ages.items() if age > self.settings.fresh_within)
        if sum(weights[name] for name in stale) > MOST_STALE * sum(weights.values()):
            return defer("fresh_evidence", f"too much evidence is stale: {', '.join(stale)}")
        if not case.hypothesis.evidence_for:
            return defer("fresh_evidence", "no evidence is cited")
        families = {t.family or t.source for t in case.hypothesis.evidence_for}
        if plan.target.kind is Kind.NODE and len(families) < 2:
            return defer("fresh_evidence", "a node needs two independent signs")
        return allow("fresh_evidence", f"{len(ages)} observations, fresh enough")
