"""The scheduler: waiting pods to nodes that have room, GPUs included."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from healer.lab.control.common import condition, controller_of, set_condition, tell
from healer.lab.control.quantity import effective_requests, parse
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore

GPU = "nvidia.com/gpu"


def reconcile(store: ObjectStore, now: datetime) -> None:
    pods = [record.obj for record in store.records("pods")]
    waiting = [
        pod
        for pod in pods
        if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    ]
    if not waiting:
        return
    nodes = [record.obj for record in store.records("nodes")]
    used, owners = _used(pods)
    for pod in sorted(waiting, key=_turn):
        wants = effective_requests(pod)
        refused: Counter[str] = Counter()
        fits: list[Obj] = []
        for node in nodes:
            why = _why_not(pod, node, wants, used[node["metadata"]["name"]])
            if why:
                refused[why] += 1
            else:
                fits.append(node)
        if not fits:
            _wait(store, pod, len(nodes), refused, now)
            continue
        owner = (controller_of(pod) or {}).get("uid", "")
        chosen = min(fits, key=lambda n: _cost(n, used, owners, owner))["metadata"]["name"]
        used[chosen].update(wants)
        owners[chosen][owner] += 1
        _bind(store, pod, chosen, now)


def _used(pods: Iterable[Obj]) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    """Node → amounts reserved, and node → pods by the UID of their owner. A terminating pod
    holds its GPUs until it is gone."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    owners: dict[str, Counter[str]] = defaultdict(Counter)
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            used[node].update(effective_requests(pod))
            owners[node][(controller_of(pod) or {}).get("uid", "")] += 1
    return used, owners


def _turn(pod: Obj) -> tuple[int, str, str]:
    meta = pod["metadata"]
    return -int(pod["spec"].get("priority", 0)), meta["creationTimestamp"], meta["name"]


def _cost(
    node: Obj, used: Mapping[str, Counter[str]], owners: Mapping[str, Counter[str]], owner: str
) -> tuple[int, float, str]:
    """Siblings apart, then the emptier node, then by name."""
    name = node["metadata"]["name"]
    has = _allocatable(node).get(GPU, 0.0)
    return owners[name][owner], used[name][GPU] / has if has else 0.0, name


def _why_not(pod: Obj, node: Obj, wants: Mapping[str, float], used: Mapping[str, float]) -> str:
    spec = pod["spec"]
    if not tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ) and (node.get("spec", {}).get("unschedulable")):
        return "node(s) were unschedulable"
    for taint in node.get("spec", {}).get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerates(spec, taint):
            shown = f"{taint['key']}: {taint.get('value', '')}".rstrip()
            return f"node(s) had untolerated taint {{{shown}}}"
    if not _selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    has = _allocatable(node)
    for name, amount in sorted(wants.items()):
        if amount and amount > has.get(name, 110.0 if name == "pods" else 0.0) - used.get(name, 0):
            if name in ("cpu", "memory") and name not in has:
                continue
            return "Too many pods" if name == "pods" else f"Insufficient {name}"
    return ""


def tolerates(spec: Obj, taint: Mapping[str, Any]) -> bool:
    for each in spec.get("tolerations") or ():
        if each.get("effect") not in (None, "", taint["effect"]):
            continue
        if not each.get("key") and each.get("operator") == "Exists":
            return True
        if each.get("key") != taint["key"]:
            continue
        if each.get("operator", "Equal") == "Exists" or each.get("value", "") == taint.get(
            "value", ""
        ):
            return True
    return False


def _selected(spec: Obj, node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    rules = (
        (spec.get("affinity") or {})
        .get("nodeAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", {})
        .get("nodeSelectorTerms")
    )
    if not rules:
        return True
    return any(
        all(_term(want, labels) for want in rule.get("matchExpressions") or ()) for rule in rules
    )


def _term(want: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    have: str | None = labels.get(want["key"])
    values: list[str] = want.get("values") or []
    match want["operator"]:
        case "In":
            return have in values
        case "NotIn":
            return have not in values
        case "Exists":
            return have is not None
        case "DoesNotExist":
            return have is None
        case "Gt":
            return have is not None and float(have) > float(values[0])
        case "Lt":
            return have is not None and float(have) < float(values[0])
    return False


def _allocatable(node: Obj) -> dict[str, float]:
    return {k: parse(v) for k, v in (node.get("status", {}).get("allocatable") or {}).items()}


def _bind(store: ObjectStore, pod: Obj, node: str, now: datetime) -> None:
    meta = pod["metadata"]

    def change(stored: Obj) -> None:
        stored["spec"]["nodeName"] = node
        status = stored.setdefault("status", {})
        status["conditions"] = set_condition(
            status.get("conditions") or [], "PodScheduled", "True", "", "", now
        )

    store.modify("pods", meta["namespace"], meta["name"], change)
    tell(store, pod, "Scheduled",
         f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}",
         "default-scheduler", now)  # fmt: skip


def _wait(store: ObjectStore, pod: Obj, count: int, why: Counter[str], now: datetime) -> None:
    told = ", ".join(sorted(f"{number} {reason}" for reason, number in why.items()))
    message = f"0/{count} nodes are available: {told}." if told else "no nodes available"
    old, meta = condition(pod, "PodScheduled"), pod["metadata"]
    if old is None or old.get("message") != message or old["status"] != "False":

        def change(stored: Obj) -> None:
            status = stored.setdefault("status", {})
            status["conditions"] = set_condition(
                status.get("conditions") or [], "PodScheduled", "False", "Unschedulable", message,
                now,
            )  # fmt: skip

        store.modify("pods", meta["namespace"], meta["name"], change)
        tell(store, pod, "FailedScheduling", message, "default-scheduler", now, "Warning")
