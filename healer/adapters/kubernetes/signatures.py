"""What we write on objects that we change for a while: who, for which intent, and what was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from healer.adapters.kubernetes.errors import Obj

FLOOR = "healer.dev/floor"
"""On an autoscaler."""

QUARANTINE = "healer.dev/quarantine"
"""On a pod."""


def sign(intent_id: str, owner: str, at: datetime, **before: Any) -> str:
    known = {"intent": intent_id, "owner": owner, "at": at.astimezone(UTC).isoformat()}
    return json.dumps(known | before, ensure_ascii=False, sort_keys=True)


def signed(obj: Obj, key: str) -> Obj | None:
    """What is signed under `key`; None where nothing is, or nothing that can be read."""
    text = ((obj.get("metadata") or {}).get("annotations") or {}).get(key)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_ours(found: Obj | None, intent_id: str, owner: str) -> bool:
    return found is not None and found.get("owner") == owner and found.get("intent") == intent_id
