"""A guard's answer to a plan, always with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class Decision(IntEnum):
    """Ordered: the gravest of all guards counts."""

    ALLOW = 0
    OBSERVE = 1
    """Rehearse it on the API server's dry run and record it; change nothing."""
    APPROVE = 2
    """Needs a person's yes."""
    DEFER = 3
    """Not now; asked again next tick."""
    DENY = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    guard: str
    decision: Decision
    reasons: tuple[str, ...]
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.guard}: {self.decision.name.lower()} ({'; '.join(self.reasons)})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts on one plan; `decision` is the gravest of them."""

    plan_id: str
    verdicts: tuple[Verdict, ...]

    @property
    def decision(self) -> Decision:
        return max((v.decision for v in self.verdicts), default=Decision.DENY)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(str(v) for v in self.verdicts if v.decision is self.decision)
