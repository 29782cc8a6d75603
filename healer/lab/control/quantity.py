"""Kubernetes quantities: `500m`, `16Gi`, `2`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from healer.lab.kube.status import Obj

_FACTORS = {
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
}  # fmt: skip


def parse(text: Any) -> float:
    said = str(text)
    for suffix, factor in _FACTORS.items():
        if said.endswith(suffix):
            return float(said[: -len(suffix)]) * factor
    return float(said)


def effective_requests(pod: Obj) -> Counter[str]:
    """What the scheduler reserves: the larger of the largest init container and the sum of the
    containers with their sidecars. Limits stand in for requests that are not given."""
    spec = pod["spec"]
    total: Counter[str] = Counter()
    for container in spec.get("containers") or ():
        total.update(_of(container))
    first: Counter[str] = Counter()
    for container in spec.get("initContainers") or ():
        wants = _of(container)
        if container.get("restartPolicy") == "Always":
            total.update(wants)
        else:
            first |= Counter(wants)
    total |= first
    total["pods"] = 1
    return total


def _of(container: Mapping[str, Any]) -> Counter[str]:
    resources = container.get("resources") or {}
    wanted = (resources.get("limits") or {}) | (resources.get("requests") or {})
    found: Counter[str] = Counter()
    for name, amount in wanted.items():
        found[name] = parse(amount)  # type: ignore[assignment]
    return found
