"""The Store port on SQLAlchemy: one transaction a method, foreign errors translated."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from healer.adapters.store import chain, intake, opinions, outbox, records, tallies
from healer.adapters.store.rows import upsert
from healer.adapters.store.schema import THINGS
from healer.errors import BadInput, Permanent, Temporary
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.model.message import DeliveryResult, Parcel
from healer.model.opinion import Opinion, Standings
from healer.model.tally import Tally
from healer.ports import Baseline, Episode, Page

MIGRATIONS = Path(__file__).parent / "migrations"

WRITES = "healer_writes"
"""Execution option of transactions that write."""

MIGRATION_LOCK = 0x4EA1E4
"""Any number, the same in every replica."""

WAL_TRIES = 200
"""Ten seconds' worth, as long as a lock is waited for."""

_ALEMBIC = threading.Lock()
"""Alembic keeps the running migration in globals of its modules."""


def open_store(url: str) -> SqlStore:
    """Connect and bring the schema up to date. Raises BadInput for a URL that is none."""
    engine = _engine(url)
    store = SqlStore(engine)
    try:
        with store.transaction() as connection:
            migrate(connection)
    except BaseException:
        store.close()
        raise
    return store


def migrate(connection: Connection) -> None:
    """Upgrade to the newest schema; refuse one that is newer than this program."""
    if connection.dialect.name == "postgresql":  # two replicas may start at once
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    known = {s.revision for s in ScriptDirectory.from_config(config).walk_revisions()}
    if inspect(connection).has_table("alembic_version"):
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        if version is not None and version not in known:
            raise Permanent(f"the database has schema {version}, newer than this program knows")
    with _ALEMBIC:
        command.upgrade(config, "head")


class SqlStore:
    """Thread-safe. SQLite writes go one after the other; PostgreSQL locks the audit's head."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{WRITES: True})
        self._write = threading.RLock()

    @property
    def shared(self) -> bool:
        """Whether several replicas can use it at once."""
        return self._engine.dialect.name != "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commits on leaving; translates what the database throws. Raises Temporary."""
        with _free() if self.shared else self._write:
            try:
                with self._writing.begin() as connection:
                    yield connection
            except SQLAlchemyError as error:
                raise Temporary(f"store: {_reason(error)}") from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise Temporary(f"store: {_reason(error)}") from error

    def ping(self) -> None:
        with self._reading() as connection:
            connection.execute(select(func.count()).select_from(THINGS))

    def close(self) -> None:
        self._engine.dispose()

    # incidents and intents

    def put_incident(self, incident: Incident) -> None:
        with self.transaction() as connection:
            records.put_incident(connection, incident)

    def incident(self, incident_id: str) -> Incident | None:
        with self._reading() as connection:
            return records.incident(connection, incident_id)

    def open_incidents(self) -> tuple[Incident, ...]:
        with self._reading() as connection:
            return records.open_incidents(connection)

    def incidents(
        self,
        *,
        phase: Sequence[str] = (),
        severity: Sequence[str] = (),
        cause: Sequence[str] = (),
        namespace: Sequence[str] = (),
        node: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        text: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        wanted = records.Wanted(
            tuple(phase),
            tuple(severity),
            tuple(cause),
            tuple(namespace),
            tuple(node),
            since,
            until,
            text,
            limit,
            cursor,
        )
        with self._reading() as connection:
            return records.page(connection, wanted)

    def claim_intent(self, intent: Intent) -> bool:
        with self.transaction() as connection:
            return records.claim_intent(connection, intent)

    def put_intent(self, intent: Intent) -> None:
        with self.transaction() as connection:
            records.put_intent(connection, intent)

    def replace_intent(self, intent: Intent, was: Intent) -> bool:
        with self.transaction() as connection:
            return records.replace_intent(connection, intent, was)

    def intent(self, intent_id: str) -> Intent | None:
        with self._reading() as connection:
            return records.intent(connection, intent_id)

    def intents(
        self, *, incident_id: str = "", since: datetime | None = None, open_only: bool = False
    ) -> tuple[Intent, ...]:
        with self._reading() as connection:
            return records.intents(connection, incident_id, since, open_only=open_only)

    def decide(self, intent_id: str, digest: str, who: str, *, yes: bool, at: datetime) -> bool:
        with self.transaction() as connection:
            return records.decide(connection, intent_id, digest, who, yes=yes, at=at)

    def tally(self, since: datetime) -> Tally:
        with self._reading() as connection:
            return tallies.tally(connection, since)

    # people's word on diagnoses

    def put_opinion(self, opinion: Opinion) -> None:
        with self.transaction() as connection:
            opinions.put(connection, opinion)

    def opinions(
        self, *, incident_id: str = "", cause: str = "", limit: int = 200
    ) -> tuple[Opinion, ...]:
        with self._reading() as connection:
            return opinions.newest(connection, incident_id, cause, limit)

    def standings(self) -> Standings:
        with self._reading() as connection:
            return opinions.standings(connection)

    # audit

    def record(self, *entries: AuditEntry) -> None:
        with self.transaction() as connection:
            chain.append(connection, entries)

    def audit(
        self, *, incident_id: str = "", after: int = 0, limit: int = 500
    ) -> tuple[tuple[int, AuditEntry], ...]:
        with self._reading() as connection:
            return chain.entries(connection, incident_id, after, limit)

    def verify_audit(self) -> tuple[int, str]:
        with self._reading() as connection:
            return chain.verify(connection)

    # intake

    def accept(self, episodes: Sequence[Episode]) -> tuple[int, int]:
        with self.transaction() as connection:
            return intake.accept(connection, episodes)

    def accept_all(self, batches: Sequence[Sequence[Episode]]) -> tuple[tuple[int, int], ...]:
        with self.transaction() as connection:
            return intake.accept_all(connection, batches)

    def episodes(self, since: datetime) -> tuple[Episode, ...]:
        with self._reading() as connection:
            return intake.episodes(connection, since)

    # outbox

    def enqueue(
        self, channel: str, notice_key: str, incident_id: str, body: str, at: datetime
    ) -> bool:
        with self.transaction() as connection:
            return outbox.enqueue(connection, channel, notice_key, incident_id, body, at)

    def due(self, channel: str, now: datetime, limit: int = 20) -> tuple[Parcel, ...]:
        with self._reading() as connection:
            return outbox.due(connection, channel, now, limit)

    def settle(
        self,
        parcel_id: int,
        result: DeliveryResult,
        at: datetime,
        next_try_at: datetime | None,
    ) -> None:
        with self.transaction() as connection:
            outbox.settle(connection, parcel_id, result, at, next_try_at)

    def deliveries(
        self, *, incident_id: str = "", limit: int = 200
    ) -> tuple[Mapping[str, Any], ...]:
        with self._reading() as connection:
            return outbox.deliveries(connection, incident_id, limit)

    # baselines and small things

    def put_baseline(self, baseline: Baseline) -> None:
        with self.transaction() as connection:
            records.put_baseline(connection, baseline)

    def baselines(self) -> tuple[Baseline, ...]:
        with self._reading() as connection:
            return records.baselines(connection)

    def get(self, key: str) -> str | None:
        with self._reading() as connection:
            found = connection.execute(select(THINGS.c.value).where(THINGS.c.key == key)).scalar()
            return None if found is None else str(found)

    def put(self, key: str, value: str) -> None:
        with self.transaction() as connection:
            upsert(connection, THINGS, {"key": key}, {"value": value})

    def prune(self, before: datetime, keep: Collection[str] = ()) -> int:
        with self.transaction() as connection:
            return records.prune(connection, before, keep)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise BadInput(
                "expected sqlite:///FILE or postgresql://…",
                path="store.url",
                value=parsed.render_as_string(hide_password=True),
            )
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=True)
    except ArgumentError as error:
        raise BadInput("expected an SQLAlchemy URL", path="store.url", value=url) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(raw: Any, _: object) -> None:
    raw.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver
    cursor = raw.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    _use_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Where several open a new file at once, SQLite refuses all but one without waiting."""
    for _ in range(WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            time.sleep(0.05)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that turns from reading to writing fails at once where another one wrote in
    # between; one that asks for the lock at its beginning waits for it.
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _free() -> Iterator[None]:
    yield


def _reason(error: SQLAlchemyError) -> str:
    """The driver's own words; SQLAlchemy's would repeat the statement with its values."""
    origin = getattr(error, "orig", None)
    return f"{type(error).__name__}: {origin or error.__class__.__doc__ or ''}".splitlines()[0]
