"""What is told to people, before it takes a channel's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from healer.model.incident import Incident, Severity
from healer.model.intent import Intent


class Occasion(StrEnum):
    OPENED = "opened"
    DIAGNOSED = "diagnosed"
    PROPOSED = "proposed"
    """Waits for approval, or would have been done in observe mode."""
    ACTED = "acted"
    RESOLVED = "resolved"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of phase worth telling. Notifiers render it; the outbox delivers it."""

    occasion: Occasion
    incident: Incident
    at: datetime
    intents: tuple[Intent, ...] = ()
    url: str = ""
    links: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What a reader may do about it → the signed link that does it: answer, take, mute."""
    tried: tuple[Intent, ...] = ()
    """Of an incident that needs a person: what was done or decided against, oldest first."""
    why: str = ""
    """Of an incident that needs a person: why."""

    @property
    def severity(self) -> Severity:
        return self.incident.severity

    @property
    def key(self) -> str:
        """A notice is told once: this is what makes it the same."""
        step = self.intents[-1].id + self.intents[-1].state if self.intents else ""
        return f"{self.incident.id}|{self.occasion}|{step}"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A rendered message on its way to one channel."""

    id: int
    channel: str
    notice_key: str
    incident_id: str
    body: str
    """JSON of the channel's payload, without credentials."""
    created_at: datetime
    tries: int = 0
    next_try_at: datetime | None = None


class Delivery(StrEnum):
    """What a provider's own answer means for the parcel and its channel."""

    DELIVERED = "delivered"
    RETRY = "retry"
    PAUSE = "pause"
    """The channel is throttled: keep the queue, wait."""
    BROKEN = "broken"
    """Credentials or group are wrong: raise a metric, do not retry."""
    TOO_LARGE = "too_large"
    """Shrink and send again."""
    FOLDED = "folded"
    """Told by a digest in its place, which is a parcel of its own."""
    HELD = "held"
    """Waits for the end of quiet hours, or for its turn in an escalation."""
    CALLED_OFF = "called_off"
    """Not sent: somebody has taken the incident, it is over, or it is muted."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    delivery: Delivery
    code: str = ""
    detail: str = ""
    retry_after_s: float = 0.0
