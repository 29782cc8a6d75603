"""Core events and `events.k8s.io` events are one storage seen through two versions."""

from __future__ import annotations

from collections.abc import Mapping

from healer.lab.kube.status import Obj

NEW_TO_CORE: Mapping[str, str] = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""Everything else is spelled the same in both."""

_CORE_TO_NEW = {core: new for new, core in NEW_TO_CORE.items()}


def enter(resource: str, obj: Obj) -> Obj:
    """As it is stored: the core version."""
    if not resource.startswith("events."):
        return obj
    stored = {NEW_TO_CORE.get(key, key): value for key, value in obj.items()}
    return stored | {"apiVersion": "v1"}


def leave(resource: str, obj: Obj) -> Obj:
    """As the asked version shows it."""
    if not resource.startswith("events."):
        return obj
    shown = {_CORE_TO_NEW.get(key, key): value for key, value in obj.items()}
    return shown | {"apiVersion": "events.k8s.io/v1"}
