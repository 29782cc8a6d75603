"""Ask a person where the arming says so, and always for what cannot be undone."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, arming_of, enforced
from healer.model.plan import Plan, Risk
from healer.model.verdict import Decision, Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings


@dataclass(frozen=True, slots=True)
class Approval(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if case.approved_by:
            return allow("approval", f"approved by {case.approved_by}")
        if not enforced(plan, self.settings):
            return allow("approval", "nothing would be changed")
        if plan.risk >= Risk.HIGH:
            return Verdict("approval", Decision.APPROVE, ("it cannot be undone",))
        if arming_of(plan, self.settings).approval and not plan.compensates:
            return Verdict("approval", Decision.APPROVE, (f"{plan.remediation} asks first",))
        return allow("approval", "armed to act without asking")
