"""Composition root: settings → a wired daemon. The only importer of adapters.

The same `App` runs as the daemon, in the demo and in the lab; they differ in the clock and in
the two HTTP clients handed in.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import requests
import structlog

from healer.adapters.alone import Alone
from healer.adapters.channels import open_notifiers
from healer.adapters.chart_source import ChartSource
from healer.adapters.clocks import SystemClock
from healer.adapters.executor import Executor
from healer.adapters.fitter import Fitter
from healer.adapters.identifiers import new_ulid
from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.adapters.learning import Learning
from healer.adapters.lease import LeaseElector
from healer.adapters.lease_limits import WRITE_TIMEOUT_S
from healer.adapters.machine import open_machine
from healer.adapters.no_cluster import NoCluster
from healer.adapters.observer import Observer
from healer.adapters.outbox import Outbox
from healer.adapters.pdf import can_print, pdf_of
from healer.adapters.post import RequestsPost
from healer.adapters.prometheus import PrometheusMetrics
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.store import SqlStore, open_store
from healer.adapters.telemetry import Telemetry
from healer.adapters.token_review import TokenReviewer, ask_api
from healer.adapters.tracing import open_tracing
from healer.errors import HealerError
from healer.guards import standard
from healer.guards.breaker import open_breakers
from healer.healing import REMEMBER, Healing
from healer.lexicon import lexicon_of
from healer.loop import Loop
from healer.model.audit import AuditEntry
from healer.model.report import Report
from healer.model.snapshot import Snapshot
from healer.plugins import make, names
from healer.ports import Clock, Cluster, Hands, Leadership, Metrics, Remediation, Remembers
from healer.server.charts import Chart, charts_of
from healer.server.deps import Health, ServerDeps
from healer.server.reconcile import Reconciler
from healer.server.silences import Silencer
from healer.settings import RemediationSettings, Settings
from healer.stages.detect import Detectors

log = structlog.get_logger("healer")


HEALTHY = "healthy_revisions"
"""Key in the store: what was seen healthy must outlive a restart in the middle of a bad rollout."""


class Background(Protocol):
    """What a daemon runs beside its jobs."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class WatchedCluster(Cluster, Remembers, Protocol):
    """A cluster, and what was learned of it."""


@dataclass(frozen=True, slots=True)
class World:
    """What an App is connected to."""

    clock: Clock
    metrics: Metrics
    cluster: WatchedCluster
    hands: Hands
    store: SqlStore
    leading: Leadership = field(default_factory=Alone)
    background: tuple[Background, ...] = ()


def open_world(
    settings: Settings,
    clock: Clock | None = None,
    session: requests.Session | None = None,
    api: Any = None,
) -> World:
    """Connect to what the settings name. `session` and `api` replace the HTTP clients."""
    clock = clock or SystemClock()
    metrics = PrometheusMetrics(settings.prometheus, session)
    store = open_store(settings.store.url)
    if not settings.kubernetes.enabled:
        alone = open_machine(settings.machine, clock) or NoCluster()
        return World(clock, metrics, alone, alone, store)
    act_as = settings.kubernetes.act_as
    acting = connect(settings.kubernetes, act_as) if act_as and api is None else api
    api = api or connect(settings.kubernetes)
    cluster = KubernetesCluster(
        api, settings.kubernetes, clock, _armed_namespaces(settings.remediation), acting
    )
    if not settings.lease.enabled or not store.shared:
        hands = KubernetesHands(acting or api, clock)
        return World(clock, metrics, cluster, hands, store, background=(cluster,))
    elector = LeaseElector(api, clock, settings.lease)
    hands = KubernetesHands(acting or api, clock, timeout_s=WRITE_TIMEOUT_S, leading=elector)
    return World(clock, metrics, cluster, hands, store, elector, (cluster,))


def _armed_namespaces(settings: RemediationSettings) -> tuple[str, ...]:
    """Where something is armed by name; there its rights may be bound one namespace at a time."""
    named = {name for arming in settings.arm.values() for name in arming.namespaces}
    return tuple(sorted(named - {"*"}))


class App:
    """A wired daemon without its threads: `tick`, `learn`, `post` and `forget` are its jobs."""

    def __init__(self, settings: Settings, world: World) -> None:
        self.settings, self.world = settings, world
        self.clock, self.store = world.clock, world.store
        self.telemetry = Telemetry()
        self.tracing = open_tracing(settings.tracing)
        self.signals = load_signals(
            settings.rules.folders, settings.rules.disabled, settings.detectors.packages
        )
        self.rules = load_rules(
            settings.rules.folders,
            settings.rules.disabled,
            shadow_until=settings.rules.shadow_until,
        )
        self.lexicon = lexicon_of(self.signals, self.rules.rules)
        self.detectors = Detectors.from_settings(self.signals, settings.detectors)
        self.observer = Observer(
            world.metrics, world.cluster, self.signals, settings.loop, self.store
        )
        self.learning = Learning(
            self.store, self.observer, Fitter(settings.detectors), self.detectors, self.signals
        )
        self.outbox = Outbox(
            self.store,
            open_notifiers(settings.notify),
            RequestsPost(),
            self.clock,
            settings.notify.channels,
            self.telemetry.delivered,
            settings.notify,
            self.lexicon,
        )
        self.reconciler = Reconciler(self.store, settings.server, self.clock)
        self.silencer = Silencer(self.store, settings.server, self.clock)
        self.executor = Executor(world.hands, self.store, self.clock, leading=world.leading)
        self.healing = Healing(
            store=self.store,
            executor=self.executor,
            remediations=remediations(settings.remediation),
            guards=standard(settings.remediation),
            settings=settings.remediation,
            span=self.tracing.span,
        )
        self.loop = Loop(
            clock=self.clock,
            store=self.store,
            observer=_Watched(self.observer.snapshot, self._saw),
            detectors=self.detectors,
            baselines=self.learning.baselines,
            rules=self.rules,
            healing=self.healing,
            tell=self.outbox.enqueue,
            new_id=new_ulid,
            settings=settings.loop,
            public_url=settings.server.public_url,
            span=self.tracing.span,
        )
        self._charts = ChartSource(self.observer, self.signals, self.clock, settings.loop.step)
        self._lock = threading.Lock()
        self._report: Report | None = None
        self._snapshot: Snapshot | None = None
        self._breakers: tuple[str, ...] = ()
        self._term = ""

    # jobs

    def in_office(self) -> bool:
        """Whether this replica is the one that looks and acts; a new term begins afresh."""
        epoch = self.world.leading.epoch()
        if not epoch:
            self._term = ""
            self.telemetry.breakers(())  # the one that leads tells of them
        elif epoch != self._term:
            self.learning.reload()
            self.begin()
        return bool(epoch)

    def begin(self) -> None:
        """Once, before the first tick: what was under way is looked at afresh, not sent again."""
        epoch = self.world.leading.epoch()
        self.store.record(
            AuditEntry(
                "daemon.started",
                self.clock.now(),
                "healer",
                message=f"mode {self.settings.remediation.mode}",
                detail={"epoch": epoch},
            )
        )
        self.world.cluster.trust_revisions(frozenset(json.loads(self.store.get(HEALTHY) or "[]")))
        for problem in self.healing.resume(self.clock.now()):
            log.warning("not resumed", where=problem.where, what=problem.what)
        self._term = epoch

    def tick(self) -> Report:
        known = self.world.cluster.healthy_revisions()
        with self.tracing.span("tick"):
            report = self.loop.tick()
            self.tracing.note(
                series=report.series, findings=report.findings, problems=len(report.problems)
            )
        if (now_known := self.world.cluster.healthy_revisions()) != known:
            self.store.put(HEALTHY, json.dumps(sorted(now_known)))
        breakers = self._open_breakers()
        with self._lock:
            self._report, self._breakers = report, breakers
        self.telemetry.ticked(report)
        self.telemetry.breakers(breakers)
        for problem in report.problems:
            log.warning("problem", where=problem.where, what=problem.what)
        log.info("tick", says=str(report), took_s=round(report.took_s, 3))
        return report

    def learn(self) -> None:
        with self._lock:
            snapshot = self._snapshot
        if snapshot is None or not snapshot.metrics_ok:
            return
        for problem in self.learning.refit(
            self.clock.now(), tuple(snapshot.frames), snapshot.topology
        ):
            log.warning("problem", where=problem.where, what=problem.what)

    def post(self) -> None:
        with self.tracing.span("post"):
            self.outbox.flush()

    def reconcile(self) -> None:
        """Alerts that no webhook brought, and those that ended unheard."""
        late, ended = self.reconciler.run()
        if late or ended:
            log.info("alerts reconciled", taken_in=late, ended=ended)

    def silence(self) -> None:
        """Alerts of what is being repaired, where the settings ask for it."""
        made, lifted = self.silencer.run()
        if made or lifted:
            log.info("alerts silenced", set=made, taken_back=lifted)

    def forget(self) -> None:
        before = self.clock.now() - self.settings.loop.retention
        self.store.prune(before, keep=self.healing.owed())

    # what the server asks

    def server_deps(self) -> ServerDeps:
        return ServerDeps(
            store=self.store,
            settings=self.settings.server,
            clock=self.clock,
            health=self.health,
            registry=self.telemetry.registry,
            series=self.charts,
            received=self.telemetry.received,
            notify=self.settings.notify,
            signals=self.signals,
            rules=self.rules,
            lexicon=self.lexicon,
            snapshot=self.snapshot,
            review=self._reviewer(),
            pdf=pdf_of if can_print() else None,
        )

    def _reviewer(self) -> TokenReviewer | None:
        audience = self.settings.server.kubernetes_audience
        if not audience or not self.settings.kubernetes.enabled:
            return None
        return TokenReviewer(ask_api(connect(self.settings.kubernetes)), audience, self.clock)

    def snapshot(self) -> Snapshot | None:
        """What the newest tick saw."""
        with self._lock:
            return self._snapshot

    def charts(self, incident_id: str) -> tuple[Chart, ...]:
        incident = self.store.incident(incident_id)
        if incident is None:
            return ()
        intents = self.store.intents(incident_id=incident_id)
        return charts_of(incident, intents, self._charts.frames(incident))

    def health(self) -> Health:
        with self._lock:
            report, breakers = self._report, self._breakers
        database_ok, standby = self._database_ok(), not self.world.leading.epoch()
        return Health(
            database_ok=database_ok,
            last_tick_at=report.at if report else None,
            tick_every=self.settings.loop.interval,
            mode=self.settings.remediation.mode.value,
            switched_off=self.healing.switched_off(),
            breakers=self._open_breakers() if standby and database_ok else breakers,
            problems=tuple(f"{p.where}: {p.what}" for p in report.problems) if report else (),
            broken_channels=self.outbox.broken(),
            sentence=str(report) if report else "",
            standby=standby,
        )

    def close(self) -> None:
        self.tracing.close()
        self.store.close()

    def _open_breakers(self) -> tuple[str, ...]:
        now = self.clock.now()
        try:
            past = self.store.intents(since=now - REMEMBER)
        except HealerError:
            return ()  # a store that cannot be read is told of by itself, and stops everything
        return open_breakers(past, self.settings.remediation, now)

    def _database_ok(self) -> bool:
        try:
            self.store.ping()
        except HealerError:
            return False
        return True

    def _saw(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._snapshot = snapshot


@dataclass(frozen=True, slots=True)
class _Watched:
    """The observer, and a look over its shoulder for the learning job."""

    look: Callable[[datetime], Snapshot]
    saw: Any

    def snapshot(self, now: datetime) -> Snapshot:
        snapshot = self.look(now)
        self.saw(snapshot)
        return snapshot


def remediations(settings: RemediationSettings) -> Mapping[str, Remediation]:
    """Every remediation there is, by name, built with its options. Raises BadInput."""
    base: type[Remediation] = Remediation  # type: ignore[type-abstract]
    known = {name for package in settings.packages for name in names(package)}
    return {
        name: make(
            settings.packages,
            name,
            settings.options.get(name, {}),
            base,
            path=f"remediation.options.{name}",
        )
        for name in sorted(known)
    }
