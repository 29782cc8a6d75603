"""A remediation that failed its verification several times in a row stops trying."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, deny, failed, was_sent
from healer.model.intent import State
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings


@dataclass(frozen=True, slots=True)
class Breaker(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.compensates:
            return allow("breaker", "recovery is never blocked")
        ended = sorted(
            (
                i
                for i in case.history
                if i.plan.remediation == plan.remediation
                and was_sent(i)
                and i.state in (State.SUCCEEDED, State.FAILED, State.UNKNOWN)
            ),
            key=lambda i: i.updated_at,
            reverse=True,
        )[: self.settings.breaker_failures]
        open_ = len(ended) == self.settings.breaker_failures and all(failed(i) for i in ended)
        if open_ and case.now - ended[0].updated_at < self.settings.breaker_reset:
            return deny("breaker", f"{plan.remediation} failed {len(ended)} times in a row")
        return allow("breaker", "closed")
