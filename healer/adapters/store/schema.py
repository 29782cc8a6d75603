"""The tables. Values are stored whole as JSON beside the columns that are searched by."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# Times are ISO 8601 in UTC with microseconds: they sort as text on every database.

INCIDENTS = Table(
    "incidents",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("opened_at", String(40), nullable=False),
    Column("phase", String(24), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("cause", String(80), nullable=False),
    Column("search", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "opened_at", "id"),
    Index(None, "phase"),
)

INTENTS = Table(
    "intents",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("incident_id", String(40), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "incident_id"),
    Index(None, "created_at"),
)

INCIDENT_FACTS = Table(
    "incident_facts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("opened_at", String(40), nullable=False),
    Column("phase", String(24), nullable=False),
    Column("cause", String(80), nullable=False),
    Column("detect_s", Float, nullable=False),
    Column("lasted_s", Float),
    Column("curable", Boolean, nullable=False),
    Index(None, "opened_at"),
)
"""What the figures of the record are counted from: see `healer.model.tally`."""

INTENT_FACTS = Table(
    "intent_facts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("incident_id", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("remediation", String(80), nullable=False),
    Column("carried_out", Boolean, nullable=False),
    Column("helped", Boolean, nullable=False),
    Column("wrong", Boolean, nullable=False),
    Index(None, "incident_id"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("incident_id", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "incident_id"),
)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""One row: where the chain ends. Without it a chain cut short would look whole."""

EPISODES = Table(
    "episodes",
    METADATA,
    Column("source", String(32), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("starts_at", String(40), primary_key=True),
    Column("ends_at", String(40)),
    Column("first_seen", String(40), nullable=False),
    Column("last_seen", String(40), nullable=False),
    Column("seen", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "ends_at"),
)

PARCELS = Table(
    "parcels",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("channel", String(80), nullable=False),
    Column("notice_key", String(200), nullable=False),
    Column("incident_id", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("next_try_at", String(40)),
    Column("settled", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("result", String(16), nullable=False),
    Column("code", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Column("updated_at", String(40), nullable=False),
    UniqueConstraint("channel", "notice_key"),
    Index(None, "channel", "settled"),
    Index(None, "incident_id"),
)

BASELINES = Table(
    "baselines",
    METADATA,
    Column("detector", String(80), primary_key=True),
    Column("signal", String(120), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("fitted_at", String(40), nullable=False),
    Column("meta", Text, nullable=False),
    Column("arrays", LargeBinary, nullable=False),
)

OPINIONS = Table(
    "opinions",
    METADATA,
    Column("incident_id", String(40), primary_key=True),
    Column("cause", String(80), primary_key=True),
    Column("is_right", Boolean, nullable=False),
    Column("who", String(120), nullable=False),
    Column("at", String(40), nullable=False),
    Column("note", Text, nullable=False),
    Index(None, "cause"),
)
"""Kept when their incidents are forgotten: they make the standing of the rules."""

THINGS = Table(
    "things",
    METADATA,
    Column("key", String(120), primary_key=True),
    Column("value", Text, nullable=False),
)
