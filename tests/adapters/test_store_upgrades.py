"""Stores of older releases: moved to the schema of today on both databases, whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import alembic.command
import pytest
import servers
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from healer.adapters.store import open_store
from healer.adapters.store.sql import MIGRATIONS
from healer.model.audit import AuditEntry

RELEASED = sorted((Path(__file__).resolve().parents[1] / "data" / "store").glob("*.sql"))
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/healer.db"
    server: str = request.getfixturevalue("postgres")
    return servers.new_database(server)


def dumped(dump: Path) -> Rows:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(dump.read_text())
        connection.row_factory = sqlite3.Row
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name not in ("alembic_version", "sqlite_sequence")
        ]
        return {n: [dict(row) for row in connection.execute(f"SELECT * FROM {n}")] for n in names}


def engine_of(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def left_by(dump: Path, url: str) -> Rows:
    """Makes the schema of `dump` by the migrations up to it, and puts its rows in."""
    rows = dumped(dump)
    engine = engine_of(url)
    with engine.begin() as connection:
        config = scripts()
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, dump.stem)
        found = sa.MetaData()
        found.reflect(connection)
        for name, values in rows.items():
            table = found.tables[name]
            flags = [c.name for c in table.columns if isinstance(c.type, sa.Boolean)]
            for value in values:  # SQLite has numbers for them
                value.update({flag: bool(value[flag]) for flag in flags})
            if values:
                connection.execute(sa.insert(table), values)
            if connection.dialect.name == "postgresql":
                _count_on(connection, table)
    engine.dispose()
    return rows


def _count_on(connection: sa.Connection, table: sa.Table) -> None:
    """Numbers that the database gives go on behind those that were put in."""
    for column in table.primary_key.columns:
        sequence = connection.execute(
            sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))
        ).scalar()
        most = connection.execute(sa.select(sa.func.max(column))).scalar()
        if sequence and most:
            connection.execute(sa.select(sa.func.setval(sequence, most)))


def counted(url: str, names: Rows) -> dict[str, int]:
    engine = engine_of(url)
    with engine.connect() as connection:
        count = sa.func.count()
        found = {
            name: connection.execute(sa.select(count).select_from(sa.table(name))).scalar_one()
            for name in names
        }
    engine.dispose()
    return found


def version(url: str) -> str:
    engine = engine_of(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    engine.dispose()
    return str(found)


@pytest.mark.parametrize("dump", RELEASED, ids=lambda d: d.stem)
def test_every_release_can_be_upgraded_to_this_one_with_its_data(dump: Path, url: str) -> None:
    rows = left_by(dump, url)
    before = counted(url, rows)
    assert before == {name: len(values) for name, values in rows.items()}
    store = open_store(url)
    store.record(AuditEntry("tested", datetime(2026, 3, 5, tzinfo=UTC), "tests", message="later"))
    assert store.verify_audit() == (before["audit"] + 1, "")
    for incident in rows["incidents"]:
        assert store.incident(incident["id"]) is not None
    for intent in rows["intents"]:
        assert store.intent(intent["id"]) is not None
    store.close()
    assert counted(url, rows) == {**before, "audit": before["audit"] + 1}
    assert version(url) == ScriptDirectory.from_config(scripts()).get_current_head()


@pytest.mark.parametrize("dump", RELEASED[:-1], ids=lambda d: d.stem)
def test_an_upgrade_that_breaks_off_leaves_the_store_as_it_was(
    dump: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = left_by(dump, url)
    before = counted(url, rows)
    with monkeypatch.context() as patch:
        patch.setattr(alembic.command, "upgrade", broken_off)
        with pytest.raises(InterruptedError):
            open_store(url)
    assert version(url) == dump.stem
    assert counted(url, rows) == before
    open_store(url).close()
    assert version(url) == ScriptDirectory.from_config(scripts()).get_current_head()


upgrade = alembic.command.upgrade


def broken_off(config: Config, revision: str) -> None:
    """As a daemon that is killed once all is done but nothing is committed."""
    upgrade(config, revision)
    raise InterruptedError(revision)
