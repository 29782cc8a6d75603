"""Freeze windows in their own time zone. A window that cannot be read is a freeze."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from healer.guards.common import allow, defer
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import Freeze


@dataclass(frozen=True, slots=True)
class FreezeGuard(Guard):
    freezes: tuple[Freeze, ...] = ()

    def judge(self, plan: Plan, case: Case) -> Verdict:
        for freeze in self.freezes:
            try:
                until = _frozen_until(freeze, case.now)
            except (ValueError, KeyError, OSError) as error:
                return defer("freeze", f"{freeze.cron!r} in {freeze.zone!r} is unreadable: {error}")
            if until is not None:
                reason = freeze.reason or freeze.cron
                return defer("freeze", f"frozen: {reason}", until=until)
        return allow("freeze", "no window is open")


def _frozen_until(freeze: Freeze, now: datetime) -> datetime | None:
    """The end of the window that is open now. Raises ValueError and kin for nonsense."""
    local = now.astimezone(ZoneInfo(freeze.zone))
    # cron works on wall time, where a day may have 23 or 25 hours; the length is real time
    begun: datetime = croniter(freeze.cron, local).get_prev(datetime)
    if croniter.match(freeze.cron, local):
        begun = local
    end = begun.astimezone(UTC) + freeze.duration
    return end if now < end else None
