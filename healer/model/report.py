"""What one tick did, in one sentence and in full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.model.snapshot import Problem


@dataclass(frozen=True, slots=True)
class Report:
    at: datetime
    signals: int
    series: int
    findings: int
    incidents: tuple[Incident, ...]
    """Open ones, and those resolved in this tick."""
    intents: tuple[Intent, ...] = ()
    """Those that changed in this tick."""
    problems: tuple[Problem, ...] = ()
    learning: tuple[str, ...] = ()
    """Detectors that still lack a baseline."""
    took_s: float = 0.0

    def __str__(self) -> str:
        open_ = [i for i in self.incidents if i.is_open]
        parts = [f"{self.signals} signals, {self.series} series"]
        parts.append(
            f"{len(open_)} open incident{'s' if len(open_) != 1 else ''}"
            if open_
            else "nothing wrong"
        )
        parts += [f"{i.plan.remediation} on {i.plan.target}: {i.state}" for i in self.intents]
        if self.learning:
            parts.append(f"learning: {', '.join(self.learning)}")
        if self.problems:
            parts.append(
                f"{len(self.problems)} problems, first {self.problems[0].where}: "
                f"{self.problems[0].what}"
            )
        return "; ".join(parts)
