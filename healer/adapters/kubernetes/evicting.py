"""evict_pod: termination that asks disruption budgets first, for exactly one UID."""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes import facts, paths
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import Sender, uid_of
from healer.errors import Permanent
from healer.model.actions import DeletePod, EvictPod
from healer.model.intent import Receipt

MIRROR = "kubernetes.io/config.mirror"


def evict(sender: Sender, action: EvictPod) -> Receipt:
    """Raises Permanent for pods that nobody would replace."""
    found = pod_to_end(sender, action)
    if isinstance(found, Receipt):
        return found
    before = _facts(found)
    answer = sender.post(
        f"{paths.pod(action.target)}/eviction",
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": action.target.name, "namespace": action.target.namespace},
            "deleteOptions": {"preconditions": {"uid": uid_of(found)}},
        },
    )
    if answer.ok:
        return sender.done("termination has begun", before, {"terminating": True})
    if answer.code == 409:
        return sender.gone(answer.message, before)
    return sender.refusal(answer, before)


def pod_to_end(sender: Sender, action: EvictPod | DeletePod) -> Obj | Receipt:
    """The very pod, as it is now; or why there is nothing to do. Raises Permanent for a pod that
    nobody would replace, or whose end would count against its Job."""
    uid = action.uid or action.target.uid
    if not uid:
        raise Permanent(f"{action.target}: no UID to hold it to")
    if action.owner is None:
        raise Permanent(f"{action.target} has no controller: nobody would replace it")
    pod = sender.find(paths.pod(action.target))
    if pod is None:
        return sender.gone(f"{action.target} is gone already")
    if uid_of(pod) != uid:
        return sender.gone(f"{action.target} has been replaced: UID {uid_of(pod)}, not {uid}")
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        raise Permanent(f"{action.target} is a static pod: its kubelet would start it again")
    controller = facts.controller(pod)
    if controller is None:
        raise Permanent(f"{action.target} has lost its controller: nobody would replace it")
    if controller.get("kind") == "Job":
        raise Permanent(f"{action.target} belongs to a Job: it would use up its retries")
    if pod["metadata"].get("deletionTimestamp"):
        before = _facts(pod)
        return sender.done("terminating already", before, before)
    return pod


def holds(sender: Sender, action: EvictPod | DeletePod) -> bool:
    """The pod of that UID is on its way out, or gone."""
    pod = sender.find(paths.pod(action.target))
    uid = action.uid or action.target.uid
    return pod is None or uid_of(pod) != uid or "deletionTimestamp" in pod["metadata"]


def _facts(pod: Obj) -> dict[str, Any]:
    return {
        "uid": uid_of(pod),
        "node": (pod.get("spec") or {}).get("nodeName", ""),
        "phase": (pod.get("status") or {}).get("phase", ""),
    }
