"""Copies of the store, and stores that older versions have left behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from healer.adapters.store import open_store
from healer.adapters.store.copies import BEFORE, backup, checked, file_of, known, restore
from healer.cli.main import app
from healer.errors import BadInput, Permanent
from healer.model.audit import AuditEntry

RELEASED = sorted((Path(__file__).resolve().parents[1] / "data" / "store").glob("*.sql"))
"""One dump for every schema that a release has had, with some rows in it."""


def entry(number: int) -> AuditEntry:
    return AuditEntry("tested", datetime(2026, 3, 4, tzinfo=UTC), "tests", message=str(number))


def messages(store: Path) -> list[str]:
    with closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT body FROM audit ORDER BY sequence").fetchall()
    return [text for (text,) in rows]


def test_a_copy_of_a_store_in_use_has_what_only_its_log_holds(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/healer.db")
    store.record(entry(1))
    assert (tmp_path / "healer.db-wal").stat().st_size > 0
    backup(tmp_path / "healer.db", tmp_path / "copy.db")
    store.record(entry(2))
    store.close()
    assert len(messages(tmp_path / "copy.db")) == 1
    assert sorted(p.name for p in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_restored_store_goes_on_where_the_copy_was_taken_and_keeps_what_it_replaced(
    tmp_path: Path,
) -> None:
    file = tmp_path / "healer.db"
    store = open_store(f"sqlite:///{file}")
    store.record(entry(1))
    backup(file, tmp_path / "copy.db")
    store.record(entry(2))
    with pytest.raises(Permanent, match="is in use: stop the daemon first"):
        restore(tmp_path / "copy.db", file)
    store.close()
    restore(tmp_path / "copy.db", file)
    assert len(messages(file)) == 1
    assert len(messages(tmp_path / f"healer.db{BEFORE}")) == 2
    again = open_store(f"sqlite:///{file}")
    again.record(entry(3))
    assert again.verify_audit() == (2, "")
    again.close()
    assert len(messages(file)) == 2


def test_after_a_crash_a_restore_is_possible_on_request(tmp_path: Path) -> None:
    file = tmp_path / "healer.db"
    store = open_store(f"sqlite:///{file}")
    store.record(entry(1))
    backup(file, tmp_path / "copy.db")
    store.record(entry(2))
    restore(tmp_path / "copy.db", file, in_use=True)
    assert not (tmp_path / "healer.db-wal").exists()
    store.close()
    assert len(messages(tmp_path / f"healer.db{BEFORE}")) == 2


def test_a_damaged_or_foreign_or_newer_copy_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "healer.db"
    open_store(f"sqlite:///{file}").close()
    before = file.read_bytes()
    (tmp_path / "text").write_text("not a database, but long enough to have a header " * 9)
    with pytest.raises(BadInput, match="expected a store of Healer"):
        restore(tmp_path / "text", file)
    with pytest.raises(BadInput, match="expected a copy made by healer db backup"):
        restore(tmp_path / "absent", file)
    backup(file, tmp_path / "newer.db")
    with closing(sqlite3.connect(tmp_path / "newer.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Permanent, match="schema 9999, which this program does not know"):
        restore(tmp_path / "newer.db", file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://healer:hidden@db/healer", "PostgreSQL is copied with pg_dump"),
        ("sqlite://", "expected a store that is a file"),
        ("nonsense", "expected an SQLAlchemy URL"),
    ],
)
def test_what_has_no_file_is_refused_by_name_without_its_password(url: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        file_of(url)
    assert "hidden" not in str(refused.value)


def test_the_commands_copy_and_put_back(tmp_path: Path) -> None:
    settings = tmp_path / "healer.yaml"
    settings.write_text(f"store: {{url: 'sqlite:///{tmp_path}/healer.db'}}\n")
    open_store(f"sqlite:///{tmp_path}/healer.db").close()

    def healer(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["db", *arguments, "-c", str(settings)])

    copy = str(tmp_path / "copy.db")
    assert healer("backup", copy).exit_code == 0
    assert healer("restore", copy).exit_code == 0
    streamed = healer("backup", "-")
    assert streamed.stdout_bytes.startswith(b"SQLite format 3")
    (tmp_path / "streamed.db").write_bytes(streamed.stdout_bytes)
    assert checked(tmp_path / "streamed.db") == checked(Path(copy))


def test_every_released_schema_is_kept_as_a_dump() -> None:
    assert {file.stem for file in RELEASED} == known()


@pytest.mark.parametrize("dump", RELEASED, ids=lambda d: d.stem)
def test_a_store_of_an_older_release_is_brought_up_to_date_and_loses_nothing(
    dump: Path, tmp_path: Path
) -> None:
    file = tmp_path / "healer.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(dump.read_text())
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'alembic_version'"
            )
        ]
        before = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone() for t in tables}
    assert before["audit"] == (2,)
    store = open_store(f"sqlite:///{file}")
    store.record(entry(9))
    assert store.incident("inc-1") is not None
    assert store.verify_audit() == (3, "")
    store.close()
    with closing(sqlite3.connect(file)) as connection:
        after = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone() for t in tables}
    assert after == {**before, "audit": (3,)}
