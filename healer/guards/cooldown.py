"""Rest between two actions of one kind on one owner; twice as long after each failure."""

from __future__ import annotations

from dataclasses import dataclass

from healer.guards.common import allow, defer, failed, owners_of, was_sent
from healer.model.intent import State
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

MOST_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Cooldown(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.compensates:
            return allow("cooldown", "recovery does not wait")
        topology = case.snapshot.topology
        owners = owners_of(plan, topology)
        alike = [
            i
            for i in case.history
            if i.plan.remediation == plan.remediation
            and was_sent(i)
            and owners_of(i.plan, topology) & owners
        ]
        if not alike:
            return allow("cooldown", "none before")
        last = max(alike, key=lambda i: i.updated_at)
        failures = 0
        for intent in sorted(alike, key=lambda i: i.updated_at, reverse=True):
            if intent.state is State.SUCCEEDED:
                break
            failures += failed(intent)
        rest = self.settings.cooldown * 2 ** min(failures, MOST_DOUBLINGS)
        until = last.updated_at + rest
        if case.now < until:
            return defer(
                "cooldown",
                f"last {plan.remediation} {case.now - last.updated_at} ago, rests {rest}",
                until=until,
            )
        return allow("cooldown", "rested")
