"""PodDisruptionBudget status: how many healthy pods there are and how many may go."""

from __future__ import annotations

from datetime import datetime, timedelta

from healer.lab.control.common import controller_of, is_active, put_status, set_condition
from healer.lab.control.common import share as part
from healer.lab.kube.eviction import is_ready
from healer.lab.kube.resources import of_kind
from healer.lab.kube.selectors import matches
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, unstamp

PENDING_DISRUPTION = timedelta(minutes=2)
"""How long an eviction counts before its pod is seen terminating."""


def reconcile(store: ObjectStore, now: datetime) -> None:
    for record in store.records("policy/poddisruptionbudgets"):
        budget = record.obj
        pods = [
            each.obj
            for each in store.records("pods", budget["metadata"]["namespace"])
            if is_active(each.obj)
            and matches(budget["spec"].get("selector"), each.obj["metadata"].get("labels") or {})
        ]
        put_status(store, "policy/poddisruptionbudgets", budget, _status(store, budget, pods, now))


def _status(store: ObjectStore, budget: Obj, pods: list[Obj], now: datetime) -> Obj:
    was = budget.get("status") or {}
    names = {pod["metadata"]["name"] for pod in pods}
    disrupted = {
        name: at
        for name, at in (was.get("disruptedPods") or {}).items()
        if name in names and now - unstamp(at) < PENDING_DISRUPTION
    }
    healthy = sum(is_ready(pod) and pod["metadata"]["name"] not in disrupted for pod in pods)
    expected, desired = _expected(store, budget["spec"], pods)
    allowed = max(healthy - desired, 0) if expected else 0
    conditions = set_condition(
        was.get("conditions") or [],
        "DisruptionAllowed",
        "True" if allowed else "False",
        "SufficientPods" if allowed else "InsufficientPods",
        "",
        now,
    )
    status: Obj = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"]["generation"],
        "conditions": conditions,
    }
    return status | ({"disruptedPods": disrupted} if disrupted else {})


def _expected(store: ObjectStore, spec: Obj, pods: list[Obj]) -> tuple[int, int]:
    """(pods there should be, healthy pods there must be)."""
    if isinstance(spec.get("minAvailable"), int):
        return len(pods), spec["minAvailable"]
    expected = _declared(store, pods)
    if "maxUnavailable" in spec:
        return expected, max(expected - part(spec["maxUnavailable"], expected, up=True), 0)
    return expected, part(spec.get("minAvailable", 1), expected, up=True)


def _declared(store: ObjectStore, pods: list[Obj]) -> int:
    """Replicas of the workloads the pods belong to."""
    total, seen = 0, set()
    for pod in pods:
        owner = _top(store, pod)
        if owner["metadata"]["uid"] in seen:
            continue
        seen.add(owner["metadata"]["uid"])
        total += int(owner.get("spec", {}).get("replicas", 1)) if owner is not pod else 1
    return total


def _top(store: ObjectStore, obj: Obj) -> Obj:
    ref = controller_of(obj)
    resource = of_kind(ref["apiVersion"], ref["kind"]) if ref else None
    if ref is None or resource is None:
        return obj
    found = store.record(resource.key, obj["metadata"].get("namespace", ""), ref["name"])
    if found is None or found.obj["metadata"]["uid"] != ref["uid"]:
        return obj
    return _top(store, found.obj)
