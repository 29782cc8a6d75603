"""One line of the append-only, hash-chained record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What happened, by whom, to what. Refusals are recorded like deeds.

    `kind` is one of: incident.opened, incident.diagnosed, incident.resolved,
    incident.escalated, plan.proposed, plan.refused, intent.rehearsed, intent.approved,
    intent.rejected, intent.executing, step.sent, step.answered, intent.verified,
    intent.aborted, diagnosis.judged, undo.planned, mode.changed, switch.changed, daemon.started.
    """

    kind: str
    at: datetime
    actor: str
    incident_id: str = ""
    intent_id: str = ""
    target: str = ""
    message: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def digest(self, previous: str) -> str:
        """Hash over the entry and its predecessor's hash, hexadecimal SHA-256."""
        body = json.dumps(
            {
                "previous": previous,
                "kind": self.kind,
                "at": self.at.isoformat(),
                "actor": self.actor,
                "incident_id": self.incident_id,
                "intent_id": self.intent_id,
                "target": self.target,
                "message": self.message,
                "detail": self.detail,
            },
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        )
        return hashlib.sha256(body.encode()).hexdigest()
