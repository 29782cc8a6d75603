"""What is to be done, whole, before anything moves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from pydantic import TypeAdapter

from healer.model.actions import Action
from healer.model.target import Target


class Risk(IntEnum):
    NONE = 0
    """Changes nothing."""
    LOW = 1
    """One replica of several, or capacity added."""
    MEDIUM = 2
    """A node, or a whole workload."""
    HIGH = 3
    """Cannot be undone by us. Always by approval."""


@dataclass(frozen=True, slots=True)
class Success:
    """What must be true, and for how long, before an action counts as effective."""

    signals: tuple[str, ...]
    """Signals that must be back inside their band, on the incident's targets."""
    deadline: timedelta = timedelta(minutes=10)
    hold: timedelta = timedelta(minutes=1)
    fresh_samples: int = 3
    """Zero samples are never a pass."""
    replacement: bool = False
    """Whether a new, ready pod of the same owner has to be there too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One remediation's answer to one hypothesis: actions in order, their undo, their test."""

    incident_id: str
    cause: str
    remediation: str
    target: Target
    actions: tuple[Action, ...]
    success: Success
    risk: Risk
    summary: str = ""
    """One sentence: what would be done and why."""
    undo: tuple[Action, ...] = ()
    undo_when: str = ""
    """When the undo is due: `recovered`, `quiet`, or empty for never."""
    confidence: float = 0.0
    affected_pods: tuple[Target, ...] = ()
    """Pods that stop serving while it runs; for the blast radius."""
    rung: int = 0
    attempt: int = 1
    refused: str = ""
    """A remediation that cannot be done says why here and has no actions."""
    compensates: str = ""
    """Intent id this plan takes back; recovery is never blocked by breakers, storms or rates."""

    @property
    def id(self) -> str:
        """Deterministic: the same plan worked out twice has the same id."""
        text = f"{self.incident_id}|{self.remediation}|{self.target}|{self.attempt}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def digest(self) -> str:
        """What an approval is bound to: any material change of the actions changes it."""
        return hashlib.sha256(_ACTIONS.dump_json(self.actions)).hexdigest()


_ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])
