"""Whole copies of the embedded store: taken while the daemon runs, put back while it does not.

A copied file misses what still lies in SQLite's write-ahead log; SQLite's own online backup does
not. PostgreSQL has pg_dump, which knows more than we do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from healer.adapters.store.sql import MIGRATIONS
from healer.errors import BadInput, Permanent

BEFORE = ".before-restore"
"""Put behind the name of the store that a restore has replaced."""


def file_of(url: str) -> Path:
    """The file behind a SQLite URL. Raises BadInput for what has none."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput("expected an SQLAlchemy URL", path="store.url", value=url) from error
    if parsed.get_backend_name() != "sqlite":
        raise BadInput(
            "expected an SQLite store; PostgreSQL is copied with pg_dump and pg_restore",
            path="store.url",
            value=parsed.render_as_string(hide_password=True),
        )
    if not parsed.database or parsed.database == ":memory:":
        raise BadInput("expected a store that is a file", path="store.url", value=url)
    return Path(parsed.database)


def backup(store: Path, copy: Path) -> str:
    """A consistent copy of a store in use; returns its schema. An older copy stays until the new
    one is whole. Raises BadInput and Permanent."""
    if not store.is_file():
        raise BadInput("expected an SQLite store", file=store)
    part = copy.with_name(copy.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        schema = checked(part)
        part.replace(copy)
    except (sqlite3.Error, OSError) as error:
        raise Permanent(f"{copy}: could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return schema


def restore(copy: Path, store: Path, *, in_use: bool = False) -> str:
    """Puts a copy in a store's place and keeps what was there; returns its schema.

    in_use: go on although a write-ahead log says that somebody has the store open, as after a
    crash. Raises BadInput and Permanent; then nothing has changed.
    """
    if not copy.is_file():
        raise BadInput("expected a copy made by healer db backup", file=copy)
    schema = checked(copy)
    log = store.with_name(store.name + "-wal")
    if log.exists() and log.stat().st_size and not in_use:
        raise Permanent(
            f"{store} is in use: stop the daemon first, or add --in-use where it has crashed"
        )
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        if store.exists():
            backup(store, store.with_name(store.name + BEFORE))
        part = store.with_name(store.name + ".part")
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        for beside in ("-wal", "-shm"):
            store.with_name(store.name + beside).unlink(missing_ok=True)
        part.replace(store)
    except (sqlite3.Error, OSError) as error:
        raise Permanent(f"{store}: could not be written: {error}") from error
    return schema


def checked(copy: Path) -> str:
    """The schema of a whole copy that this program knows. Raises BadInput and Permanent."""
    try:
        with closing(sqlite3.connect(f"{copy.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
            if found != "ok":
                raise Permanent(f"{copy} is damaged: {found}")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise BadInput(f"expected a store of Healer ({error})", file=copy) from error
    schema = str(row[0]) if row else ""
    if schema not in known():
        raise Permanent(f"{copy} has schema {schema or 'none'}, which this program does not know")
    return schema


def known() -> frozenset[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return frozenset(s.revision for s in ScriptDirectory.from_config(config).walk_revisions())
