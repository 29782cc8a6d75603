"""What the server is given: the store, the settings and a few ways to ask the daemon.

Everything arrives as a value or a callable, so the server can be tried with a store and
nothing else, and knows neither the loop nor an adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry

from healer.lexicon import NO_WORDS, Lexicon
from healer.model.rule import RuleBook
from healer.model.signal import Signal
from healer.model.snapshot import Snapshot
from healer.ports import Clock, Store
from healer.server.charts import Chart
from healer.settings import NotifySettings, ServerSettings


@dataclass(frozen=True, slots=True)
class Health:
    """How the daemon is, as it would say itself."""

    scheduler_alive: bool = True
    """False makes `/livez` fail: the process is to be restarted."""
    database_ok: bool = True
    """False makes `/readyz` fail: alerts could not be taken in durably."""
    last_tick_at: datetime | None = None
    tick_every: timedelta = timedelta(seconds=15)
    mode: str = "observe"
    """`observe` or `enforce`: the ceiling of the settings."""
    switched_off: str = ""
    """Reason of the kill switch; empty while it is not pulled."""
    breakers: tuple[str, ...] = ()
    """Remediations whose circuit breaker is open."""
    problems: tuple[str, ...] = ()
    """What the newest tick could not do, one line each."""
    broken_channels: tuple[str, ...] = ()
    """Chat channels whose provider refuses us."""
    sentence: str = ""
    """The newest tick's report in one sentence."""
    standby: bool = False
    """Another replica looks and acts; this one takes in alerts and shows what is known."""


STALE_TICKS = 4
"""Ticks that may be missed before nobody should rely on what is shown."""


def is_stale(health: Health, now: datetime) -> bool:
    """Whether it has stopped looking. Before the first tick it has not begun to."""
    if health.last_tick_at is None:
        return False
    return now - health.last_tick_at > STALE_TICKS * health.tick_every


def _no_charts(_incident_id: str) -> tuple[Chart, ...]:
    return ()


def _no_snapshot() -> Snapshot | None:
    return None


def _nothing() -> None:
    return None


def _count_nothing(_source: str, _result: str, _count: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class ServerDeps:
    """Everything `create_app` needs. Only the first four have no useful default."""

    store: Store
    settings: ServerSettings
    clock: Clock
    health: Callable[[], Health]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """Served at /metrics."""
    series: Callable[[str], tuple[Chart, ...]] = _no_charts
    """Charts of one incident by its id; see `charts.charts_of` for making them from frames."""
    on_alerts: Callable[[], None] = _nothing
    """Called after new alerts are durable: a tick may come early. Must return at once."""
    received: Callable[[str, str, int], None] = _count_nothing
    """Counts alerts: (source, result, how many)."""
    notify: NotifySettings = field(default_factory=NotifySettings)
    """For the time zone that pages show."""
    signals: tuple[Signal, ...] = ()
    """The catalogue in force."""
    rules: RuleBook = field(default_factory=RuleBook)
    """The knowledge in force."""
    lexicon: Lexicon = NO_WORDS
    """What people call the signals and causes of both."""
    snapshot: Callable[[], Snapshot | None] = _no_snapshot
    """What the newest tick saw; None before the first."""
    review: Callable[[bytes, str], str] | None = None
    """(token, scope) → `allowed`, `known` or `unknown`, for tokens that no file holds; it may take
    a while. None: files alone."""
    pdf: Callable[[str], bytes] | None = None
    """A self-contained HTML page printed as PDF; None where nothing can print."""
