"""The read-only report API: incidents and all that is known of each.

Every other verb is 405; the two writes live in other modules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from healer.errors import BadInput
from healer.model.incident import Phase, Severity
from healer.server.alerts import Time
from healer.server.deps import ServerDeps
from healer.server.given import Deps, MayRead
from healer.server.problems import Fault, Refusal, responses
from healer.server.reading import incident_of, record_of
from healer.server.timeline import Moment as Told
from healer.server.timeline import worded
from healer.server.views import (
    ActionView,
    Evidence,
    Hypotheses,
    IncidentView,
    Moment,
    SeriesView,
    Summary,
    action,
    evidence_view,
    hypotheses_view,
    incident_view,
    series_view,
    summary,
)
from healer.spoken import speaker
from healer.wording import LANGUAGES

router = APIRouter(prefix="/api/v1", tags=["report"], dependencies=[MayRead])
_ONE = responses(401, 403, 404, 422, 503)

_LINKS = {
    each.removeprefix("get_"): {
        "operationId": each,
        "parameters": {"incident_id": "$response.body#/items/0/id"},
    }
    for each in (
        "get_incident",
        "get_timeline",
        "get_evidence",
        "get_hypotheses",
        "get_actions",
        "get_series",
    )
}
"""From a list to what it lists, for clients that are made from the document."""

IncidentId = Annotated[str, Path(max_length=64, description="As in the list.")]
Limit = Annotated[int, Query(ge=1, le=200)]
Names = Annotated[list[Annotated[str, Field(max_length=253)]], Query(max_length=50)]
"""A filter that may be repeated; Kubernetes knows no longer name."""
After = Annotated[int, Query(ge=0, le=2**31, description="`next_after` of the slice before.")]


class Asked(BaseModel):
    """The filters as they were understood, defaults included."""

    phase: list[str]
    severity: list[str]
    cause: list[str]
    namespace: list[str]
    node: list[str]
    since: Moment | None
    until: Moment | None
    q: str
    limit: int


class Incidents(BaseModel):
    items: list[Summary]
    next_cursor: str | None
    query: Asked


class TimelineItem(BaseModel):
    at: Moment
    kind: str
    text: str
    target: str
    actor: str


class Timeline(BaseModel):
    items: list[TimelineItem]
    count: int
    """In all, whatever this slice holds."""
    next_after: int | None
    """`after` of the next slice; None at the end."""


class Actions(BaseModel):
    items: list[ActionView]


class SeriesList(BaseModel):
    items: list[SeriesView]


class Language(StrEnum):
    EN = LANGUAGES[0]
    ZH = LANGUAGES[1]


@router.get("/incidents", responses=_ONE | {200: {"links": _LINKS}}, operation_id="list_incidents")
def incidents(
    request: Request,
    response: Response,
    deps: Deps,
    *,
    phase: Annotated[list[Phase], Query(max_length=50)] = [],  # noqa: B006  FastAPI copies it
    severity: Annotated[list[Severity], Query(max_length=50)] = [],  # noqa: B006  as above
    cause: Names = [],  # noqa: B006  as above
    namespace: Names = [],  # noqa: B006  as above
    node: Names = [],  # noqa: B006  as above
    since: Time | None = None,
    until: Time | None = None,
    q: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> Incidents:
    """Newest first. `since` includes its moment, `until` does not; all time without them."""
    try:
        page = deps.store.incidents(
            phase=[p.value for p in phase],
            severity=[s.value for s in severity],
            cause=cause,
            namespace=namespace,
            node=node,
            since=since,
            until=until,
            text=q,
            limit=limit,
            cursor=cursor,
        )
    except BadInput as error:
        # A cursor is opaque, so no schema can tell a right one: it names a page, or nothing.
        fault = Fault(path="query.cursor", expected="next_cursor of an earlier answer")
        raise Refusal(404, f"{fault.path}: expected {fault.expected}", errors=[fault]) from error
    response.headers["Cache-Control"] = "no-store"
    if page.next_cursor is not None:
        following = request.url.include_query_params(cursor=page.next_cursor)
        link = f"{following.path}?{following.query}"
        response.headers["Link"] = f'<{link}>; rel="next"'
    return Incidents(
        items=[Summary(**summary(i)) for i in page.items],
        next_cursor=page.next_cursor,
        query=Asked(
            phase=[p.value for p in phase],
            severity=[s.value for s in severity],
            cause=cause,
            namespace=namespace,
            node=node,
            since=since,
            until=until,
            q=q,
            limit=limit,
        ),
    )


@router.get(
    "/incidents/{incident_id}",
    responses=_ONE | {304: {"description": "Unchanged since that ETag"}},
    response_model=IncidentView,
    operation_id="get_incident",
)
def incident(incident_id: IncidentId, request: Request, deps: Deps) -> Response:
    found = incident_of(deps.store, incident_id)
    view = incident_view(found, deps.store.intents(incident_id=found.id))
    return _tagged(request, view)


@router.get("/incidents/{incident_id}/timeline", responses=_ONE, operation_id="get_timeline")
def incident_timeline(
    incident_id: IncidentId,
    request: Request,
    deps: Deps,
    response: Response,
    lang: Language = Language.EN,
    after: After = 0,
    limit: Limit = 200,
) -> Timeline:
    """Oldest first, a slice at a time: a storm has thousands of moments."""
    response.headers["Cache-Control"] = "no-store"
    moments = record_of(deps.store, incident_id).timeline(lang.value)
    found = timeline_view(moments, deps, lang, after, limit)
    _link_on(request, response, found.next_after)
    return found


def timeline_view(
    moments: Sequence[Told], deps: ServerDeps, lang: Language, after: int, limit: int
) -> Timeline:
    told = worded(moments[after : after + limit], speaker(lang.value, deps.lexicon))
    end = after + len(told)
    return Timeline(
        items=[
            TimelineItem(at=m.at, kind=m.kind, text=m.text, target=m.target, actor=m.actor)
            for m in told
        ],
        count=len(moments),
        next_after=end if told and end < len(moments) else None,
    )


def _link_on(request: Request, response: Response, after: int | None) -> None:
    if after is not None:
        following = request.url.include_query_params(after=after)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'


@router.get(
    "/incidents/{incident_id}/evidence",
    responses=_ONE,
    response_model=Evidence,
    operation_id="get_evidence",
)
def evidence(
    incident_id: IncidentId, request: Request, deps: Deps, after: After = 0, limit: Limit = 200
) -> Response:
    """What was seen, a slice at a time, and what of it speaks for and against the leading cause."""
    view = evidence_view(incident_of(deps.store, incident_id), after, limit)
    answer = _tagged(request, view)
    _link_on(request, answer, view.next_after)
    return answer


@router.get(
    "/incidents/{incident_id}/hypotheses",
    responses=_ONE,
    response_model=Hypotheses,
    operation_id="get_hypotheses",
)
def hypotheses(incident_id: IncidentId, request: Request, deps: Deps) -> Response:
    return _tagged(request, hypotheses_view(incident_of(deps.store, incident_id).diagnosis))


@router.get(
    "/incidents/{incident_id}/actions",
    responses=_ONE,
    response_model=Actions,
    operation_id="get_actions",
)
def actions(incident_id: IncidentId, request: Request, deps: Deps) -> Response:
    found = incident_of(deps.store, incident_id)
    intents = deps.store.intents(incident_id=found.id)
    return _tagged(request, Actions(items=[action(i) for i in intents]))


@router.get("/incidents/{incident_id}/series", responses=_ONE, operation_id="get_series")
def series(incident_id: IncidentId, deps: Deps, response: Response) -> SeriesList:
    """Samples around the incident, as far as they are still at hand."""
    found = incident_of(deps.store, incident_id)
    response.headers["Cache-Control"] = "no-store"
    return SeriesList(items=[series_view(c) for c in deps.series(found.id)])


def _tagged(request: Request, view: BaseModel) -> Response:
    """With an ETag over the very bytes, so that equal tags always mean equal answers."""
    body = view.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    asked = request.headers.get("if-none-match", "")
    known = {each.strip().removeprefix("W/") for each in asked.split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
