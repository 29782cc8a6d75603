"""Token buckets: target inside namespace inside cluster. All must have a token, or none is taken.

The tokens are the intents themselves: what was sent within the hour counts, also after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.guards.common import allow, defer, namespaces_of, owners_of, was_sent
from healer.model.intent import Intent
from healer.model.plan import Plan
from healer.model.verdict import Verdict
from healer.ports import Case, Guard
from healer.settings import RemediationSettings

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Rate(Guard):
    settings: RemediationSettings

    def judge(self, plan: Plan, case: Case) -> Verdict:
        if plan.compensates:
            return allow("rate", "recovery is never rationed")
        topology = case.snapshot.topology
        spent = [
            i
            for i in case.history
            if was_sent(i) and _sent_at(i) > case.now - HOUR and not i.plan.compensates
        ]
        owners, spaces = owners_of(plan, topology), namespaces_of(plan)
        buckets: dict[str, Sequence[Intent]] = {
            "target": [i for i in spent if owners_of(i.plan, topology) & owners],
            "namespace": [i for i in spent if namespaces_of(i.plan) & spaces],
            "cluster": spent,
        }
        for bucket, taken in buckets.items():
            limit = self.settings.max_per_hour.get(bucket)
            if limit is not None and len(taken) >= limit:
                until = sorted(_sent_at(i) for i in taken)[-limit] + HOUR if limit > 0 else None
                return defer(
                    "rate", f"{len(taken)} actions this hour, {bucket} allows {limit}", until=until
                )
        return allow("rate", f"{len(spent)} actions this hour")


def _sent_at(intent: Intent) -> datetime:
    """The first sending: a step that had to go twice has a later one."""
    return intent.executed_at or min(
        (s.sent_at for s in intent.steps if s.sent_at), default=intent.created_at
    )
