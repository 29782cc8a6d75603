"""An action written down before it is carried out, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from healer.model.actions import Action
from healer.model.plan import Plan
from healer.model.verdict import Verdict


class State(StrEnum):
    PLANNED = "planned"
    """Guards asked for a person, or for later."""
    APPROVED = "approved"
    EXECUTING = "executing"
    """Durable before the first call is sent."""
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    """The answer was lost and the world does not tell. A person has to look."""
    REHEARSED = "rehearsed"
    """Observe mode: dry-run on the API server and recorded."""


OPEN_STATES = frozenset({State.PLANNED, State.APPROVED, State.EXECUTING, State.VERIFYING})
ACTIVE_STATES = frozenset({State.APPROVED, State.EXECUTING, State.VERIFYING})


class Effect(StrEnum):
    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    INCONCLUSIVE = "inconclusive"
    """Never success."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification concluded, with the numbers it rests on."""

    effect: Effect
    at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The API server's answer to one action."""

    ok: bool
    at: datetime
    detail: str = ""
    retry_after_s: float | None = None
    """Set when the same request may be sent again later, such as a budget that is used up."""
    gone: bool = False
    """The target is no longer what was decided on: stop and plan anew."""
    dry_run: bool = False
    before: dict[str, Any] = field(default_factory=dict, hash=False)
    after: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One action of an intent and how far it got."""

    action: Annotated[Action, Field(discriminator="verb")]
    sent_at: datetime | None = None
    receipt: Receipt | None = None
    tries: int = 0

    @property
    def done(self) -> bool:
        """Whether it was carried out. A rehearsal changed nothing, whatever it was answered."""
        return self.receipt is not None and self.receipt.ok and not self.receipt.dry_run


@dataclass(frozen=True, slots=True)
class Intent:
    """A plan on its way through the world. `id` is deterministic, so it is claimed only once."""

    id: str
    plan: Plan
    state: State
    steps: tuple[Step, ...]
    created_at: datetime
    updated_at: datetime
    verdicts: tuple[Verdict, ...] = ()
    digest: str = ""
    approved_by: str = ""
    expires_at: datetime | None = None
    """When a wait for approval turns into a no."""
    executed_at: datetime | None = None
    epoch: str = ""
    """Lease UID and transitions of the leader that executes it."""
    pods_before: tuple[str, ...] = ()
    """UIDs of the owner's pods beforehand: a replacement is one that is not among them."""
    outcome: Outcome | None = None
    compensates: str = ""
    """Intent id this one undoes."""
    compensated_by: str = ""
    note: str = ""
