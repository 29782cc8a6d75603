"""Tells on a terminal what happens, as it happens: noticed, explained, done, recovered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from healer.lab.world import Broken
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident, Phase
from healer.model.intent import Intent, State
from healer.model.report import Report
from healer.model.verdict import Decision
from healer.stages.phase import is_actionable

MOST_TERMS = 4


@dataclass
class Story:
    """Prints each thing once. What it knows of the lab is for the narrator only."""

    console: Console
    _broken: int = 0
    _told: set[str] = field(default_factory=set)

    def tick(self, report: Report, broken: list[Broken]) -> None:
        for fault in broken[self._broken :]:
            self.console.print()
            self._line(fault.at, "red", "✖", f"[bold]{fault.spec.kind}[/bold] breaks {fault.what}")
        self._broken = len(broken)
        for incident in report.incidents:
            self._incident(incident, report.at)
        for intent in report.intents:
            self._intent(intent, report.at)

    def _incident(self, incident: Incident, now: datetime) -> None:
        if self._first(f"{incident.id} opened"):
            self._line(now, "yellow", "◌", f"noticed: {escape(incident.title)}")
        diagnosis = incident.diagnosis
        leader = diagnosis.leader if diagnosis else None
        sure = diagnosis is not None and is_actionable(diagnosis)
        if sure and leader and diagnosis and self._first(f"{incident.id} {leader.cause}"):
            self._diagnosis(leader, diagnosis.hypotheses[1:3], now)
        if incident.phase is Phase.RESOLVED and self._first(f"{incident.id} resolved"):
            self._line(now, "green", "✔", f"resolved: {escape(incident.resolution)}")

    def _diagnosis(self, leader: Hypothesis, rivals: Iterable[Hypothesis], now: datetime) -> None:
        self._line(
            now,
            "cyan",
            "◆",
            f"[bold]{leader.cause}[/bold] on {escape(str(leader.target))} "
            f"({leader.confidence:.0%}): {escape(leader.title)}",
        )
        told = [t for t in leader.evidence_for if t.weight >= 0.1]
        for term in sorted(told, key=lambda t: -t.weight)[:MOST_TERMS]:
            self._detail(f"[green]+{term.weight:.1f}[/green] {escape(term.seen)}")
        for term in [t for t in leader.evidence_against if t.weight <= -0.1][:2]:
            self._detail(f"[red]{term.weight:.1f}[/red] {escape(term.seen)}")
        for rival in rivals:
            why = f": {escape(rival.why_not)}" if rival.why_not else ""
            self._detail(f"[dim]not {rival.cause} ({rival.confidence:.0%}){why}[/dim]")

    def _intent(self, intent: Intent, now: datetime) -> None:
        if self._first(intent.id):
            allowed = sum(v.decision is Decision.ALLOW for v in intent.verdicts)
            self._line(now, "blue", "▶", escape(intent.plan.summary))
            self._detail(f"{allowed} of {len(intent.verdicts)} guards allow it")
            for verdict in intent.verdicts:
                if verdict.decision is not Decision.ALLOW:
                    self._detail(f"[yellow]{escape(str(verdict))}[/yellow]")
        if intent.outcome is not None and self._first(f"{intent.id} outcome"):
            colour = "green" if intent.state is State.SUCCEEDED else "red"
            reasons = "; ".join(intent.outcome.reasons[:3])
            said = f"{intent.plan.remediation} was {intent.outcome.effect}: {escape(reasons)}"
            self._line(now, colour, "✓", said)

    def _first(self, what: str) -> bool:
        known = what in self._told
        self._told.add(what)
        return not known

    def _line(self, at: datetime, colour: str, sign: str, text: str) -> None:
        self.console.print(f"[dim]{at:%H:%M:%S}[/dim] [{colour}]{sign}[/{colour}] {text}")

    def _detail(self, text: str) -> None:
        self.console.print(f"             {text}")


def table(rows: Iterable[dict[str, object]]) -> Table:
    found = Table(title="Four faults", box=None, header_style="bold", title_justify="left")
    for column in ("fault", "healed", "detected after", "diagnosis", "action", "recovered after"):
        found.add_column(column)
    for row in rows:
        found.add_row(
            str(row["fault"]),
            "[green]yes[/green]" if row["healed"] else "[red]no[/red]",
            _span(row["detected_after_s"]),
            str(row["diagnosis"] or "–"),
            str(row["action"] or "–"),
            _span(row["recovered_after_s"]),
        )
    return found


def _span(seconds: object) -> str:
    return "–" if not isinstance(seconds, int | float) else f"{seconds:.0f} s"
