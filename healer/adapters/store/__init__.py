"""What survives a restart: SQLAlchemy over SQLite (one replica) or PostgreSQL."""

from healer.adapters.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
