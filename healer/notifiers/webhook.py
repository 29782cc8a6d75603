"""Any other receiver: the notice as plain JSON, signed when a secret is given.

Receivers check `X-Healer-Signature: sha256=HEX`, an HMAC-SHA256 with the secret over
`X-Healer-Timestamp`, a full stop and the body. A 2xx is success.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.model.intent import Intent
from healer.model.message import Delivery, DeliveryResult, Notice
from healer.notifiers._chat import Chat, compact, secret_parts
from healer.notifiers._headline import headline
from healer.notifiers._markup import plain
from healer.ports import PostRequest

MOST_ITEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Chat):
    """Options of one receiver."""

    token: str = ""
    """Sent as a bearer token, if any."""

    def render(self, notice: Notice) -> str:
        incident = notice.incident
        leader = incident.diagnosis.leader if incident.diagnosis else None
        cause = None
        if leader is not None:
            cause = {
                "cause": leader.cause,
                "target": str(leader.target),
                "title": leader.title,
                "confidence": round(leader.confidence, 4),
                "evidence": [plain(t.seen or t.asked) for t in leader.evidence_for[:MOST_ITEMS]],
            }
        return compact(
            {
                "version": "1",
                "key": notice.key,
                "occasion": notice.occasion.value,
                "at": notice.at.isoformat(),
                "headline": headline(notice, self.language),
                "url": notice.url,
                "incident": {
                    "id": incident.id,
                    "title": plain(incident.title),
                    "phase": incident.phase.value,
                    "severity": incident.severity.value,
                    "started_at": incident.started_at.isoformat(),
                    "opened_at": incident.opened_at.isoformat(),
                    "resolved_at": incident.resolved_at.isoformat()
                    if incident.resolved_at
                    else None,
                    "resolution": plain(incident.resolution),
                    "targets": [str(t) for t in incident.targets[:MOST_ITEMS]],
                    "symptoms": [plain(f.summary) for f in incident.findings[:MOST_ITEMS]],
                },
                "cause": cause,
                "actions": [_action(i) for i in notice.intents],
            }
        )

    def request(self, body: str, now: datetime) -> PostRequest:
        raw, stamp = body.encode(), str(int(now.timestamp()))
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Healer-Timestamp": stamp}
        if self.secret:
            headers["X-Healer-Signature"] = f"sha256={sign(self.secret, stamp, raw)}"
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        parts = secret_parts(self.url, self.secret, self.token)
        return PostRequest(self.url, raw, headers, parts)

    def classify(self, status: int, body: str) -> DeliveryResult:
        code = f"http {status}"
        if 200 <= status < 300:
            return DeliveryResult(Delivery.DELIVERED, code)
        if status in (429, 503):
            return DeliveryResult(Delivery.PAUSE, code, body[:200], 60.0)
        if status in (400, 401, 403, 404, 410, 422):
            return DeliveryResult(Delivery.BROKEN, code, body[:200])
        if status == 413:
            return DeliveryResult(Delivery.TOO_LARGE, code, body[:200])
        return DeliveryResult(Delivery.RETRY, code, body[:200])


def sign(secret: str, stamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _action(intent: Intent) -> dict[str, Any]:
    return {
        "id": intent.id,
        "remediation": intent.plan.remediation,
        "target": str(intent.plan.target),
        "state": intent.state.value,
        "summary": plain(intent.plan.summary),
        "digest": intent.plan.digest,
        "expires_at": intent.expires_at.isoformat() if intent.expires_at else None,
    }
