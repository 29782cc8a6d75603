"""A detector's claim: this target deviates since then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from healer.model.target import Target


class Level(IntEnum):
    """How much a score may lead to. A false-alarm budget, not a threshold."""

    WARN = 1
    """Shown."""
    PAGE = 2
    """May open an incident."""
    ACT = 3
    """May count as evidence for a repair."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`target`'s `signal` is outside what `detector` expects, since `since`.

    observed and expected are in the signal's unit; score is −log10 of the tail
    probability, so 3 means one in a thousand.
    """

    target: Target
    signal: str
    detector: str
    level: Level
    since: datetime
    at: datetime
    observed: float
    expected_low: float
    expected_high: float
    score: float
    unit: str = ""
    summary: str = ""
    """What an operator reads: `TTFT p95 +240 % at normal request rate`."""

    contributions: tuple[tuple[str, float], ...] = field(default=())
    """For joint detectors: (signal, share of the score), largest first."""

    @property
    def key(self) -> str:
        """One deviation keeps its key while it lasts."""
        return f"{self.signal}|{self.target}|{self.detector}"
