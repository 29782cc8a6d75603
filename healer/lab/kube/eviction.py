"""The eviction subresource: a delete that asks disruption budgets first.

Follows the registry's order: preconditions, then what no budget protects (pending, finished and
terminating pods), then the one budget that covers the pod.
"""

from __future__ import annotations

from healer.lab.kube import status
from healer.lab.kube.resources import named
from healer.lab.kube.selectors import matches
from healer.lab.kube.status import ApiError, Obj
from healer.lab.kube.store import ObjectStore, stamp

UNPROTECTED = ("Pending", "Succeeded", "Failed")
DEFAULT_GRACE_S = 30


def evict(store: ObjectStore, namespace: str, name: str, body: Obj, *, dry_run: bool) -> Obj:
    """A `Status`: termination has begun. Raises ApiError (404, 409, 429, 500)."""
    pod = store.get("pods", namespace, name)
    if pod is None:
        raise status.not_found(named("pods"), name)
    if body.get("metadata", {}).get("name", name) != name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    options = body.get("deleteOptions") or {}
    check_preconditions("pods", pod, options)
    if not _unprotected(pod):
        budget = _budget(store, pod)
        if budget is not None and not _broken_pod_may_go(pod, budget):
            _spend(store, budget, name, dry_run=dry_run)
    store.delete("pods", namespace, name, grace_s=grace_of(pod, options), dry_run=dry_run)
    return status.success(201)


def check_preconditions(resource: str, obj: Obj, options: Obj) -> None:
    """Raises ApiError (409) where UID or resourceVersion are not the wanted ones."""
    wanted = options.get("preconditions") or {}
    meta = obj["metadata"]
    for key, what in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(key) and wanted[key] != meta[key]:
            raise status.precondition(named(resource), meta["name"], what, wanted[key], meta[key])


def grace_of(pod: Obj, options: Obj) -> float:
    """How long a pod may take to end: nothing where no kubelet would have to confirm."""
    if not pod.get("spec", {}).get("nodeName"):
        return 0
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    return float(asked)


def is_ready(pod: Obj) -> bool:
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in pod.get("status", {}).get("conditions") or ()
    )


def _unprotected(pod: Obj) -> bool:
    return (
        "deletionTimestamp" in pod["metadata"]
        or pod.get("status", {}).get("phase", "Pending") in UNPROTECTED
    )


def _budget(store: ObjectStore, pod: Obj) -> Obj | None:
    labels = pod["metadata"].get("labels") or {}
    found = [
        each
        for each in store.list("policy/poddisruptionbudgets", pod["metadata"]["namespace"])
        if matches(each.get("spec", {}).get("selector"), labels)
    ]
    if len(found) > 1:
        raise ApiError(
            500,
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support.",
        )
    return found[0] if found else None


def _broken_pod_may_go(pod: Obj, budget: Obj) -> bool:
    """A running pod that is not ready costs the budget nothing, when its policy allows so."""
    if is_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    now = budget.get("status") or {}
    desired = now.get("desiredHealthy", 0)
    return bool(desired > 0 and now.get("currentHealthy", 0) >= desired)


def _spend(store: ObjectStore, budget: Obj, pod: str, *, dry_run: bool) -> None:
    name, now = budget["metadata"]["name"], budget.get("status") or {}
    if now.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
        raise status.budget(
            f"The disruption budget {name} is still being processed by the server.", 10
        )
    if now.get("disruptionsAllowed", 0) <= 0:
        raise status.budget(
            f"The disruption budget {name} needs {now.get('desiredHealthy', 0)} healthy pods and "
            f"has {now.get('currentHealthy', 0)} currently"
        )
    if not dry_run:
        store.patch_status(
            "policy/poddisruptionbudgets",
            budget["metadata"]["namespace"],
            name,
            {
                "disruptionsAllowed": now["disruptionsAllowed"] - 1,
                "disruptedPods": {pod: stamp(store.now())},
            },
        )
