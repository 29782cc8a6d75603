"""Lists: selection, paging over one consistent version, and the list's own envelope."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import OrderedDict

from healer.lab.kube import events, selectors, status
from healer.lab.kube.paths import Call
from healer.lab.kube.selectors import Match
from healer.lab.kube.store import ObjectStore, Record

KEPT_PAGES = 64
_BASE64 = re.compile(r"[A-Za-z0-9_-]*")


class Lists:
    """Remembers what is left of paged lists, so that all pages show one version."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._left: OrderedDict[str, tuple[int, list[Record]]] = OrderedDict()
        self._asked = 0

    def answer(self, call: Call) -> bytes:
        """The list as JSON. Raises ApiError (400, 410, 504)."""
        token, limit = call.request.param("continue"), int(call.request.param("limit") or 0)
        version, records = self._resume(token) if token else self._fresh(call)
        cut = limit if 0 < limit < len(records) else len(records)
        shown, left = records[:cut], records[cut:]
        meta: dict[str, object] = {"resourceVersion": str(version)}
        if left:
            meta["continue"] = self._keep(version, left)
            if not call.request.param("labelSelector") and not call.request.param("fieldSelector"):
                meta["remainingItemCount"] = len(left)
        head = {
            "kind": f"{call.resource.kind}List",
            "apiVersion": call.resource.api_version,
            "metadata": meta,
        }
        items = b",".join(_raw(call.resource.key, record) for record in shown)
        return json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"items":[' + items + b"]}"

    def selected(self, call: Call) -> list[Record]:
        return self._store.records(call.resource.key, call.namespace or None, match_of(call))

    def forget(self) -> None:
        """Every continue token handed out so far is expired."""
        self._left.clear()

    def _fresh(self, call: Call) -> tuple[int, list[Record]]:
        asked = call.request.param("resourceVersion")
        with self._store.transaction():
            version = self._store.version
            if asked.isdigit() and int(asked) > version:
                raise status.too_large_version(asked, version)
            exact = call.request.param("resourceVersionMatch") == "Exact"
            if exact and asked.isdigit() and int(asked) != version:
                raise status.expired("The resourceVersion for the provided list is too old.")
            return version, self.selected(call)

    def _resume(self, token: str) -> tuple[int, list[Record]]:
        _check_token(token)
        with self._store.transaction():
            if token not in self._left:
                raise status.expired(
                    "The provided continue parameter is too old to display a consistent list "
                    "result. You can start a new list without the continue parameter."
                )
            return self._left[token]

    def _keep(self, version: int, left: list[Record]) -> str:
        with self._store.transaction():
            self._asked += 1
            start = left[0].obj["metadata"]
            key = {"v": "meta.k8s.io/v1", "rv": version, "start": start["name"], "n": self._asked}
            token = base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")
            self._left[token] = (version, left)
            while len(self._left) > KEPT_PAGES:
                self._left.popitem(last=False)
            return token


def match_of(call: Call) -> Match:
    """Raises ApiError (400) for a selector that makes no sense."""
    by_label = selectors.labels(call.request.param("labelSelector"))
    wanted = call.request.param("fieldSelector")
    if call.name:
        wanted = f"{wanted},metadata.name={call.name}".strip(",")
    by_field = selectors.fields(call.resource.plural if call.resource.plural == "events"
                                else call.resource.key, wanted)  # fmt: skip
    return lambda obj: by_label(obj) and by_field(obj)


def _raw(resource: str, record: Record) -> bytes:
    if resource.startswith("events."):
        return json.dumps(events.leave(resource, record.obj), separators=(",", ":")).encode()
    return record.raw()


def _check_token(token: str) -> None:
    legal = _BASE64.match(token)
    at = legal.end() if legal else 0
    why = ""
    if at < len(token):
        why = f"illegal base64 data at input byte {at}"
    else:
        try:
            json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (binascii.Error, ValueError) as error:
            why = str(error)
    if why:
        raise status.bad_request(f"invalid continue token: continue key is not valid: {why}")
