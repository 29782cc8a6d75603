"""rollback_workload: the pinned template back, as one JSON Patch that tests what it replaces.

A strategic patch could not remove containers or variables that the bad revision added, and
"previous" changes its meaning with every undo; so the template travels in the action.
"""

from __future__ import annotations

from collections.abc import Mapping
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

CHANGE_CAUSE = "kubernetes.io/change-cause"
REVISION = "deployment.kubernetes.io/revision"

NUMBERED: Mapping[str, str] = {
    "deployment": REVISION,
    "rollout": "rollout.argoproj.io/revision",
}
"""Workload kind → the annotation that counts its revisions."""

FIELD: Mapping[str, str] = {"inferenceservice": "predictor"}
"""Where below `spec` the revision is, if not in `template`."""


def rollback(sender: Sender, action: RollbackWorkload, owner: str) -> Receipt:
    """Raises Permanent for a template that is not the one decided on, and a paused workload."""
    if templates.digest(action.template) != action.template_digest:
        raise Permanent(f"{action.target}: the template is not that of {action.revision}")
    path, kind = paths.workload(action.target), paths.kind_of(action.target)
    found = sender.find(path)
    if found is None:
        return sender.gone(f"{action.target} is gone")
    wanted = action.uid or action.target.uid
    if wanted and uid_of(found) != wanted:
        return sender.gone(f"{action.target} is another: UID {uid_of(found)}, not {wanted}")
    before = _facts(found, kind)
    if before["template_digest"] == action.template_digest:
        return sender.done(f"at {action.revision.name} already", before, before)
    if (found.get("spec") or {}).get("paused"):
        raise Permanent(f"{action.target} is paused: its owner is at work on it")
    if (found.get("spec") or {}).get("workloadRef"):
        raise Permanent(f"{action.target} takes its template from another object")
    moved = _moved_on(sender, action, found)
    if moved:
        return sender.gone(moved, before)
    answer = sender.patch(path, _patch(found, action, owner), JSON_PATCH)
    if answer.ok:
        return sender.done(f"back to {action.revision.name}", before, _facts(answer.body, kind))
    if answer.code == 409 or (answer.code == 422 and not list(answer.causes())):
        # A test operation that fails is answered with 422 and no cause.
        return sender.later(answer.message, CONFLICT_RETRY_S, before)
    return sender.refusal(answer, before)


def holds(sender: Sender, action: RollbackWorkload) -> bool:
    found = sender.find(paths.workload(action.target))
    if found is None:
        return False
    return bool(_digest(found, paths.kind_of(action.target)) == action.template_digest)


def _moved_on(sender: Sender, action: RollbackWorkload, found: Obj) -> str:
    """Why the world is not the one decided on: another rollout came in between, or the pinned
    revision was deleted and made anew."""
    kind = paths.kind_of(action.target)
    if kind not in paths.REVISIONS:
        # No object pins what was there before: the generation decided on has to be the present.
        now = str(found["metadata"].get("generation", ""))
        moved = bool(action.from_revision) and now != action.from_revision
        return f"{action.target} has moved on from {action.from_revision}" if moved else ""
    pinned = sender.find(paths.revision(action.target, action.revision.name))
    if pinned is None or uid_of(pinned) != action.revision_uid:
        return f"{action.revision} is no longer there"
    if action.from_revision.isdigit() and kind in NUMBERED:
        moved = _notes(found).get(NUMBERED[kind], "") != action.from_revision
    elif action.from_revision and not action.from_revision.isdigit():
        bad = sender.find(paths.revision(action.target, action.from_revision))
        moved = bad is None or templates.digest(_pinned(bad)) != _digest(found, kind)
    else:
        moved = False
    return f"{action.target} has moved on from {action.from_revision}" if moved else ""


def _pinned(revision: Obj) -> Obj:
    """The pod template that a ReplicaSet or a ControllerRevision keeps."""
    spec = revision.get("spec") or (revision.get("data") or {}).get("spec") or {}
    found: Obj = spec.get("template") or {}
    return found


def _patch(found: Obj, action: RollbackWorkload, owner: str) -> list[Obj]:
    operations: list[Obj] = [
        {"op": "test", "path": "/metadata/uid", "value": uid_of(found)},
        {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(found)},
        {
            "op": "replace",
            "path": f"/spec/{FIELD.get(paths.kind_of(action.target), 'template')}",
            "value": templates.bare(action.template),
        },
    ]
    if _notes(found):
        cause = f"rolled back to {action.revision.name} by {owner}"
        where = CHANGE_CAUSE.replace("/", "~1")
        operations.append({"op": "add", "path": f"/metadata/annotations/{where}", "value": cause})
    return operations


def _facts(found: Obj, kind: str) -> dict[str, Any]:
    known: dict[str, Any] = {"uid": uid_of(found), "template_digest": _digest(found, kind)}
    if kind not in FIELD:
        known["images"] = templates.images((found.get("spec") or {}).get("template") or {})
    number = _notes(found).get(NUMBERED.get(kind, ""))
    return known | ({"revision": number} if number else {})


def _digest(found: Obj, kind: str) -> str:
    return templates.digest((found.get("spec") or {}).get(FIELD.get(kind, "template")) or {})


def _notes(found: Obj) -> Mapping[str, str]:
    return found["metadata"].get("annotations") or {}
