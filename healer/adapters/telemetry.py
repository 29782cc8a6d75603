"""Healer's metrics about itself. Labels never name pods: cardinality stays small."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from healer import __version__
from healer.model.incident import Phase
from healer.model.intent import State
from healer.model.report import Report
from healer.model.verdict import Decision


class Telemetry:
    """One registry a daemon; nothing is registered globally."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tripped: set[str] = set()
        registry = self.registry
        Gauge(
            "healer_build_info", "Version of this Healer.", ["version"], registry=registry
        ).labels(__version__).set(1)
        self._ticks = Counter("healer_ticks_total", "Ticks done.", registry=registry)
        self._tick_s = Histogram(
            "healer_tick_duration_seconds",
            "How long one tick took.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._last = Gauge(
            "healer_last_tick_timestamp_seconds", "End of the newest tick.", registry=registry
        )
        self._series = Gauge(
            "healer_observed_series", "Rows in all frames of a tick.", registry=registry
        )
        self._findings = Gauge(
            "healer_findings", "Deviations claimed in the newest tick.", registry=registry
        )
        self._incidents = Gauge(
            "healer_incidents", "Open incidents by phase.", ["phase"], registry=registry
        )
        self._intents = Counter(
            "healer_intents_total",
            "Intents that entered a state.",
            ["remediation", "state"],
            registry=registry,
        )
        self._refusals = Counter(
            "healer_refusals_total",
            "Plans denied for good, by the guard that said no.",
            ["remediation", "guard"],
            registry=registry,
        )
        self._problems = Counter(
            "healer_problems_total", "What could not be done, by part.", ["part"], registry=registry
        )
        self._failures = Counter(
            "healer_job_failures_total",
            "Jobs that raised, were missed or skipped.",
            ["job", "reason"],
            registry=registry,
        )
        self._learning = Gauge(
            "healer_learning_baselines", "Baselines still lacking history.", registry=registry
        )
        self._breakers = Gauge(
            "healer_breaker_open",
            "1 while the circuit breaker of a remediation is open.",
            ["remediation"],
            registry=registry,
        )
        self._deliveries = Counter(
            "healer_notifications_total",
            "Attempts to deliver a message, by the provider's own answer.",
            ["channel", "result"],
            registry=registry,
        )
        self._alerts = Counter(
            "healer_alerts_received_total",
            "Alerts taken in.",
            ["source", "result"],
            registry=registry,
        )

    def ticked(self, report: Report) -> None:
        self._ticks.inc()
        self._tick_s.observe(report.took_s)
        self._last.set(report.at.timestamp())
        self._series.set(report.series)
        self._findings.set(report.findings)
        self._learning.set(len(report.learning))
        phases = Tally(i.phase for i in report.incidents if i.is_open)
        for phase in Phase:
            if phase is not Phase.RESOLVED:
                self._incidents.labels(phase.value).set(phases.get(phase, 0))
        for intent in report.intents:
            self._intents.labels(intent.plan.remediation, intent.state.value).inc()
            if intent.state is State.ABORTED:
                for verdict in intent.verdicts:
                    if verdict.decision is Decision.DENY:
                        self._refusals.labels(intent.plan.remediation, verdict.guard).inc()
        for problem in report.problems:
            self._problems.labels(problem.where.split(".")[0]).inc()

    def breakers(self, names: Sequence[str]) -> None:
        """Those that are open. One that closed stays at 0, so that its alert resolves at once."""
        for known in self._tripped - set(names):
            self._breakers.labels(known).set(0)
        for name in names:
            self._breakers.labels(name).set(1)
        self._tripped |= set(names)

    def job_failed(self, job: str, reason: str) -> None:
        self._failures.labels(job, reason).inc()

    def delivered(self, channel: str, result: str) -> None:
        self._deliveries.labels(channel, result).inc()

    def received(self, source: str, result: str, count: int = 1) -> None:
        self._alerts.labels(source, result).inc(count)
