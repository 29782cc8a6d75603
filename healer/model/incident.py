"""Findings and events that hang together, and how far their healing has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from healer.model.event import Event
from healer.model.finding import Finding
from healer.model.hypothesis import Diagnosis
from healer.model.target import Target


class Phase(StrEnum):
    OPEN = "open"
    DIAGNOSED = "diagnosed"
    AWAITING_APPROVAL = "awaiting_approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    RESOLVED = "resolved"
    ESCALATED = "escalated"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Incident:
    """`findings` and `events` are all that ever joined; the current ones have `at` near now."""

    id: str
    """ULID-like: sorts by time of opening."""
    opened_at: datetime
    """When Healer noticed."""
    started_at: datetime
    """Onset of the earliest symptom."""
    updated_at: datetime
    phase: Phase
    severity: Severity
    title: str
    targets: tuple[Target, ...]
    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()
    diagnosis: Diagnosis | None = None
    resolved_at: datetime | None = None
    quiet_since: datetime | None = None
    """Since when no symptom has been seen; it resolves after a hold."""
    version: int = 0
    """Counts changes: the ETag of the report API."""
    resolution: str = ""
    """What ended it: `effective restart_pod`, `symptoms ceased`, …"""
    acted_on: Diagnosis | None = None
    """The ranking that the latest plan rests on: later ones see the traces of our own doing."""
    flaps: int = 0
    """How often its symptoms went and came back; a flapping incident resolves later."""
    touches: tuple[Target, ...] = ()
    """Workloads and services its targets are, or were, a part of: pods die, these stay."""

    @property
    def is_open(self) -> bool:
        return self.phase is not Phase.RESOLVED
