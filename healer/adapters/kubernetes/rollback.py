"""rollback_workload: the pinned template back, as one JSON Patch that tests what it replaces.

A strategic patch could not remove containers or variables that the bad revision added, and
"previous" changes its meaning with every undo; so the template travels in the action.
"""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes import paths, templates
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import (
    CONFLICT_RETRY_S,
    JSON_PATCH,
    Sender,
    uid_of,
    version_of,
)
from healer.errors import Permanent
from healer.model.actions import RollbackWorkload
from healer.model.intent import Receipt
from healer.model.target import Kind, Target

CHANGE_CAUSE = "kubernetes.io/change-cause"
REVISION = "deployment.kubernetes.io/revision"


def rollback(sender: Sender, action: RollbackWorkload, owner: str) -> Receipt:
    """Raises Permanent for a template that is not the one decided on, and a paused workload."""
    if templates.digest(action.template) != action.template_digest:
        raise Permanent(f"{action.target}: the template is not that of {action.revision}")
    path = paths.workload(action.target)
    found = sender.find(path)
    if found is None:
        return sender.gone(f"{action.target} is gone")
    wanted = action.uid or action.target.uid
    if wanted and uid_of(found) != wanted:
        return sender.gone(f"{action.target} is another: UID {uid_of(found)}, not {wanted}")
    before = _facts(found)
    if before["template_digest"] == action.template_digest:
        return sender.done(f"at {action.revision.name} already", before, before)
    if (found.get("spec") or {}).get("paused"):
        raise Permanent(f"{action.target} is paused: its owner is at work on it")
    moved = _moved_on(sender, action, found)
    if moved:
        return sender.gone(moved, before)
    answer = sender.patch(path, _patch(found, action, owner), JSON_PATCH)
    if answer.ok:
        return sender.done(f"back to {action.revision.name}", before, _facts(answer.body))
    if answer.code == 409 or (answer.code == 422 and not list(answer.causes())):
        # A test operation that fails is answered with 422 and no cause.
        return sender.later(answer.message, CONFLICT_RETRY_S, before)
    return sender.refusal(answer, before)


def holds(sender: Sender, action: RollbackWorkload) -> bool:
    found = sender.find(paths.workload(action.target))
    return found is not None and _facts(found)["template_digest"] == action.template_digest


def _moved_on(sender: Sender, action: RollbackWorkload, found: Obj) -> str:
    """Why the world is not the one decided on: another rollout came in between, or the pinned
    revision was deleted and made anew."""
    if paths.kind_of(action.target) != "deployment":
        return ""
    pinned = sender.find(paths.revision(action.revision))
    if pinned is None or uid_of(pinned) != action.revision_uid:
        return f"{action.revision} is no longer there"
    if action.from_revision.isdigit():
        number = (found["metadata"].get("annotations") or {}).get(REVISION, "")
        moved = number != action.from_revision
    elif action.from_revision:
        name = Target(Kind.REVISION, action.from_revision, action.target.namespace)
        bad = sender.find(paths.revision(name))
        present = templates.digest(found["spec"]["template"])
        moved = bad is None or templates.digest(bad["spec"]["template"]) != present
    else:
        moved = False
    return f"{action.target} has moved on from {action.from_revision}" if moved else ""


def _patch(found: Obj, action: RollbackWorkload, owner: str) -> list[Obj]:
    operations: list[Obj] = [
        {"op": "test", "path": "/metadata/uid", "value": uid_of(found)},
        {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(found)},
        {"op": "replace", "path": "/spec/template", "value": templates.bare(action.template)},
    ]
    if found["metadata"].get("annotations"):
        cause = f"rolled back to {action.revision.name} by {owner}"
        where = CHANGE_CAUSE.replace("/", "~1")
        operations.append({"op": "add", "path": f"/metadata/annotations/{where}", "value": cause})
    return operations


def _facts(found: Obj) -> dict[str, Any]:
    notes = found["metadata"].get("annotations") or {}
    template = (found.get("spec") or {}).get("template") or {}
    known: dict[str, Any] = {
        "uid": uid_of(found),
        "template_digest": templates.digest(template),
        "images": templates.images(template),
    }
    return known | ({"revision": notes[REVISION]} if REVISION in notes else {})
