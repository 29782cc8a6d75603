"""A remediation that failed its verification several times in a row stops trying."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from healer.guards.common import allow, deny, failed, was_sent
from healer.model.intent import Intent, State
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

ENDED = (State.SUCCEEDED, State.FAILED, State.UNKNOWN)


def open_breakers(
    history: Iterable[Intent], settings: RemediationSettings, now: datetime
) -> tuple[str, ...]:
    """Names of the remediations whose breaker is open at `now`, in the order of the alphabet."""
    past = tuple(history)
    names = sorted({intent.plan.remediation for intent in past})
    return tuple(name for name in names if _is_open(name, past, settings, now))


def _is_open(
    name: str, history: Iterable[Intent], settings: RemediationSettings, now: datetime
) -> bool:
    ended = sorted(
        (i for i in history if i.plan.remediation == name and was_sent(i) and i.state in ENDED),
        key=lambda i: i.updated_at,
        reverse=True,
    )[: settings.breaker_failures]
    tripped = len(ended) == settings.breaker_failures and all(failed(i) for i in ended)
    return bool(tripped and ended and now - ended[0].updated_at < settings.breaker_reset)


@dataclass(frozen=True, slots=True)
class Breaker(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.compensates:
            return allow("breaker", "recovery is never blocked")
        if _is_open(plan.remediation, case.history, self.settings, case.now):
            times = self.settings.breaker_failures
            return deny("breaker", f"{plan.remediation} failed {times} times in a row")
        return allow("breaker", "closed")
