"""Kubernetes tokens as tokens of Healer's: who it is, and what its roles let it do here.

A token has to be made for Healer's own audience, for one made for another server must not open
this one. What it may do is asked of RBAC on a path that is no resource: `get /healer` reads,
`post /healer/intake` and `post /healer/approvals` write. Answers are kept for a minute.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import errors
from healer.errors import Temporary, UnknownOutcome
from healer.ports import Clock

REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
KEPT_FOR = timedelta(seconds=60)
MOST_KEPT = 10_000
MOST_BYTES = 16_384
"""Of a token. What is longer is none."""
PERMISSIONS = {
    "read": ("get", "/healer"),
    "ingest": ("post", "/healer/intake"),
    "approve": ("post", "/healer/approvals"),
}
"""Scope → verb and path of a rule with `nonResourceURLs`."""

Obj = dict[str, Any]


def ask_api(api: ApiClient) -> Callable[[str, Obj], Obj]:
    """Posts a review, which changes nothing, over this client."""

    def ask(path: str, body: Obj) -> Obj:
        try:
            answer = errors.write(api, "POST", path, body)
        except UnknownOutcome as error:
            raise Temporary(str(error)) from error
        if not answer.ok:
            # Told to the log; whoever came with the token learns only that it cannot be checked.
            raise Temporary(f"{path}: {answer.code}: {answer.message}")
        return answer.body

    return ask


@dataclass(slots=True)
class TokenReviewer:
    """`ask(path, body)` posts to the API server and returns the created object; raises Temporary
    or Permanent."""

    ask: Callable[[str, Obj], Obj]
    audience: str
    clock: Clock
    _kept: dict[tuple[str, str], tuple[datetime, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, token: bytes, scope: str) -> str:
        """`allowed`, `known` (a live token that may not do that) or `unknown`. Raises Temporary."""
        if not token or len(token) > MOST_BYTES or not token.isascii():
            return "unknown"
        # The token itself is not kept.
        key, now = (hashlib.sha256(token).hexdigest(), scope), self.clock.now()
        with self._lock:
            found = self._kept.get(key)
        if found is not None and now - found[0] < KEPT_FOR:
            return found[1]
        answer = self._look_up(token.decode(), scope)
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = now, answer
        return answer

    def _look_up(self, token: str, scope: str) -> str:
        spec: Obj = {"token": token, "audiences": [self.audience]}
        status = self._status(REVIEW, "TokenReview", "authentication.k8s.io/v1", spec)
        # An authenticator that knows no audiences says nothing of them: then it is not for us.
        if not status.get("authenticated") or self.audience not in status.get("audiences", ()):
            return "unknown"
        user, (verb, path) = status.get("user", {}), PERMISSIONS[scope]
        spec = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups", []),
            "extra": user.get("extra", {}),
            "nonResourceAttributes": {"verb": verb, "path": path},
        }
        status = self._status(ACCESS, "SubjectAccessReview", "authorization.k8s.io/v1", spec)
        return "allowed" if status.get("allowed") is True else "known"

    def _status(self, path: str, kind: str, version: str, spec: Obj) -> Obj:
        answer = self.ask(path, {"apiVersion": version, "kind": kind, "spec": spec})
        status = answer.get("status")
        if not isinstance(status, dict):
            raise Temporary(f"{kind}: the API server answered without a status")
        return status
