"""Fifteen admission checks in a fixed order, one a file. All fail closed.

Every verdict is recorded, refusals like permissions.
"""

from __future__ import annotations

from healer.guards.approval import Approval
from healer.guards.blast_radius import BlastRadius
from healer.guards.breaker import Breaker
from healer.guards.capacity import Capacity
from healer.guards.conflicts import Conflicts
from healer.guards.cooldown import Cooldown
from healer.guards.freeze import FreezeGuard
from healer.guards.fresh_evidence import FreshEvidence
from healer.guards.kill_switch import KillSwitch
from healer.guards.ladder import Ladder
from healer.guards.locks import Locks
from healer.guards.mode import ModeGuard
from healer.guards.rate import Rate
from healer.guards.scope import Scope
from healer.guards.storm import Storm
from healer.ports import Guard
from healer.settings import RemediationSettings


def standard(settings: RemediationSettings) -> tuple[Guard, ...]:
    """The guards in their order."""
    return (
        KillSwitch(),
        ModeGuard(settings),
        Scope(settings),
        FreshEvidence(settings),
        Conflicts(),
        FreezeGuard(settings.freezes),
        Locks(),
        Rate(settings),
        Cooldown(settings),
        BlastRadius(settings),
        Storm(settings),
        Breaker(settings),
        Capacity(),
        Approval(settings),
        Ladder(settings),
    )
