"""When a large share is sick at once, single repairs are wrong: suspect a common cause."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, deny, disruptive
from healer.model.finding import Level
from healer.model.plan import Plan
from healer.model.target import Kind
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

FEW = 4
"""Below that many, a share says nothing."""


@dataclass(frozen=True, slots=True)
class Storm(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.compensates or not disruptive(plan):
            return allow("storm", "takes nothing out of service")
        topology = case.snapshot.topology
        sick = {
            f.target
            for incident in (case.incident, *case.others)
            for f in incident.findings
            if f.level >= Level.PAGE and f.at >= case.snapshot.now - self.settings.fresh_within
        }
        for kind in (Kind.NODE, Kind.GPU):
            total = len(topology.of(kind))
            ill = {t for target in sick for t in ((target,) if target.kind is kind else ())}
            if kind is Kind.NODE:
                ill |= {n.target for n in topology.of(kind) if n.facts.get("ready") is False}
            if total >= FEW and len(ill) / total >= self.settings.storm_fraction:
                return deny("storm", f"{len(ill)} of {total} {kind}s are sick at once")
        return allow("storm", "no storm")
