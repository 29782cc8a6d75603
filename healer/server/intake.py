"""Webhooks in: acknowledged once they are durable, never before; analysed later.

Alertmanager retries on 5xx and gives up a flush on any 4xx, even 429. So a store that does not
answer is 503, and only what can never be used is refused for good.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from healer.ports import Episode
from healer.server.alerts import (
    GenericEvent,
    GrafanaWebhook,
    M,
    Receipt,
    Webhook,
    episode_of,
    episodes_of,
    parse,
)
from healer.server.auth import signed
from healer.server.deps import ServerDeps
from healer.server.given import Deps, Ingested
from healer.server.inlet import Inlet
from healer.server.openapi import request_body
from healer.server.problems import Refusal, responses
from healer.server.reconcile import RECEIVERS

MOST_RECEIVERS = 20
LONG_BYTES = 65_536
router = APIRouter(tags=["intake"])
_ANSWERS = responses(401, 403, 413, 415, 422, 503)


@router.post(
    "/api/v1/intake/alertmanager",
    status_code=202,
    responses=_ANSWERS,
    openapi_extra=request_body(Webhook),
    operation_id="take_in_alertmanager",
    summary="Alertmanager's webhook, version 4",
)
@router.post("/webhook/alertmanager", status_code=202, include_in_schema=False)
async def alertmanager(request: Request, raw: Ingested, deps: Deps) -> Receipt:
    webhook = await _parsed(raw, Webhook)
    episodes, dropped = episodes_of("alertmanager", webhook, deps.clock.now())
    if webhook.receiver not in request.app.state.receivers:
        await run_in_threadpool(_called, request, deps, webhook.receiver)
    return await _take_in(request, deps, "alertmanager", episodes, dropped, webhook.truncatedAlerts)


@router.api_route(
    "/api/v1/intake/grafana",
    methods=["POST", "PUT"],
    status_code=202,
    responses=_ANSWERS,
    openapi_extra=request_body(GrafanaWebhook),
    operation_id="take_in_grafana",
    summary="Grafana's alerting webhook",
)
async def grafana(request: Request, raw: Ingested, deps: Deps) -> Receipt:
    secret = deps.settings.grafana_secret_file
    if secret is not None and not signed(
        raw,
        secret,
        request.headers.get("x-grafana-alerting-signature", ""),
        request.headers.get("x-grafana-alerting-timestamp", ""),
        deps.clock.now(),
    ):
        raise Refusal(401, "expected a valid X-Grafana-Alerting-Signature")
    webhook = await _parsed(raw, GrafanaWebhook)
    episodes, dropped = episodes_of("grafana", webhook, deps.clock.now())
    return await _take_in(request, deps, "grafana", episodes, dropped, webhook.truncatedAlerts)


@router.post(
    "/api/v1/intake/event",
    status_code=202,
    responses=_ANSWERS,
    openapi_extra=request_body(GenericEvent),
    operation_id="take_in_event",
    summary="Anything else that happened",
)
async def event(request: Request, raw: Ingested, deps: Deps) -> Receipt:
    episode = episode_of(await _parsed(raw, GenericEvent), deps.clock.now())
    return await _take_in(request, deps, "event", (episode,), 0, 0)


def _called(request: Request, deps: ServerDeps, receiver: str) -> None:
    """Remember the name that the sender has for us: its API lists alerts by it."""
    known: set[str] = request.app.state.receivers
    if receiver and receiver not in known and len(known) < MOST_RECEIVERS:
        stored = set((deps.store.get(RECEIVERS) or "").splitlines())
        if receiver not in stored and "\n" not in receiver:
            deps.store.put(RECEIVERS, "\n".join(sorted({*stored, receiver})))
        known.add(receiver)


async def _parsed(raw: bytes, model: type[M]) -> M:
    """Aside when it is long: the server answers others meanwhile."""
    if len(raw) > LONG_BYTES:
        return await run_in_threadpool(parse, raw, model)
    return parse(raw, model)


async def _take_in(
    request: Request,
    deps: ServerDeps,
    source: str,
    episodes: tuple[Episode, ...],
    dropped: int,
    cut: int,
) -> Receipt:
    inlet: Inlet = request.app.state.inlet
    fresh, known = await inlet.accept(episodes) if episodes else (0, 0)
    results = {"accepted": fresh, "duplicate": known, "dropped": dropped, "truncated": cut}
    for result, count in results.items():
        if count:
            deps.received(source, result, count)
    if fresh:
        deps.on_alerts()
    return Receipt(accepted=fresh, duplicates=known, dropped=dropped, truncated=cut)
