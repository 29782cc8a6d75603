"""A cause that would explain an incident, with what speaks for and against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from healer.model.target import Target


class Side(StrEnum):
    FOR = "for"
    AGAINST = "against"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Term:
    """One piece of evidence: what was asked, what was seen, what it weighs in log-odds."""

    asked: str
    side: Side
    weight: float
    seen: str
    """The observation cited, with its value: `power 92 W, expected 310–420 W`."""
    family: str = ""
    decisive: bool = False
    source: str = ""
    """Signal name, event kind or `topology`: where to look it up."""
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """`cause` on `target` since `onset`. `confidence` in [0, 1] is calibrated over its rivals."""

    cause: str
    target: Target
    onset: datetime
    confidence: float
    log_odds: float
    title: str = ""
    title_zh: str = ""
    terms: tuple[Term, ...] = ()
    explains: tuple[str, ...] = ()
    """Keys of the findings and events it accounts for."""
    proposes: tuple[str, ...] = ()
    """Remediation names, first rung first. Empty: nothing to do, or ask."""
    min_confidence: float = 1.0
    """Below this the proposal is shown, not carried out."""
    why_not: str = ""
    """For a rival: why it lost to the leader."""
    reference: str = ""
    """URL or document the rule rests on."""

    @property
    def evidence_for(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.side is Side.FOR)

    @property
    def evidence_against(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.side is Side.AGAINST)

    @property
    def missing(self) -> tuple[Term, ...]:
        return tuple(t for t in self.terms if t.side is Side.MISSING)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The ranking for one incident. `abstained` says why nothing may be done on its strength."""

    incident_id: str
    at: datetime
    hypotheses: tuple[Hypothesis, ...]
    """Best first; `no_fault`, `telemetry_fault` and `unknown` compete among them."""
    abstained: str = ""
    would_decide: str = ""
    """The observation that would separate the first two, when they tie."""

    leading_since: datetime | None = None
    """Since when this leader leads without a break."""

    @property
    def leader(self) -> Hypothesis | None:
        return self.hypotheses[0] if self.hypotheses else None
