"""What was changed on a node itself: its driver, kernel, kubelet, container runtime; and whether
it keeps GPUs from the scheduler.

Nothing in the API records such a change; a node merely reports other versions than it did. Feature
discovery labels tell the driver's version, `status.nodeInfo` the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from healer.adapters.kubernetes import cordons, facts
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.happenings import SOURCE
from healer.model.event import Event
from healer.model.target import Kind, Target

INFO = ("kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion")
LABELS = ("nvidia.com/cuda.driver", "nvidia.com/mig.config", "nvidia.com/gpu.product")
"""Beginnings of labels whose values are versions or layouts."""

Versions = Mapping[str, str]

RESTARTS = timedelta(minutes=1)
"""As long as a device plugin or kubelet that starts anew may take to offer its GPUs again."""


def versions(nodes: Iterable[Obj]) -> dict[str, Versions]:
    """Node UID → what it runs, as far as it tells."""
    return {str(node["metadata"].get("uid", "")): _versions(node) for node in nodes}


def node_changes(
    before: Mapping[str, Versions], nodes: Iterable[Obj], now: datetime
) -> Iterator[Event]:
    """`changed` events of nodes that report other versions than before.

    What a node did not tell before or tells no more is no change: discovery starts late and
    labels go away while it restarts.
    """
    for node in nodes:
        meta = node["metadata"]
        uid = str(meta.get("uid", ""))
        known, current = before.get(uid, {}), _versions(node)
        news = [
            f"{name.rpartition('/')[2]} {known[name]} → {value}"
            for name, value in sorted(current.items())
            if name in known and known[name] != value
        ]
        if news:
            told = f"{meta['name']} changed: {', '.join(news)}"
            target = Target(Kind.NODE, meta["name"], "", uid)
            yield Event("changed", target, now, told, {"what": ", ".join(news)}, SOURCE)


def _versions(node: Obj) -> Versions:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    labels = node["metadata"].get("labels") or {}
    found = {name: str(info[name]) for name in INFO if info.get(name)}
    return found | {k: str(v) for k, v in labels.items() if k.startswith(LABELS) and v}


def short_of_gpus(
    before: Mapping[str, datetime], nodes: Iterable[Obj], now: datetime
) -> dict[str, datetime]:
    """Node UID → since when it offers the scheduler fewer GPUs than it has, as far as we saw.

    One on which somebody is at work is left alone: drivers are changed that way.
    """
    found: dict[str, datetime] = {}
    for node in nodes:
        has, offered = facts.gpus(node)
        at_work = (node.get("spec") or {}).get("unschedulable") and not cordons.signature(node)
        if has is not None and offered is not None and offered < has and not at_work:
            uid = str(node["metadata"].get("uid", ""))
            found[uid] = before.get(uid, now)
    return found


def withheld(short: Mapping[str, datetime], nodes: Iterable[Obj], now: datetime) -> Iterator[Event]:
    """`gpus_withheld` events of nodes that stay `short_of_gpus`, for as long as they do."""
    for node in nodes:
        meta = node["metadata"]
        uid = str(meta.get("uid", ""))
        since = short.get(uid)
        if since is None or now - since < RESTARTS:
            continue
        has, offered = facts.gpus(node)
        yield Event(
            "gpus_withheld",
            Target(Kind.NODE, meta["name"], "", uid),
            since,
            f"{offered} of {has} GPUs of {meta['name']} can be allocated",
            {},
            SOURCE,
        )
