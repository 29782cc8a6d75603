"""Where a pod may run, as its spec asks: node selector, required affinity, tolerations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def placement(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`node_selector` and `node_affinity` (terms) where asked for, and `tolerations` always.

    The thousands of pods of a cluster ask for few different things: those share one copy.
    """
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found = {
        "node_selector": spec.get("nodeSelector"),
        "node_affinity": (affinity.get(REQUIRED) or {}).get("nodeSelectorTerms"),
        "tolerations": spec.get("tolerations") or [],
    }
    return {
        name: _shared(json.dumps(value, sort_keys=True))
        for name, value in found.items()
        if value is not None
    }


@lru_cache(maxsize=4096)
def _shared(text: str) -> Any:
    return json.loads(text)
