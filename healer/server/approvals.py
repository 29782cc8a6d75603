"""The one thing a person writes: yes or no to exactly this plan.

Never on GET, for chat clients fetch links to preview them. The answer carries the digest of the
actions that were shown; a plan that has changed since is a conflict, and an answer counts once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from healer.model.audit import AuditEntry
from healer.model.intent import Intent
from healer.server.alerts import clean_text, parse, storable
from healer.server.deps import ServerDeps
from healer.server.given import Approved, Deps
from healer.server.openapi import request_body
from healer.server.problems import Refusal, responses

router = APIRouter(prefix="/api/v1/approvals", tags=["approval"])


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    digest: Annotated[str, Field(min_length=64, max_length=64)]
    """Of the plan that was looked at, as /api/v1/approvals gives it."""
    decision: Literal["approve", "reject"]
    by: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(storable)]
    """Who answers; kept in the audit."""
    reason: Annotated[str, Field(max_length=1000), AfterValidator(clean_text)] = ""


class Answered(BaseModel):
    intent_id: str
    decision: str
    by: str


@router.post(
    "/{intent_id}",
    responses=responses(401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=request_body(Answer),
    operation_id="answer_plan",
    summary="Approve or reject a plan that waits",
)
def answer(intent_id: Annotated[str, Path(max_length=64)], raw: Approved, deps: Deps) -> Answered:
    given = parse(raw, Answer)
    decide(deps, intent_id, given)
    return Answered(intent_id=intent_id, decision=given.decision, by=given.by)


def intent_of(deps: ServerDeps, intent_id: str) -> Intent:
    found = deps.store.intent(intent_id)
    if found is None:
        raise Refusal(404, "expected the id of a plan that waits for an answer")
    return found


def decide(deps: ServerDeps, intent_id: str, given: Answer) -> None:
    """Record the answer. Raises Refusal 404, or 409 when it is not what was looked at."""
    intent, now = intent_of(deps, intent_id), deps.clock.now()
    yes = given.decision == "approve"
    if not deps.store.decide(intent.id, given.digest, given.by, yes=yes, at=now):
        raise Refusal(409, "the plan waits for no answer, has lapsed, or has changed: look again")
    deps.store.record(
        AuditEntry(
            kind="intent.approved" if yes else "intent.rejected",
            at=now,
            actor=given.by,
            incident_id=intent.plan.incident_id,
            intent_id=intent.id,
            target=str(intent.plan.target),
            message=given.reason or intent.plan.summary,
            detail={"digest": given.digest},
        )
    )
    deps.on_alerts()
