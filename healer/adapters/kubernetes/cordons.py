"""Our signature on a cordon: who did it, for which intent, and what was there before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ANNOTATION = "healer.dev/cordon"

LIFECYCLE_TAINTS = (
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service",
)
"""Somebody else is about to remove the node: it must not be opened again."""


def sign(intent_id: str, owner: str, at: datetime, reason: str) -> str:
    return json.dumps(
        {
            "intent": intent_id,
            "owner": owner,
            "at": at.astimezone(UTC).isoformat(),
            "reason": reason[:200],
            "prior_unschedulable": False,
        },
        ensure_ascii=False,
        sort_keys=True,
    )


def signature(node: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is signed on the node; None where nothing is, or nothing that can be read."""
    text = ((node.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def foreign_taints(node: Mapping[str, Any]) -> tuple[str, ...]:
    taints = (node.get("spec") or {}).get("taints") or ()
    return tuple(t["key"] for t in taints if t.get("key") in LIFECYCLE_TAINTS)
