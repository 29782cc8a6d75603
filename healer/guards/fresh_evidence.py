"""Stale or missing data is doubt, and doubt does not act. Nodes need two independent signs."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, defer
from healer.model.plan import Plan
from healer.model.target import Kind
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings


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
        cited = {t.source for t in case.hypothesis.evidence_for if t.source}
        ages = {name: age for name in cited if (age := snapshot.age(name)) is not None}
        stale = [name for name, age in ages.items() if age > self.settings.fresh_within]
        if ages and len(stale) == len(ages):
            return defer("fresh_evidence", f"all evidence is stale: {', '.join(sorted(stale))}")
        if not case.hypothesis.evidence_for:
            return defer("fresh_evidence", "no evidence is cited")
        families = {t.family or t.source for t in case.hypothesis.evidence_for}
        if plan.target.kind is Kind.NODE and len(families) < 2:
            return defer("fresh_evidence", "a node needs two independent signs")
        return allow("fresh_evidence", f"{len(cited)} observations, none too old")
