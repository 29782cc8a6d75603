"""Puts the server together: routers, errors, headers. One process, one worker."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from healer import __version__
from healer.errors import BadInput, Temporary
from healer.server import (
    answers,
    api,
    approvals,
    events,
    intake,
    knowledge,
    ledger,
    ops,
    pages,
    reports,
    verdicts,
)
from healer.server.alerts import GenericEvent, GrafanaWebhook, Webhook
from healer.server.auth import Gate
from healer.server.deps import ServerDeps
from healer.server.inlet import Inlet
from healer.server.look import warm
from healer.server.openapi import describe
from healer.server.problems import Fault, Refusal, document, expectation, short
from healer.server.reading import RecentStats
from healer.server.security import COMMON, POLICY

_DOCUMENT = "/api/v1/openapi.json"
_BODIES = (Webhook, GrafanaWebhook, GenericEvent, approvals.Answer, verdicts.DiagnosisVerdict)
_log = structlog.get_logger("healer.server")


def create_app(deps: ServerDeps) -> FastAPI:
    """The whole server. Serve it with one worker: a second would be a second daemon.

    Raises BadInput for a time zone nobody knows, rather than on the first page.
    """
    try:
        ZoneInfo(deps.notify.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        zone = deps.notify.timezone
        raise BadInput("expected an IANA time zone", path="notify.timezone", value=zone) from error
    app = FastAPI(
        title="Healer",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    warm()
    app.state.deps, app.state.gate = deps, Gate(deps.settings, deps.review)
    app.state.inlet = Inlet(deps.store)
    app.state.receivers, app.state.pending, app.state.streams = set(), 0, 0
    app.state.stream_poll_s, app.state.stream_lasts_s = events.POLL_S, events.LASTS_S
    app.state.recent = RecentStats(timedelta(days=pages.STATS_DAYS))
    parts = (intake, approvals, verdicts, api, reports, ledger, events, ops, pages, knowledge)
    for part in (*parts, answers):
        app.include_router(part.router)
    app.include_router(verdicts.form)
    app.openapi = lambda: describe(app, _BODIES)  # type: ignore[method-assign]

    @app.get(_DOCUMENT, include_in_schema=False)
    def openapi_document() -> JSONResponse:
        return JSONResponse(app.openapi())

    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
        Refusal: _refused,
        HTTPException: _http,
        RequestValidationError: _invalid,
        BadInput: _bad_input,
        Temporary: _store_away,
        Exception: _our_fault,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Headers)
    return app


class Headers:
    """Gives each request an id and each answer its security headers, streams included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["healer_request_id"] = secrets.token_hex(8)
        # No name holds a NUL, and PostgreSQL refuses even to look for one.
        scope["path"] = scope["path"].replace("\x00", "\N{REPLACEMENT CHARACTER}")
        scope["query_string"] = scope["query_string"].replace(b"%00", b"%EF%BF%BD")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                have = {name for name, _ in message["headers"]}
                wanted = COMMON | {
                    "Content-Security-Policy": POLICY,
                    "X-Request-Id": scope["healer_request_id"],
                }
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in wanted.items()
                        if name.lower().encode() not in have
                    ),
                ]
            await send(message)

        await self._app(scope, receive, sending)


async def _refused(request: Request, refusal: Refusal) -> Response:
    if _is_browser(request):
        deps: ServerDeps = request.app.state.deps
        if refusal.status == 401 and request.method == "GET":
            return pages.page(request, deps, "sign_in.html", status=401, wrong=False)
        return pages.page(
            request,
            deps,
            "error.html",
            status=refusal.status,
            code=refusal.status,
            detail=refusal.detail,
        )
    return document(request, refusal)


async def _http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    detail = "" if error.detail in ("Not Found", "Method Not Allowed") else str(error.detail)
    return await _refused(request, Refusal(error.status_code, detail, headers=headers))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    faults = [
        Fault(
            path=".".join(map(str, each["loc"])),
            expected=expectation(each["type"], each["msg"]),
            value=short(each.get("input")),
        )
        for each in error.errors()
    ]
    first = faults[0]
    detail = f"{first.path}: {first.value}: expected {first.expected}"
    return await _refused(request, Refusal(422, detail, errors=faults))


async def _bad_input(request: Request, error: BadInput) -> Response:
    expected = error.expected.removeprefix("expected ")
    fault = Fault(path=f"query.{error.path}", expected=expected, value=short(error.value))
    detail = f"{fault.path}: {fault.value}: expected {expected}"
    return await _refused(request, Refusal(422, detail, errors=[fault]))


async def _store_away(request: Request, error: Temporary) -> Response:
    _log.warning("request not served", path=request.url.path, error=str(error))
    return await _refused(request, Refusal(503, str(error), headers={"Retry-After": "5"}))


async def _our_fault(request: Request, error: Exception) -> Response:
    _log.error(
        "request failed",
        path=request.url.path,
        request=request.scope.get("healer_request_id", ""),
        error=f"{type(error).__name__}: {error}",
        exc_info=error,
    )
    return document(request, Refusal(500, "the log has the reason under this request's id"))


def _is_browser(request: Request) -> bool:
    path = request.url.path
    machine = path.startswith(("/api/", "/webhook/")) or path in (
        "/metrics",
        "/livez",
        "/readyz",
        "/healthz",
    )
    return not machine and "text/html" in request.headers.get("accept", "")
