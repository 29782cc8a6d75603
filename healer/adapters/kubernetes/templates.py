"""Pod templates: the part that a revision is about, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

HASH_LABELS = frozenset({"pod-template-hash", "rollouts-pod-template-hash"})


def bare(template: Mapping[str, Any]) -> dict[str, Any]:
    """Without the hash labels that controllers add, and without nulls and their like."""
    made = dict(template)
    made.pop("$patch", None)
    if "spec" not in template:  # a component of an InferenceService has no metadata
        return made
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if v is not None}
    if meta.get("labels"):
        meta["labels"] = {k: v for k, v in meta["labels"].items() if k not in HASH_LABELS}
    made["metadata"] = meta
    return made


def digest(template: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256; equal for templates that mean the same revision."""
    text = json.dumps(bare(template), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def images(template: Mapping[str, Any]) -> list[str]:
    spec = template.get("spec") or {}
    return [each.get("image", "") for each in spec.get("containers") or ()]
