"""Watches: changes after a version as a stream of JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from healer.lab.kube import events, status
from healer.lab.kube.copying import clone
from healer.lab.kube.paths import TRUE, Call
from healer.lab.kube.resources import named
from healer.lab.kube.selectors import Match
from healer.lab.kube.status import Obj
from healer.lab.kube.store import Change, ObjectStore

LONGEST_S = 1800.0
BOOKMARK_EVERY_S = 60.0


def stream(store: ObjectStore, call: Call, match: Match) -> Iterator[bytes]:
    """Ends after `timeoutSeconds`; a version that is forgotten ends it with an ERROR of 410."""
    request, resource = call.request, call.resource.key
    ends = time.monotonic() + min(float(request.param("timeoutSeconds") or LONGEST_S), LONGEST_S)
    bookmarks = request.param("allowWatchBookmarks") in TRUE
    asked = request.param("resourceVersion")
    if asked in ("", "0") or request.param("sendInitialEvents") in TRUE:
        with store.transaction():
            at = store.version
            first = store.records(resource, call.namespace or None, match)
        for record in first:
            yield _line("ADDED", events.leave(resource, record.obj))
        if request.param("sendInitialEvents") in TRUE:
            yield _bookmark(call, at, {"k8s.io/initial-events-end": "true"})
    else:
        at = int(asked)
    marked = time.monotonic()
    while True:
        with store.changed:
            changes, known = store.since(at, resource)
            if known and not changes:
                left = ends - time.monotonic()
                if left > 0:
                    store.changed.wait(min(left, 5.0))
                changes, known = store.since(at, resource)
            newest = store.version
        if not known:
            gone = status.expired(f"too old resource version: {at} ({store.version})")
            yield _line("ERROR", gone.body())
            return
        for change in changes:
            told = _told(change, resource, call.namespace, match)
            if told:
                yield told
        at = max(at, newest)
        over = time.monotonic() >= ends
        if bookmarks and (over or time.monotonic() - marked > BOOKMARK_EVERY_S):
            marked = time.monotonic()
            yield _bookmark(call, at, {})
        if over:
            return


def _told(change: Change, resource: str, namespace: str, match: Match) -> bytes:
    """What a watcher with this selector is told; an object that leaves the selection is deleted
    as far as the watcher knows."""
    was = change.old is not None and _wanted(change.old.obj, namespace, match)
    if change.new is not None and _wanted(change.new.obj, namespace, match):
        return _line("MODIFIED" if was else "ADDED", events.leave(resource, change.new.obj))
    if not was or change.old is None:
        return b""
    last = clone((change.new or change.old).obj)
    last["metadata"]["resourceVersion"] = str(change.version)
    return _line("DELETED", events.leave(resource, last))


def _wanted(obj: Obj, namespace: str, match: Match) -> bool:
    return (not namespace or obj["metadata"].get("namespace") == namespace) and match(obj)


def _bookmark(call: Call, version: int, annotations: dict[str, str]) -> bytes:
    meta: Obj = {"resourceVersion": str(version)}
    if annotations:
        meta["annotations"] = annotations
    which = named(call.resource.key)
    return _line(
        "BOOKMARK", {"kind": which.kind, "apiVersion": which.api_version, "metadata": meta}
    )


def _line(kind: str, obj: Obj) -> bytes:
    return json.dumps({"type": kind, "object": obj}, separators=(",", ":")).encode() + b"\n"
