"""While the switch is pulled nothing new starts."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, defer
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard


@dataclass(frozen=True, slots=True)
class KillSwitch(Guard):
    def judge(self, plan: Plan, case: Case) -> Verdict:
        if case.switched_off:
            return defer("kill_switch", f"switched off: {case.switched_off}")
        return allow("kill_switch", "not pulled")
