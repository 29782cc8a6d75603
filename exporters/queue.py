"""What waits to be sent, on disk: bounded, oldest first, whole after a crash."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from healer.errors import BadInput

_TABLE = "CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY, body BLOB NOT NULL)"


class Queue:
    """For one thread. An unreadable file is set aside and said so: new data matters more."""

    def __init__(self, file: Path, most_bytes: int) -> None:
        """Raises BadInput where the folder cannot be written."""
        self._file, self._most_bytes = file, most_bytes
        try:
            self._open()
        except sqlite3.DatabaseError as first:
            try:
                file.replace(file.with_name(f"{file.name}.unreadable"))
                self._open()
            except (sqlite3.Error, OSError):
                raise BadInput(
                    f"expected a file that can be written ({first})", value=str(file)
                ) from first

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._file, timeout=5, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        with self._writing() as connection:
            connection.execute(_TABLE)

    def put(self, body: bytes) -> int:
        """Durable on return. How many of the oldest had to go for it."""
        dropped = 0
        with self._writing() as connection:
            connection.execute("INSERT INTO waiting (body) VALUES (?)", (body,))
            while self.size() > self._most_bytes and len(self) > 1:
                connection.execute("DELETE FROM waiting WHERE id = (SELECT min(id) FROM waiting)")
                dropped += 1
        return dropped

    def oldest(self) -> tuple[int, bytes] | None:
        """(number, body); None where nothing waits."""
        row = self._connection.execute(
            "SELECT id, body FROM waiting ORDER BY id LIMIT 1"
        ).fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def remove(self, number: int) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM waiting WHERE id = ?", (number,))

    def size(self) -> int:
        """Bytes of the bodies."""
        query = "SELECT coalesce(sum(length(body)), 0) FROM waiting"
        return int(self._connection.execute(query).fetchone()[0])

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM waiting").fetchone()[0])

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection:
            yield self._connection
