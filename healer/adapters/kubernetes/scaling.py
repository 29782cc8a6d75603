"""scale_workload: an absolute number through the scale subresource, never a difference."""

from __future__ import annotations

from typing import Any

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
from healer.model.actions import ScaleWorkload
from healer.model.intent import Receipt


def scale(sender: Sender, action: ScaleWorkload) -> Receipt:
    """Raises Permanent for zero replicas, and for kinds that have no scale."""
    if action.replicas < 1:
        raise Permanent(f"{action.target}: {action.replicas} replicas would end the service")
    path = _path(action)
    found = sender.find(path)
    if found is None:
        return sender.gone(f"{action.target} is gone")
    wanted = action.uid or action.target.uid
    if wanted and uid_of(found) != wanted:
        return sender.gone(f"{action.target} is another: UID {uid_of(found)}, not {wanted}")
    before = _facts(found)
    if before["replicas"] == action.replicas:
        return sender.done(f"{action.replicas} replicas already", before, before)
    if before["replicas"] != action.was:
        return sender.gone(
            f"{action.target} has {before['replicas']} replicas, decided on {action.was}", before
        )
    answer = sender.patch(
        path,
        {
            "metadata": {"resourceVersion": version_of(found)},
            "spec": {"replicas": action.replicas},
        },
        MERGE_PATCH,
    )
    if answer.ok:
        return sender.done(
            f"{action.was} → {action.replicas} replicas", before, _facts(answer.body)
        )
    if answer.code == 409:
        return sender.later(answer.message, CONFLICT_RETRY_S, before)
    return sender.refusal(answer, before)


def holds(sender: Sender, action: ScaleWorkload) -> bool:
    found = sender.find(_path(action))
    return found is not None and _facts(found)["replicas"] == action.replicas


def _path(action: ScaleWorkload) -> str:
    if paths.kind_of(action.target) not in paths.SCALABLE:
        raise Permanent(f"{action.target} cannot be scaled: only {', '.join(paths.SCALABLE)}")
    return f"{paths.workload(action.target)}/scale"


def _facts(found: Obj) -> dict[str, Any]:
    return {"uid": uid_of(found), "replicas": int((found.get("spec") or {}).get("replicas", 0))}
