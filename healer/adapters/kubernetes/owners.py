"""Who controls whom, up to the workload that would replace a pod."""

from __future__ import annotations

from collections.abc import Mapping

from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.facts import controller

DEEPEST = 8
"""LeaderWorkerSet pods are four links from their top; more is a loop."""


def chain(ref: Obj | None, by_uid: Mapping[str, Obj]) -> list[Obj]:
    """Controllers from `ref` upward as far as they are known, the nearest first.

    A link counts only where the object of that UID is the one named: a namesake made later is
    nobody's owner. `by_uid` objects carry their `kind`.
    """
    found: list[Obj] = []
    while ref is not None and len(found) < DEEPEST:
        owner = by_uid.get(ref.get("uid", ""))
        if owner is None or owner["metadata"].get("name") != ref.get("name"):
            break
        found.append(owner)
        ref = controller(owner)
    return found
