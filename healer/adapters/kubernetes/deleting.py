"""delete_pod: what is left when a budget would never let an eviction through. For one UID."""

from __future__ import annotations

from healer.adapters.kubernetes import paths
from healer.adapters.kubernetes.evicting import pod_to_end
from healer.adapters.kubernetes.sender import Sender, uid_of
from healer.model.actions import DeletePod
from healer.model.intent import Receipt


def delete(sender: Sender, action: DeletePod) -> Receipt:
    """The grace period stays the pod's own: without one, two pods may hold one GPU.

    Raises Permanent for pods that nobody would replace."""
    found = pod_to_end(sender, action)
    if isinstance(found, Receipt):
        return found
    before = {"uid": uid_of(found), "phase": (found.get("status") or {}).get("phase")}
    answer = sender.delete(
        paths.pod(action.target),
        {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid_of(found)},
        },
    )
    if answer.ok:
        return sender.done("termination has begun", before, {"terminating": True})
    if answer.code == 409:
        return sender.gone(answer.message, before)
    return sender.refusal(answer, before)
