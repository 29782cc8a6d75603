"""What the figures of the record are counted from, beside each incident and intent.

Filled here from the stored values as they are at this schema: by their JSON alone, so that later
changes of the model cannot change what this upgrade does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
_AT_ONCE = 500
"""Values in memory; one of a storm has megabytes."""


def upgrade() -> None:
    incidents = op.create_table(
        "incident_facts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("opened_at", sa.String(length=40), nullable=False),
        sa.Column("phase", sa.String(length=24), nullable=False),
        sa.Column("cause", sa.String(length=80), nullable=False),
        sa.Column("detect_s", sa.Float(), nullable=False),
        sa.Column("lasted_s", sa.Float(), nullable=True),
        sa.Column("curable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_facts")),
    )
    op.create_index(op.f("ix_incident_facts_opened_at"), "incident_facts", ["opened_at"])
    intents = op.create_table(
        "intent_facts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("incident_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("remediation", sa.String(length=80), nullable=False),
        sa.Column("carried_out", sa.Boolean(), nullable=False),
        sa.Column("helped", sa.Boolean(), nullable=False),
        sa.Column("wrong", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intent_facts")),
    )
    op.create_index(op.f("ix_intent_facts_incident_id"), "intent_facts", ["incident_id"])
    _fill("incidents", ("id", "opened_at", "phase", "cause"), incidents, _of_incident)
    _fill("intents", ("id", "incident_id", "state"), intents, _of_intent)


def _fill(
    source: str,
    columns: tuple[str, ...],
    into: sa.Table,
    facts: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    connection = op.get_bind()
    values = sa.table(source, *(sa.column(c) for c in (*columns, "body")))
    ids = list(connection.execute(sa.select(values.c.id).order_by(values.c.id)).scalars())
    for first in range(0, len(ids), _AT_ONCE):
        wanted = values.c.id.in_(ids[first : first + _AT_ONCE])
        found = connection.execute(sa.select(values).where(wanted)).mappings()
        rows = [{c: row[c] for c in columns} | facts(json.loads(row["body"])) for row in found]
        connection.execute(sa.insert(into), rows)


def _of_incident(body: dict[str, Any]) -> dict[str, Any]:
    started = datetime.fromisoformat(body["started_at"])
    ranking = (body.get("diagnosis") or {}).get("hypotheses") or [{}]
    leader = ranking[0]
    remedies = [name for name in leader.get("proposes") or () if name != "escalate"]
    sure = (leader.get("confidence") or 0.0) >= (leader.get("min_confidence") or 0.0)
    ended = body.get("resolved_at")
    return {
        "detect_s": (datetime.fromisoformat(body["opened_at"]) - started).total_seconds(),
        "lasted_s": (datetime.fromisoformat(ended) - started).total_seconds() if ended else None,
        "curable": bool(remedies) and sure,
    }


def _of_intent(body: dict[str, Any]) -> dict[str, Any]:
    remediation = body["plan"]["remediation"]
    effect = (body.get("outcome") or {}).get("effect")
    carried_out = remediation != "escalate" and any(
        step.get("sent_at") and not (step.get("receipt") or {}).get("dry_run")
        for step in body["steps"]
    )
    return {
        "remediation": remediation,
        "carried_out": carried_out,
        "helped": carried_out and effect == "effective",
        "wrong": carried_out and (effect == "ineffective" or body["state"] == "unknown"),
    }
