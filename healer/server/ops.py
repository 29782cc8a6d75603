"""For those who run Healer: metrics and probes. Prometheus' being down unreadies nothing here.

They need no token: a kubelet and a scraper have none, and nothing of an incident is in them.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from healer import __version__
from healer.server.given import Deps

router = APIRouter(tags=["operations"])
_OPEN: dict[str, Any] = {"security": []}


class Probe(BaseModel):
    ok: bool
    version: str = __version__
    mode: str
    last_tick_age_s: float | None
    scheduler: bool
    database: bool


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    operation_id="metrics",
    openapi_extra=_OPEN,
)
def metrics(deps: Deps) -> Response:
    return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/livez", responses={503: {"model": Probe}}, operation_id="livez", openapi_extra=_OPEN)
def livez(deps: Deps, response: Response) -> Probe:
    """Fails when the scheduler has stopped: nothing but a restart helps."""
    probe = _probe(deps)
    probe.ok = probe.scheduler
    response.status_code = 200 if probe.ok else 503
    return probe


@router.get(
    "/readyz", responses={503: {"model": Probe}}, operation_id="readyz", openapi_extra=_OPEN
)
@router.get(
    "/healthz", responses={503: {"model": Probe}}, operation_id="healthz", openapi_extra=_OPEN
)
def readyz(deps: Deps, response: Response) -> Probe:
    """Fails when alerts could not be taken in durably."""
    probe = _probe(deps)
    probe.ok = probe.database
    response.status_code = 200 if probe.ok else 503
    return probe


def _probe(deps: Deps) -> Probe:
    health = deps.health()
    age = None
    if health.last_tick_at is not None:
        age = round((deps.clock.now() - health.last_tick_at).total_seconds(), 3)
    return Probe(
        ok=True,
        mode=health.mode,
        last_tick_age_s=age,
        scheduler=health.scheduler_alive,
        database=health.database_ok,
    )
