"""What a machine's supervisors have in common: services that they keep, and start again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Service:
    """One container or unit, as it is now."""

    name: str
    run: str
    """Names this very run of it: another start is another run. It serves as the pod's UID."""
    ready: bool
    phase: str
    """In the words of pods: Pending, Running, Succeeded or Failed."""
    changing: bool = False
    """It is being started or stopped: somebody is at it already."""
    restarts: int = 0
    reason: str = ""
    started_at: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict, hash=False)


class Supervisor(Protocol):
    """Docker or systemd. Raises Temporary, Permanent and UnknownOutcome, nothing else."""

    @property
    def kind(self) -> str:
        """How its services are called: `container` or `unit`."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Those that the settings name. Others are never looked at."""
        ...

    def look(self, name: str) -> Service | None:
        """None where there is no such service."""
        ...

    def restart(self, name: str) -> None:
        """Sent once. UnknownOutcome when it was sent and its answer lost."""
        ...
