"""People's word on a diagnosis: right or wrong, over the API and on the incident's page.

It takes the scope of approvals, for it decides which rules may propose something. The answer names
the cause that was looked at: where another one leads by now, it does not count.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from healer.model.opinion import Opinion
from healer.opinions import LONGEST_NOTE, judge, judged
from healer.redaction import redact
from healer.server.alerts import clean_text, parse, storable
from healer.server.api import Limit
from healer.server.deps import ServerDeps
from healer.server.given import Approved, Deps, MayRead, TheGate, read_body
from healer.server.openapi import request_body
from healer.server.pages import incident_page
from healer.server.problems import Refusal, responses
from healer.server.reading import incident_of
from healer.server.views import Moment

router = APIRouter(prefix="/api/v1/verdicts", tags=["approval"])
form = APIRouter(include_in_schema=False)
IncidentId = Annotated[str, Path(max_length=64)]


class DiagnosisVerdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cause: Annotated[str, Field(min_length=1, max_length=80)]
    """The cause that was looked at: the leading one, or the one that was acted on."""
    verdict: Literal["right", "wrong"]
    by: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(storable)]
    """Who says so; kept in the audit."""
    note: Annotated[str, Field(max_length=LONGEST_NOTE), AfterValidator(clean_text)] = ""


class StoredVerdict(BaseModel):
    incident_id: str
    cause: str
    verdict: str
    by: str
    at: Moment
    note: str


class Standing(BaseModel):
    """How people judged one cause, over all incidents."""

    right: int
    wrong: int


class JudgedDiagnosis(StoredVerdict):
    standing: Standing


class DiagnosisVerdicts(BaseModel):
    items: list[StoredVerdict]
    standings: dict[str, Standing]
    """Cause → how people judged it; causes nobody judged are absent."""


@router.get(
    "",
    responses=responses(401, 403, 422, 503),
    operation_id="list_verdicts",
    dependencies=[MayRead],
)
def verdicts(
    deps: Deps,
    response: Response,
    incident_id: Annotated[str, Query(max_length=64)] = "",
    cause: Annotated[str, Query(max_length=80)] = "",
    limit: Limit = 50,
) -> DiagnosisVerdicts:
    """What people said of diagnoses, newest first."""
    response.headers["Cache-Control"] = "no-store"
    found = deps.store.opinions(incident_id=incident_id, cause=cause, limit=limit)
    standings = deps.store.standings()
    return DiagnosisVerdicts(
        items=[StoredVerdict(**_stored(each)) for each in found],
        standings={
            name: Standing(right=right, wrong=wrong)
            for name, (right, wrong) in sorted(standings.items())
        },
    )


@router.post(
    "/{incident_id}",
    responses=responses(401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=request_body(DiagnosisVerdict),
    operation_id="judge_diagnosis",
    summary="Say whether a diagnosis was right",
)
def answer(incident_id: IncidentId, raw: Approved, deps: Deps) -> JudgedDiagnosis:
    """In place of what was said before of the same incident and cause."""
    said = put(deps, incident_id, parse(raw, DiagnosisVerdict))
    right, wrong = deps.store.standings().get(said.cause, (0, 0))
    return JudgedDiagnosis(**_stored(said), standing=Standing(right=right, wrong=wrong))


@form.post("/incidents/{incident_id}/verdict")
async def answered(
    incident_id: IncidentId, request: Request, deps: Deps, gate: TheGate
) -> Response:
    """The form of the incident's page. It carries the approval token itself, as approvals do."""
    fields = parse_qs((await read_body(request, 16_384)).decode("utf-8", "replace"))
    given = {key: values[0].strip() for key, values in fields.items()}
    if not gate.allows(given.get("token", "").encode(), "approve"):
        return await run_in_threadpool(
            incident_page, incident_id, request, deps, "page.wrong_token", 401
        )
    try:
        word = DiagnosisVerdict(
            cause=given.get("cause", ""),
            verdict="right" if given.get("verdict") == "right" else "wrong",
            by=given.get("by", "")[:120] or "?",
            note=given.get("note", "")[:LONGEST_NOTE],
        )
        await run_in_threadpool(put, deps, incident_id, word)
    except (Refusal, ValueError):
        return await run_in_threadpool(
            incident_page, incident_id, request, deps, "page.cause_changed", 409
        )
    return RedirectResponse(f"/incidents/{incident_id}#judged", 303)


def put(deps: ServerDeps, incident_id: str, word: DiagnosisVerdict) -> Opinion:
    """Write it down. Raises Refusal 404, or 409 where the cause is not what was looked at."""
    incident = incident_of(deps.store, incident_id)
    leader = judged(incident)
    if leader is None or leader.cause != word.cause:
        leads = leader.cause if leader else "none"
        raise Refusal(409, f"the leading cause is {leads}: look again")
    right = word.verdict == "right"
    now = deps.clock.now()
    return judge(deps.store, incident, right=right, who=word.by, now=now, note=word.note)


def _stored(opinion: Opinion) -> dict[str, Any]:
    return {
        "incident_id": opinion.incident_id,
        "cause": opinion.cause,
        "verdict": "right" if opinion.right else "wrong",
        "by": opinion.who,
        "at": opinion.at,
        "note": redact(opinion.note),
    }
