"""set_floor: the lower bound of an HPA, or of the ScaledObject that makes one.

A direct write to a workload that has an autoscaler is undone at its next sync. The prior bound is
signed on the object; it goes back only while our own value still stands.
"""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes import paths, signatures
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import (
    CONFLICT_RETRY_S,
    MERGE_PATCH,
    Sender,
    uid_of,
    version_of,
)
from healer.errors import Permanent
from healer.model.actions import SetFloor
from healer.model.intent import Receipt

FIELDS = {
    "horizontalpodautoscaler": ("minReplicas", "maxReplicas", 1),
    "scaledobject": ("minReplicaCount", "maxReplicaCount", 100),
}
"""Lower bound, upper bound, and the upper one where it is not given. An HPA always gives it."""

PAUSED = "autoscaling.keda.sh/paused"


def set_floor(sender: Sender, action: SetFloor, intent_id: str, owner: str) -> Receipt:
    """Raises Permanent beyond the upper bound, and for an autoscaler that is paused."""
    path = paths.scaler(action.target, action.scaler)
    found = sender.find(path)
    if found is None:
        return sender.gone(f"{action.scaler} is gone")
    if action.uid and uid_of(found) != action.uid:
        return sender.gone(f"{action.scaler} is another: UID {uid_of(found)}, not {action.uid}")
    if action.takes_back:
        return _take_back(sender, action, path, found, owner)
    low, high, most = FIELDS[action.scaler.partition("/")[0]]
    spec = found.get("spec") or {}
    before = _facts(found, low)
    if action.floor > int(spec.get(high) or most):
        raise Permanent(f"{action.scaler} allows {spec.get(high) or most} replicas at most")
    if any(key.startswith(PAUSED) for key in found["metadata"].get("annotations") or {}):
        raise Permanent(f"{action.scaler} is paused: somebody else has taken it over")
    if _effective(spec.get(low)) >= action.floor:
        return sender.done(f"{_effective(spec.get(low))} at least already", before, before)
    if _effective(spec.get(low)) != action.was:
        return sender.gone(
            f"{action.scaler} has a minimum of {spec.get(low)}, decided on {action.was}", before
        )
    note = signatures.sign(intent_id, owner, sender.now(), was=spec.get(low), to=action.floor)
    return _write(sender, path, found, {signatures.FLOOR: note}, low, action.floor)


def holds(sender: Sender, action: SetFloor, owner: str) -> bool:
    found = sender.find(paths.scaler(action.target, action.scaler))
    if found is None:
        return False
    note = signatures.signed(found, signatures.FLOOR)
    if action.takes_back:
        return not signatures.is_ours(note, action.takes_back, owner)
    low, _, _ = FIELDS[action.scaler.partition("/")[0]]
    return _effective((found.get("spec") or {}).get(low)) >= action.floor


def _take_back(sender: Sender, action: SetFloor, path: str, found: Obj, owner: str) -> Receipt:
    low, _, _ = FIELDS[action.scaler.partition("/")[0]]
    note, before = signatures.signed(found, signatures.FLOOR), _facts(found, low)
    if note is None or not signatures.is_ours(note, action.takes_back, owner):
        return sender.gone(f"{action.scaler}: its minimum is not ours to take back", before)
    if (found.get("spec") or {}).get(low) != note.get("to"):
        return sender.gone(f"{action.scaler}: somebody has set another minimum since", before)
    return _write(sender, path, found, {signatures.FLOOR: None}, low, note.get("was"))


def _write(
    sender: Sender,
    path: str,
    found: Obj,
    annotations: dict[str, str | None],
    field: str,
    value: int | None,
) -> Receipt:
    before = _facts(found, field)
    answer = sender.patch(
        path,
        {
            "metadata": {
                "uid": uid_of(found),
                "resourceVersion": version_of(found),
                "annotations": annotations,
            },
            "spec": {field: value},
        },
        MERGE_PATCH,
    )
    if answer.ok:
        after = _facts(answer.body, field)
        return sender.done(f"{field} {before[field]} → {after[field]}", before, after)
    if answer.code == 409:
        return sender.later(answer.message, CONFLICT_RETRY_S, before)
    return sender.refusal(answer, before)


def _effective(bound: Any) -> int:
    """KEDA's 0 means that its HPA begins at 1."""
    return max(int(bound or 0), 1)


def _facts(found: Obj, field: str) -> dict[str, Any]:
    return {"uid": uid_of(found), field: (found.get("spec") or {}).get(field)}
