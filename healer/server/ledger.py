"""The read-only report API: the daemon itself, what waits for a person, and the record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from healer import __version__
from healer.redaction import redact
from healer.server.alerts import Time
from healer.server.api import Actions, Limit
from healer.server.deps import ServerDeps, is_stale
from healer.server.given import Deps, MayRead
from healer.server.problems import responses
from healer.server.reading import stats_of_store, waiting
from healer.server.stats import Stats
from healer.server.views import Moment, action

router = APIRouter(prefix="/api/v1", tags=["report"], dependencies=[MayRead])
_MANY = responses(401, 403, 422, 503)


class Message(BaseModel):
    """One message to one channel, and what its provider said."""

    channel: str
    incident_id: str
    about: str
    result: str
    code: str
    detail: str
    tries: int
    created_at: str
    updated_at: str


class Messages(BaseModel):
    items: list[Message]


class AuditItem(BaseModel):
    sequence: int
    at: Moment
    kind: str
    actor: str
    incident_id: str
    intent_id: str
    target: str
    message: str
    detail: dict[str, Any]


class Audit(BaseModel):
    items: list[AuditItem]
    next_after: int | None
    """`after` of the next slice; None at the end."""


class StatsAnswer(Stats):
    since: Moment


class Status(BaseModel):
    """How the daemon is, as the banners of the overview say it."""

    version: str = __version__
    mode: str
    """`observe` or `enforce`: the ceiling of the settings."""
    standby: bool
    """Another replica looks and acts."""
    switched_off: str
    """Reason of the kill switch; empty while it is not pulled."""
    breakers: list[str]
    """Remediations that failed several times in a row and stopped trying."""
    broken_channels: list[str]
    """Chat channels whose provider refuses us."""
    problems: list[str]
    """What the newest tick could not do."""
    last_tick_at: Moment | None
    tick_every_s: float
    stale: bool
    """Nothing has been looked at for several ticks."""
    sentence: str
    """The newest tick in one sentence."""


@router.get("/status", responses=_MANY, operation_id="get_status")
def status(deps: Deps, response: Response) -> Status:
    """Mode, kill switch, open breakers, broken channels and what the newest tick could not do."""
    response.headers["Cache-Control"] = "no-store"
    health = deps.health()
    return Status(
        mode=health.mode,
        standby=health.standby,
        switched_off=redact(health.switched_off),
        breakers=list(health.breakers),
        broken_channels=[redact(each) for each in health.broken_channels],
        problems=[redact(each) for each in health.problems],
        last_tick_at=health.last_tick_at,
        tick_every_s=health.tick_every.total_seconds(),
        stale=is_stale(health, deps.clock.now()),
        sentence=redact(health.sentence),
    )


@router.get("/approvals", responses=_MANY, operation_id="list_approvals")
def approvals(deps: Deps, response: Response) -> Actions:
    """Plans that wait for a person's answer."""
    response.headers["Cache-Control"] = "no-store"
    return Actions(items=[action(i) for i in waiting(deps.store, deps.clock.now())])


@router.get("/notifications", responses=_MANY, operation_id="list_notifications")
def notifications(
    deps: Deps,
    response: Response,
    incident_id: Annotated[str, Query(max_length=64)] = "",
    limit: Limit = 50,
) -> Messages:
    """The delivery log, newest first, with each provider's own answer."""
    response.headers["Cache-Control"] = "no-store"
    rows = deps.store.deliveries(incident_id=incident_id, limit=limit)
    return Messages(items=[_message(row) for row in rows])


@router.get("/stats", responses=_MANY, operation_id="get_stats")
def stats(deps: Deps, response: Response, since: Time | None = None) -> StatsAnswer:
    """Recovery rate, time to detect and recover, wrong and missed actions, from the record.

    Thirty days without `since`.
    """
    response.headers["Cache-Control"] = "no-store"
    start = since or _month_before(deps)
    return StatsAnswer(since=start, **stats_of_store(deps.store, start).model_dump())


@router.get("/audit", responses=_MANY, operation_id="list_audit")
def audit(
    deps: Deps,
    response: Response,
    incident_id: Annotated[str, Query(max_length=64)] = "",
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Limit = 50,
) -> Audit:
    """The hash-chained record, oldest first."""
    response.headers["Cache-Control"] = "no-store"
    entries = deps.store.audit(incident_id=incident_id, after=after, limit=limit + 1)
    items = [
        AuditItem(
            sequence=number,
            at=entry.at,
            kind=entry.kind,
            actor=entry.actor,
            incident_id=entry.incident_id,
            intent_id=entry.intent_id,
            target=entry.target,
            message=entry.message,
            detail=dict(entry.detail),
        )
        for number, entry in entries[:limit]
    ]
    return Audit(items=items, next_after=items[-1].sequence if len(entries) > limit else None)


def _month_before(deps: ServerDeps) -> datetime:
    return deps.clock.now() - timedelta(days=30)


def _message(row: Any) -> Message:
    return Message(
        channel=row["channel"],
        incident_id=row["incident_id"],
        about=row["notice_key"].split("|")[1] if "|" in row["notice_key"] else row["notice_key"],
        result=row["result"],
        code=row["code"],
        detail=row["detail"],
        tries=row["tries"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
