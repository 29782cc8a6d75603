"""quarantine_pod and release_pod: out of service and controller by labels, kept running to look at.

Its controller makes a replacement at once. Only for pods of ReplicaSets: a StatefulSet could not
make the name anew, a DaemonSet would put a second pod on the same GPUs.
"""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes import facts, paths, signatures
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import (
    CONFLICT_RETRY_S,
    MERGE_PATCH,
    Sender,
    uid_of,
    version_of,
)
from healer.errors import Permanent
from healer.model.actions import QuarantinePod, ReleasePod
from healer.model.intent import Receipt

OUT = "quarantined"
"""The value that replaces what selectors look for."""


def quarantine(sender: Sender, action: QuarantinePod, intent_id: str, owner: str) -> Receipt:
    """Raises Permanent for pods that their controller could not replace."""
    found = _same_pod(sender, action)
    if isinstance(found, Receipt):
        return found
    note, before = signatures.signed(found, signatures.QUARANTINE), _known(found)
    if signatures.is_ours(note, intent_id, owner):
        return sender.done("in quarantine already", before, before)
    if note is not None:
        return sender.gone(f"{action.target} is in quarantine already, for {note.get('intent')}")
    if found["metadata"].get("deletionTimestamp"):
        return sender.gone(f"{action.target} is terminating", before)
    kind = (facts.controller(found) or {}).get("kind")
    if kind != "ReplicaSet":
        raise Permanent(f"{action.target} belongs to {kind or 'nobody'}: it would not be replaced")
    labels = found["metadata"].get("labels") or {}
    kept = {key: labels[key] for key in action.labels if key in labels}
    if not kept:
        raise Permanent(f"{action.target} has none of the labels {', '.join(action.labels)}")
    signed = signatures.sign(intent_id, owner, sender.now(), labels=kept)
    return _patch(
        sender, found, dict.fromkeys(kept, OUT), {signatures.QUARANTINE: signed}, "taken out"
    )


def release(sender: Sender, action: ReleasePod, owner: str) -> Receipt:
    found = _same_pod(sender, action)
    if isinstance(found, Receipt):
        return found
    note = signatures.signed(found, signatures.QUARANTINE)
    if note is None or not signatures.is_ours(note, action.quarantine_id, owner):
        return sender.gone(f"{action.target} is not in our quarantine", _known(found))
    labels = {str(k): str(v) for k, v in (note.get("labels") or {}).items()}
    return _patch(sender, found, labels, {signatures.QUARANTINE: None}, "released")


def quarantine_holds(sender: Sender, action: QuarantinePod, intent_id: str, owner: str) -> bool:
    pod = sender.find(paths.pod(action.target))
    if pod is None or uid_of(pod) != (action.uid or action.target.uid):
        return False
    return signatures.is_ours(signatures.signed(pod, signatures.QUARANTINE), intent_id, owner)


def release_holds(sender: Sender, action: ReleasePod, owner: str) -> bool:
    pod = sender.find(paths.pod(action.target))
    note = signatures.signed(pod, signatures.QUARANTINE) if pod else None
    return not signatures.is_ours(note, action.quarantine_id, owner)


def _same_pod(sender: Sender, action: QuarantinePod | ReleasePod) -> Obj | Receipt:
    wanted = action.uid or action.target.uid
    if not wanted:
        raise Permanent(f"{action.target}: no UID to hold it to")
    pod = sender.find(paths.pod(action.target))
    if pod is None:
        return sender.gone(f"{action.target} is gone")
    if uid_of(pod) != wanted:
        return sender.gone(f"{action.target} has been replaced: UID {uid_of(pod)}, not {wanted}")
    return pod


def _known(pod: Obj) -> dict[str, Any]:
    return {"uid": uid_of(pod), "labels": pod["metadata"].get("labels") or {}}


def _patch(
    sender: Sender,
    pod: Obj,
    labels: dict[str, str],
    annotations: dict[str, str | None],
    told: str,
) -> Receipt:
    meta = pod["metadata"]
    answer = sender.patch(
        f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}",
        {
            "metadata": {
                "uid": uid_of(pod),
                "resourceVersion": version_of(pod),
                "labels": labels,
                "annotations": annotations,
            }
        },
        MERGE_PATCH,
    )
    if answer.ok:
        return sender.done(told, _known(pod), _known(answer.body))
    if answer.code == 409:
        return sender.later(answer.message, CONFLICT_RETRY_S, _known(pod))
    return sender.refusal(answer, _known(pod))
