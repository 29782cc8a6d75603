"""restart_workload: a moment on the pod template, and the workload's own rolling update does it."""

from __future__ import annotations

from healer.adapters.kubernetes import paths
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import (
    CONFLICT_RETRY_S,
    MERGE_PATCH,
    Sender,
    uid_of,
    version_of,
)
from healer.errors import Permanent
from healer.model.actions import RestartWorkload
from healer.model.intent import Receipt

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""kubectl's own, so that `kubectl rollout` tells the same story."""

RESTARTABLE = ("deployment", "statefulset", "daemonset")


def restart(sender: Sender, action: RestartWorkload) -> Receipt:
    """Raises Permanent for kinds that do not roll by themselves, and for paused workloads."""
    if paths.kind_of(action.target) not in RESTARTABLE:
        raise Permanent(f"{action.target}: only {', '.join(RESTARTABLE)} are restarted")
    path = paths.workload(action.target)
    found = sender.find(path)
    if found is None:
        return sender.gone(f"{action.target} is gone")
    wanted = action.uid or action.target.uid
    if wanted and uid_of(found) != wanted:
        return sender.gone(f"{action.target} is another: UID {uid_of(found)}, not {wanted}")
    before = {"uid": uid_of(found), "restarted_at": _restarted_at(found)}
    if before["restarted_at"] == action.at:
        return sender.done("restarted already", before, before)
    spec = found.get("spec") or {}
    if spec.get("paused"):
        raise Permanent(f"{action.target} is paused: its owner is at work on it")
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        raise Permanent(f"{action.target} updates on deletion only: it would not restart")
    answer = sender.patch(
        path,
        {
            "metadata": {"uid": uid_of(found), "resourceVersion": version_of(found)},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: action.at}}}},
        },
        MERGE_PATCH,
    )
    if answer.ok:
        return sender.done("its rolling update has begun", before, {"restarted_at": action.at})
    if answer.code == 409:
        return sender.later(answer.message, CONFLICT_RETRY_S, before)
    return sender.refusal(answer, before)


def holds(sender: Sender, action: RestartWorkload) -> bool:
    found = sender.find(paths.workload(action.target))
    return found is not None and _restarted_at(found) == action.at


def _restarted_at(found: Obj) -> str:
    template = (found.get("spec") or {}).get("template") or {}
    notes = (template.get("metadata") or {}).get("annotations") or {}
    return str(notes.get(RESTARTED_AT, ""))
