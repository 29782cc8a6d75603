"""What happened lately, read off the objects as they are: failed pods, new pods, nodes that are
not ready, and the cluster's own warnings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from healer.adapters.kubernetes import facts
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.paths import target_of
from healer.model.event import Event
from healer.model.topology import Entity

WINDOW = timedelta(hours=2)
SOURCE = "kubernetes"


def of_pods(pods: Iterable[Entity], now: datetime) -> Iterator[Event]:
    """pod_created and pod_failed."""
    for pod in pods:
        if pod.created_at is not None and pod.created_at >= now - WINDOW:
            known = {"revision": str(pod.facts.get("revision", ""))}
            yield Event(
                "pod_created",
                pod.target,
                pod.created_at,
                f"{pod.target.name} was created",
                {key: value for key, value in known.items() if value},
                SOURCE,
            )
        for container in pod.facts.get("containers", ()):
            ended = container.get("last_terminated") or {}
            at = facts.moment(ended.get("at"))
            if at is None or at < now - WINDOW or not ended.get("exit_code"):
                continue
            reason = str(ended.get("reason") or "Error")
            yield Event(
                "pod_failed",
                pod.target,
                at,
                f"{container.get('name')} ended with {reason}, exit code {ended['exit_code']}",
                {
                    "reason": reason,
                    "exit_code": str(ended["exit_code"]),
                    "container": str(container.get("name", "")),
                },
                SOURCE,
            )


def of_nodes(nodes: Iterable[Obj], now: datetime) -> Iterator[Event]:
    """node_not_ready, since when it lasts."""
    for obj in nodes:
        ready = facts.condition(obj, "Ready")
        target = target_of("Node", "", obj["metadata"]["name"], obj["metadata"].get("uid", ""))
        if not ready or ready.get("status") == "True" or target is None:
            continue
        yield Event(
            "node_not_ready",
            target,
            facts.moment(ready.get("lastTransitionTime")) or now,
            str(ready.get("message") or f"{target.name} is not ready"),
            {"reason": str(ready.get("reason") or ""), "status": str(ready.get("status"))},
            SOURCE,
        )


def of_warnings(warnings: Iterable[Obj], now: datetime) -> Iterator[Event]:
    """The cluster's events of type Warning, about things that Healer has a word for."""
    for obj in warnings:
        about = obj.get("involvedObject") or {}
        target = target_of(
            str(about.get("kind")),
            about.get("namespace") or "",
            str(about.get("name") or ""),
            about.get("uid") or "",
        )
        at = _last(obj)
        if target is None or not target.name or at is None or at < now - WINDOW:
            continue
        yield Event(
            "kubernetes",
            target,
            at,
            str(obj.get("message") or obj.get("reason") or "")[:500],
            {"reason": str(obj.get("reason") or "")},
            SOURCE,
        )


def _last(obj: Obj) -> datetime | None:
    for value in (
        (obj.get("series") or {}).get("lastObservedTime"),
        obj.get("lastTimestamp"),
        obj.get("eventTime"),
        obj["metadata"].get("creationTimestamp"),
    ):
        found = facts.moment(value)
        if found is not None:
            return found
    return None
