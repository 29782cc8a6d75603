"""Objects with versions and a history: what etcd and the registry are to a real API server.

Stored objects are never changed in place: every write makes a new one with the next
resourceVersion and appends to the history that watches read. What `get` and `list` hand out are
copies. All methods are atomic; `transaction()` makes several of them so.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from healer.lab.kube import defaults, events, status
from healer.lab.kube.copying import clone
from healer.lab.kube.patches import merge
from healer.lab.kube.resources import Resource, named
from healer.lab.kube.selectors import Match
from healer.lab.kube.status import Obj

HISTORY = 50_000
"""Changes kept for watches; older versions are answered with 410."""

_UIDS = uuid.UUID("6f0d5f5e-9d1b-4a55-8d8e-2f6c61a0c1de")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of generated names: no vowels, so no words."""

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped) and name."""

Objects = list[Obj]


@dataclass(slots=True)
class Record:
    """One version of one object."""

    obj: Obj
    version: int
    _raw: bytes | None = field(default=None, repr=False)

    def raw(self) -> bytes:
        """As JSON; kept, because a cluster is listed far more often than it changes."""
        if self._raw is None:
            self._raw = json.dumps(self.obj, separators=(",", ":")).encode()
        return self._raw


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history. `new` is None after a deletion, `old` before a creation."""

    version: int
    resource: str
    old: Record | None
    new: Record | None


Records = list[Record]
Changes = list[Change]


class ObjectStore:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self._objects: dict[str, dict[Key, Record]] = {}
        self._version = 0
        self._made = 0
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._forgotten = 0
        self.changed = threading.Condition(threading.RLock())

    # ------------------------------------------------------------------ reading

    @property
    def version(self) -> int:
        """Of the newest change."""
        return self._version

    def get(self, resource: str, namespace: str, name: str) -> Obj | None:
        """A copy, or None where there is no such object. Namespace is empty for nodes."""
        found = self.record(resource, namespace, name)
        return None if found is None else clone(events.leave(resource, found.obj))

    def list(
        self, resource: str, namespace: str | None = None, selector: Match | None = None
    ) -> Objects:
        """Copies, by namespace and name. selector: a predicate (`selectors.labels("a=b")`)."""
        return [
            clone(events.leave(resource, record.obj))
            for record in self.records(resource, namespace, selector)
        ]

    def record(self, resource: str, namespace: str, name: str) -> Record | None:
        return self._bucket(resource).get((namespace or "", name))

    def records(
        self, resource: str, namespace: str | None = None, selector: Match | None = None
    ) -> Records:
        """The stored objects themselves, for reading only."""
        with self.changed:
            found = sorted(self._bucket(resource).items())
        return [
            record
            for (where, _), record in found
            if (namespace is None or where == namespace)
            and (selector is None or selector(record.obj))
        ]

    def since(self, version: int, resource: str) -> tuple[Changes, bool]:
        """Changes after `version`; False where part of them has been forgotten."""
        key = _home(named(resource))
        with self.changed:
            if version < self._forgotten:
                return [], False
            found: Changes = []
            for change in reversed(self._history):
                if change.version <= version:
                    break
                if change.resource == key:
                    found.append(change)
        return found[::-1], True

    def compact(self) -> None:
        """Forget the history: every watch that must catch up is answered with 410."""
        with self.changed:
            self._forgotten = self._version
            self._history.clear()
            self.changed.notify_all()

    # ------------------------------------------------------------------ writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile."""
        with self.changed:
            yield

    def create(self, resource: str, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Adds a copy with UID, time of creation and version. Raises ApiError (409)."""
        which = named(resource)
        with self.changed:
            made = defaults.fill(which.key, events.enter(resource, clone(obj)))
            meta = made.setdefault("metadata", {})
            self._made += 0 if dry_run else 1
            if not meta.get("name") and meta.get("generateName"):
                meta["name"] = meta["generateName"] + self._suffix()
            key = (meta.get("namespace", "") if which.namespaced else "", meta["name"])
            if key in self._bucket(resource):
                raise status.already_exists(which, meta["name"])
            home = named(_home(which))
            made["apiVersion"], made["kind"] = home.api_version, home.kind
            meta["uid"] = str(uuid.uuid5(_UIDS, f"{self._made}/{which.key}/{key}"))
            meta["creationTimestamp"] = stamp(self.now())
            if which.generation:
                meta["generation"] = 1
            return events.leave(resource, self._commit(which, key, made, dry_run=dry_run))

    def update(
        self,
        resource: str,
        obj: Obj,
        *,
        dry_run: bool = False,
    ) -> Obj:
        """Replaces spec, status and metadata. A resourceVersion or UID in `obj` must be the
        current one. Raises ApiError (404, 409)."""
        which = named(resource)
        with self.changed:
            new = events.enter(resource, clone(obj))
            meta = new.setdefault("metadata", {})
            key = (meta.get("namespace", "") if which.namespaced else "", meta.get("name", ""))
            found = self._bucket(resource).get(key)
            if found is None:
                raise status.not_found(which, key[1])
            old = found.obj["metadata"]
            if meta.get("uid", old["uid"]) != old["uid"]:
                raise status.conflict(
                    which,
                    key[1],
                    f"Precondition failed: UID in precondition: {meta['uid']}, "
                    f"UID in object meta: {old['uid']}",
                )
            if meta.get("resourceVersion", old["resourceVersion"]) != old["resourceVersion"]:
                raise status.conflict(which, key[1])
            for fixed in ("uid", "creationTimestamp", "generation", "resourceVersion"):
                if fixed in old:
                    meta[fixed] = old[fixed]
            new["apiVersion"], new["kind"] = found.obj["apiVersion"], found.obj["kind"]
            if new == found.obj:
                return events.leave(resource, clone(new))
            if which.generation and new.get("spec") != found.obj.get("spec"):
                meta["generation"] = old.get("generation", 0) + 1
            if meta.get("deletionTimestamp") and not meta.get("finalizers") and _no_grace(meta):
                self._remove(which, key, dry_run=dry_run)
                return events.leave(resource, new)
            return events.leave(resource, self._commit(which, key, new, dry_run=dry_run))

    def modify(
        self, resource: str, namespace: str, name: str, change: Callable[[Obj], None]
    ) -> Obj:
        """Read, `change` the copy in place, write back: atomic. Raises ApiError (404)."""
        with self.changed:
            obj = self.get(resource, namespace, name)
            if obj is None:
                raise status.not_found(named(resource), name)
            change(obj)
            return self.update(resource, obj)

    def patch_status(self, resource: str, namespace: str, name: str, patch: Obj) -> Obj:
        """Merges `patch` into the status: null removes a key, a list replaces a list. Raises
        ApiError (404)."""

        def change(obj: Obj) -> None:
            obj["status"] = merge(obj.get("status"), patch)

        return self.modify(resource, namespace, name, change)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        *,
        grace_s: float = 0,
        dry_run: bool = False,
    ) -> Obj:
        """Removes it, or marks it terminating while a grace period or a finalizer holds it.

        A second delete with grace 0 ends the waiting. Raises ApiError (404).
        """
        which = named(resource)
        with self.changed:
            key = (namespace or "", name)
            found = self._bucket(resource).get(key)
            if found is None:
                raise status.not_found(which, name)
            held = found.obj["metadata"].get("finalizers")
            if not held and grace_s <= 0:
                self._remove(which, key, dry_run=dry_run)
                return events.leave(resource, clone(found.obj))
            marked = clone(found.obj)
            meta = marked["metadata"]
            if "deletionTimestamp" in meta and meta.get("deletionGracePeriodSeconds", 0) <= grace_s:
                return events.leave(resource, marked)
            meta["deletionTimestamp"] = stamp(self.now() + timedelta(seconds=grace_s))
            meta["deletionGracePeriodSeconds"] = int(grace_s)
            return events.leave(resource, self._commit(which, key, marked, dry_run=dry_run))

    # ------------------------------------------------------------------ inside

    def _bucket(self, resource: str) -> dict[Key, Record]:
        return self._objects.setdefault(_home(named(resource)), {})

    def _commit(self, which: Resource, key: Key, obj: Obj, *, dry_run: bool) -> Obj:
        bucket = self._bucket(which.key)
        old = bucket.get(key)
        if dry_run:
            return obj
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        bucket[key] = Record(obj, self._version)
        self._note(Change(self._version, _home(which), old, bucket[key]))
        return clone(obj)

    def _remove(self, which: Resource, key: Key, *, dry_run: bool) -> None:
        if dry_run:
            return
        old = self._bucket(which.key).pop(key)
        self._version += 1
        self._note(Change(self._version, _home(which), old, None))

    def _note(self, change: Change) -> None:
        if len(self._history) == HISTORY:
            self._forgotten = self._history[0].version
        self._history.append(change)
        self.changed.notify_all()

    def _suffix(self) -> str:
        number = uuid.uuid5(_UIDS, f"name/{self._made}").int
        return "".join(_LETTERS[(number >> (8 * at)) % len(_LETTERS)] for at in range(5))


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as the API server writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unstamp(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _home(which: Resource) -> str:
    """Both event APIs are views of one storage."""
    return "events" if which.plural == "events" else which.key


def _no_grace(meta: Obj) -> bool:
    return not meta.get("deletionGracePeriodSeconds")
