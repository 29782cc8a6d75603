"""Observe unless this remediation is armed to act everywhere it would reach."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, arming_of, enforced, namespaces_of
from healer.model.plan import Plan
from healer.model.verdict import Decision, Verdict
from healer.ports import Case, Guard
from healer.settings import Mode, RemediationSettings


@dataclass(frozen=True, slots=True)
class ModeGuard(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if enforced(plan, self.settings):
            return allow("mode", f"{plan.remediation} is armed")
        if self.settings.mode is Mode.OBSERVE:
            why = "mode is observe"
        elif arming_of(plan, self.settings).mode is Mode.OBSERVE:
            where = ", ".join(sorted(namespaces_of(plan))) or "nodes"
            why = f"{plan.remediation} is not armed for {where}"
        else:
            why = "not armed"
        return Verdict("mode", Decision.OBSERVE, (why,))
