"""A Kubernetes API server over objects in memory.

`handle` is its HTTP side, what kubectl and Healer's adapter talk to; `store` is the same cluster
in process, what the simulated kubelets and controllers work on. Every mutating request is
written to `write_log`, whether it succeeded or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.lab.kube import discovery, paths, status, tables, verbs, watch
from healer.lab.kube.access import Access
from healer.lab.kube.faults import Fault, Faults
from healer.lab.kube.listing import Lists, match_of
from healer.lab.kube.status import ApiError, Obj
from healer.lab.kube.store import ObjectStore
from healer.lab.web import Request, Response

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_MUTATING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Write:
    """One mutating request as it arrived, and what became of it."""

    at: datetime
    method: str
    path: str
    dry_run: bool
    user_agent: str
    status: int
    body: Any
    """Decoded where it is JSON."""

    @property
    def changed(self) -> bool:
        return not self.dry_run and self.status < 300


class ApiServer:
    """token: when given, requests must bear it."""

    def __init__(self, now: Callable[[], datetime], *, token: str = "") -> None:
        self.store = ObjectStore(now)
        self.access = Access()
        self.faults = Faults()
        self.write_log: list[Write] = []
        self.token = token
        self._now = now
        self._lists = Lists(self.store)
        for name in NAMESPACES:
            self.store.create("namespaces", {"metadata": {"name": name}})

    def handle(self, request: Request) -> Response:
        fault = self.faults.strike(request)
        response = self._struck(fault) if fault else None
        if response is None:
            response = self._answer(request)
        if request.method in _MUTATING and request.path != _REVIEWS:
            self._log(request, response.status)
        if fault and fault.kind == "lose_answer":
            return Response(response.status, drop=True)
        return response

    def forget_history(self) -> None:
        """Watches and paged lists have to start over: 410."""
        self.store.compact()
        self._lists.forget()

    def _struck(self, fault: Fault) -> Response | None:
        match fault.kind:
            case "hang":
                self.faults.released.wait(fault.hang_s)
                return Response(0, drop=True)
            case "lose_request":
                return Response(0, drop=True)
            case "throttle":
                return _failure(status.throttled(fault.retry_after_s))
            case "error":
                return _failure(status.internal("etcdserver: request timed out"))
            case "conflict":
                return _failure(
                    ApiError(409, "Conflict", "Operation cannot be fulfilled: the object has been "
                             "modified; please apply your changes to the latest version and try "
                             "again", {})
                )  # fmt: skip
            case "lose_answer":
                return None

    def _answer(self, request: Request) -> Response:
        try:
            if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
                raise status.unauthorized()
            found = discovery.document(request.path) if request.method == "GET" else None
            if found is not None:
                return _json(found)
            if request.path in ("/healthz", "/livez", "/readyz"):
                return Response(200, b"ok", {"Content-Type": "text/plain; charset=utf-8"})
            if request.path == _REVIEWS and request.method == "POST":
                return _json(self.access.review(paths.decode(request.body)), 201)
            call = paths.parse(request)
            self.access.check(call)
            return self._dispatch(call)
        except ApiError as error:
            return _failure(error)

    def _dispatch(self, call: paths.Call) -> Response:
        as_table = "as=Table" in call.request.headers.get("accept", "")
        if call.verb == "watch":
            return Response(200, watch.stream(self.store, call, match_of(call)))
        if call.verb == "list":
            if as_table:
                records = [record.obj for record in self._lists.selected(call)]
                table = tables.table(call.resource.key, records, self.store, self._now())
                if table is not None:
                    return _json(table)
            return Response(200, self._lists.answer(call))
        with self.store.transaction():
            match call.verb:
                case "get":
                    obj = verbs.get(self.store, call)
                    table = None
                    if as_table:
                        table = tables.table(call.resource.key, [obj], self.store, self._now())
                    return _json(table or obj)
                case "create":
                    return _json(verbs.create(self.store, call), 201)
                case "update":
                    return _json(verbs.update(self.store, call))
                case "patch":
                    return _json(verbs.patch(self.store, call))
                case "delete":
                    return _json(verbs.delete(self.store, call))
        raise status.method_not_allowed()

    def _log(self, request: Request, code: int) -> None:
        try:
            body = json.loads(request.body) if request.body else None
        except ValueError:
            body = request.body.decode(errors="replace")
        self.write_log.append(
            Write(
                at=self._now(),
                method=request.method,
                path=request.path,
                dry_run=_is_rehearsal(request),
                user_agent=request.headers.get("user-agent", ""),
                status=code,
                body=body,
            )
        )


def _is_rehearsal(request: Request) -> bool:
    try:
        return "All" in paths.dry_run_of(request)
    except ApiError:
        return False  # it was refused


def _json(body: Obj, code: int = 200) -> Response:
    return Response(code, json.dumps(body, separators=(",", ":")).encode())


def _failure(error: ApiError) -> Response:
    headers = {"Content-Type": "application/json"}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = json.dumps(error.body(), separators=(",", ":")).encode()
    return Response(error.code, body, headers)
