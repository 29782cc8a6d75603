"""Alembic's entry: runs on the connection the store hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from healer.adapters.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
