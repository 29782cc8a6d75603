"""cordon_node and uncordon_node: the mark and our signature in one patch, and only ours back."""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes import cordons, paths
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import (
    CONFLICT_RETRY_S,
    MERGE_PATCH,
    Sender,
    uid_of,
    version_of,
)
from healer.model.actions import CordonNode, UncordonNode
from healer.model.intent import Receipt


def cordon(sender: Sender, action: CordonNode, intent_id: str, owner: str) -> Receipt:
    """A node that is cordoned already stays as it is, unsigned: we never take back what somebody
    else did."""
    found = _same_node(sender, action)
    if isinstance(found, Receipt):
        return found
    before = facts(found)
    if before["unschedulable"]:
        signed = cordons.signature(found)
        by = "us" if _is_ours(signed, intent_id, owner) else "somebody else"
        return sender.done(f"cordoned already by {by}", before, before)
    signed_as = cordons.sign(intent_id, owner, sender.now(), action.reason)
    return _patch(
        sender, action, found, {cordons.ANNOTATION: signed_as}, unschedulable=True, told="cordoned"
    )


def uncordon(sender: Sender, action: UncordonNode, owner: str) -> Receipt:
    found = _same_node(sender, action)
    if isinstance(found, Receipt):
        return found
    signed, before = cordons.signature(found), facts(found)
    if signed is None or not _is_ours(signed, action.cordon_id, owner):
        return sender.gone(f"{action.target}: the cordon is not ours to take back", before)
    foreign = cordons.foreign_taints(found)
    if foreign:
        return sender.gone(f"{action.target} is being removed: {', '.join(foreign)}", before)
    keep = bool(signed.get("prior_unschedulable"))
    return _patch(
        sender, action, found, {cordons.ANNOTATION: None},
        unschedulable=True if keep else None, told="uncordoned",
    )  # fmt: skip


def cordon_holds(sender: Sender, action: CordonNode) -> bool:
    node = sender.find(paths.node(action.target))
    wanted = action.uid or action.target.uid
    if node is None or (wanted and uid_of(node) != wanted):
        return False
    return bool(facts(node)["unschedulable"])


def uncordon_holds(sender: Sender, action: UncordonNode, owner: str) -> bool:
    """Our signature is off the node."""
    node = sender.find(paths.node(action.target))
    return node is None or not _is_ours(cordons.signature(node), action.cordon_id, owner)


def facts(node: Obj) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uid": uid_of(node),
        "unschedulable": bool((node.get("spec") or {}).get("unschedulable")),
    }
    signed = cordons.signature(node)
    return found if signed is None else found | {"cordon_owner": signed}


def _same_node(sender: Sender, action: CordonNode | UncordonNode) -> Obj | Receipt:
    node = sender.find(paths.node(action.target))
    if node is None:
        return sender.gone(f"{action.target} is gone")
    wanted = action.uid or action.target.uid
    if wanted and uid_of(node) != wanted:
        return sender.gone(f"{action.target} is another node: UID {uid_of(node)}, not {wanted}")
    return node


def _is_ours(signed: Obj | None, intent_id: str, owner: str) -> bool:
    return signed is not None and signed.get("owner") == owner and signed.get("intent") == intent_id


def _patch(
    sender: Sender,
    action: CordonNode | UncordonNode,
    node: Obj,
    annotations: dict[str, str | None],
    *,
    unschedulable: bool | None,
    told: str,
) -> Receipt:
    answer = sender.patch(
        paths.node(action.target),
        {
            "metadata": {
                "uid": uid_of(node),
                "resourceVersion": version_of(node),
                "annotations": annotations,
            },
            "spec": {"unschedulable": unschedulable},
        },
        MERGE_PATCH,
    )
    if answer.ok:
        return sender.done(told, facts(node), facts(answer.body))
    if answer.code == 409:
        return sender.later(answer.message, CONFLICT_RETRY_S, facts(node))
    return sender.refusal(answer, facts(node))
