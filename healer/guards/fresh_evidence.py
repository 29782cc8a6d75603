"""What carries the hypothesis was seen just now, and of nodes by two independent signs.

Silence of the world is never a reason to act: not that of Prometheus, nor of the API server, nor of
the very signals that the case rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from healer.guards.common import allow, defer
from healer.model.hypothesis import Hypothesis, Term
from healer.model.plan import Plan
from healer.model.snapshot import Snapshot
from healer.model.target import Kind
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

SMALL = 0.15
"""Share of the evidence, by weight, from which on a piece of it carries the hypothesis."""

OF_THE_VIEW = frozenset({"topology", "change"})
"""Sources as old as the view of the cluster, which is asked for as a whole. So are events."""

SILENCE = "missing("
"""Asks whether samples cease to come: that they are old is what was seen."""


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
        seen = tuple(_observations(case.hypothesis))
        if not seen:
            return defer("fresh_evidence", "no evidence is cited")
        least = SMALL * sum(term.weight for term in seen)
        carrying = [term for term in seen if term.weight >= least]
        old = sorted({told for term in carrying if (told := self._is_old(term, snapshot))})
        if old:
            return defer("fresh_evidence", f"evidence is not fresh: {'; '.join(old)}")
        families = {term.family or term.source for term in seen}
        if plan.target.kind is Kind.NODE and len(families) < 2:
            only = next(iter(families))
            return defer("fresh_evidence", f"a node needs two independent signs, only {only} is")
        return allow("fresh_evidence", f"{len(carrying)} pieces of evidence, all fresh")

    def _is_old(self, term: Term, snapshot: Snapshot) -> str:
        """What is old about it; empty for nothing."""
        source = term.source
        if source in OF_THE_VIEW or any(event.kind == source for event in snapshot.events):
            return ""
        if SILENCE in term.asked:
            return ""
        age = snapshot.age(source)
        if age is None:
            return f"{source} has no sample"
        if age > self.settings.fresh_within:
            return f"the last {source} is {age.total_seconds():.0f} s old"
        return ""


def _observations(hypothesis: Hypothesis) -> Iterator[Term]:
    """What was seen and speaks for it: neither what rules say beforehand, nor what follows from
    when and where all was seen. Those have no source but their own family."""
    for term in hypothesis.evidence_for:
        if term.weight > 0 and term.source not in ("", "rule", term.family):
            yield term
