"""One rung per verified failure, and only so many for one incident."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, deny
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings


@dataclass(frozen=True, slots=True)
class Ladder(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.rung >= self.settings.max_rungs:
            return deny("ladder", f"{plan.rung} remediations were tried: a person is needed")
        return allow("ladder", f"rung {plan.rung + 1} of {self.settings.max_rungs}")
