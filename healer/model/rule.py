"""Declared knowledge: a rule says how a cause shows, what it explains and what heals it.

Rules are read from YAML (`rules/causes/*.yaml`) by `healer.adapters.rulebook`; here they are
values. Weights are log-odds (natural logarithm): +3 makes a cause twenty times as likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from healer.model.event import Event
from healer.model.expression import Expression
from healer.model.incident import Severity
from healer.model.opinion import Standing, has_earned
from healer.model.snapshot import Problem
from healer.model.target import Kind


@dataclass(frozen=True, slots=True)
class Evidence:
    """One weighted question. What cannot be seen weighs nothing."""

    text: str
    """The question as written: `low(gpu_power) on gpus all`."""
    test: Expression
    weight: float
    """Added when the answer is yes, ≥ 0."""
    against: float = 0.0
    """Added when the answer is no, ≤ 0."""
    family: str = ""
    """Terms of one family tell much the same: the strongest counts whole, the others half."""
    decisive: bool = False
    """No other cause shows like this."""
    proof: Expression | None = None
    """While this does not hold, it is not decisive after all: others would show like this too."""
    says: str = ""
    """What a yes means, for people."""
    says_zh: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause on targets of `scope`.

    An empty scope means the incident as a whole. Such causes (`no_fault`, `telemetry_fault`,
    `unknown`, …) compete in every diagnosis, and nothing is ever done on their strength.
    """

    id: str
    scope: tuple[Kind, ...]
    prior: float
    """Probability before any evidence, in (0, 1)."""
    title: str
    title_zh: str = ""
    require: tuple[Evidence, ...] = ()
    """All must be true, or the cause is not considered."""
    exclude: tuple[Evidence, ...] = ()
    """Any that is true rules the cause out."""
    evidence: tuple[Evidence, ...] = ()
    explains: tuple[str, ...] = ()
    """Signals, event kinds and causes that follow from it; `*` for whatever is seen."""
    via: tuple[str, ...] = ()
    """Relations it spreads along: pods, siblings, service, … Empty: its own target only."""
    change: bool = False
    """Whether it stands or falls with a recent change of its target."""
    proposes: tuple[str, ...] = ()
    min_confidence: float = 1.0
    reference: str = ""
    shadow: bool = False
    """Ranked and shown, but proposes nothing yet."""
    file: str = ""
    path: str = ""
    line: int = 0
    earns: int = 0
    """Right verdicts of people after which it leaves the shadow; 0: it has never been in it."""

    def is_shadow(self, standing: Standing = (0, 0)) -> bool:
        """Whether it proposes nothing, after what people said of it."""
        return self.shadow or (self.earns > 0 and not has_earned(standing, self.earns))

    @property
    def is_null(self) -> bool:
        return not self.scope


@dataclass(frozen=True, slots=True)
class Opening:
    """A kind of event grave enough to open an incident on its own."""

    kind: str
    severity: Severity = Severity.WARNING
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attribute → the values that count. Empty: every event of the kind."""
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attribute → the values that do not count. One of them is enough."""

    def covers(self, event: Event) -> bool:
        given = event.attributes
        return (
            event.kind == self.kind
            and all(given.get(name) in values for name, values in self.where.items())
            and not any(given.get(name) in values for name, values in self.unless.items())
        )


@dataclass(frozen=True, slots=True)
class Xid:
    """One row of NVIDIA's Xid catalogue: what the driver's error number asks for."""

    id: int
    name: str
    action: str
    """ignore, follow, restart, reset, reboot, nvlink, hardware or investigate."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules in force, the Xid table, and which events open incidents."""

    rules: tuple[Rule, ...] = ()
    xids: Mapping[int, Xid] = field(default_factory=dict)
    openings: tuple[Opening, ...] = ()
    problems: tuple[Problem, ...] = ()

    def opens(self, event: Event) -> Severity | None:
        """How grave an incident `event` opens on its own; None when it opens none."""
        found = [opening.severity for opening in self.openings if opening.covers(event)]
        return found[0] if found else None

    def rule(self, cause: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.id == cause), None)
