"""What a link in a chat message opens: one question, and a form that answers it.

Looking changes nothing, for chat clients and their scanners fetch links to preview them. The
answer is a POST; it counts once, and only while the plan is the one that the message showed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from healer.attention import mute, take
from healer.errors import BadInput
from healer.links import DIGEST_CHARACTERS, KEY, MOST_CHARACTERS, Question, read_link
from healer.model.incident import Incident
from healer.model.intent import Intent, State
from healer.server.alerts import storable
from healer.server.approvals import Answer, decide
from healer.server.deps import ServerDeps
from healer.server.given import Deps, read_body
from healer.server.pages import page
from healer.server.problems import Refusal

MUTED_FOR = timedelta(hours=1)

router = APIRouter(include_in_schema=False)
Token = Annotated[str, Path(max_length=MOST_CHARACTERS)]


@router.get("/l/{token}")
def question(token: Token, request: Request, deps: Deps) -> Response:
    """Shows what is asked, however often."""
    asked = _asked(token, deps)
    return _page(request, deps, asked, "")


@router.post("/l/{token}")
async def answered(token: Token, request: Request, deps: Deps) -> Response:
    """Carries the answer out, once."""
    body = await read_body(request, 16_384)
    return await run_in_threadpool(_answer, token, body, request, deps)


def _answer(token: str, body: bytes, request: Request, deps: ServerDeps) -> Response:
    asked = _asked(token, deps)
    form = parse_qs(body.decode("utf-8", "replace"))
    given = {key: values[0].strip() for key, values in form.items()}
    who = f"link:{storable(given.get('by', '')[:100]) or '?'}"
    try:
        said = _carry_out(asked, given.get("decision", ""), who, deps)
    except (Refusal, BadInput):
        return _page(request, deps, asked, "page.plan_changed", status=409)
    return _page(request, deps, asked, said)


def _asked(token: str, deps: ServerDeps) -> Question:
    key = (deps.store.get(KEY) or "").encode()
    found = read_link(token, key, deps.clock.now())
    if found is None:
        raise Refusal(404, "this link has lapsed, or was never ours")
    return found


def _carry_out(asked: Question, decision: str, who: str, deps: ServerDeps) -> str:
    """Key of what to say. Raises Refusal or BadInput when the answer does not count."""
    incident, now = _incident(asked, deps), deps.clock.now()
    if asked.purpose == "take":
        take(deps.store, incident, who, now)
        return "page.taken_now"
    if asked.purpose == "mute":
        mute(deps.store, incident, who, now, MUTED_FOR)
        return "page.muted_now"
    intent = deps.store.intent(asked.intent_id)
    if intent is None or not _same(intent, asked) or decision not in ("approve", "reject"):
        raise Refusal(409, "the plan has changed")
    if intent.state is not State.PLANNED or intent.approved_by:
        # A token may take a yes back until the first call; a link is used up.
        raise Refusal(409, "the plan was answered already")
    yes = decision == "approve"
    chosen = Answer(
        digest=intent.plan.digest, decision="approve" if yes else "reject", by=who, reason=""
    )
    decide(deps, intent.id, chosen)
    return "page.decided_yes" if yes else "page.decided_no"


def _same(intent: Intent, asked: Question) -> bool:
    return intent.plan.digest[:DIGEST_CHARACTERS] == asked.digest


def _incident(asked: Question, deps: ServerDeps) -> Incident:
    found = deps.store.incident(asked.incident_id)
    if found is None:
        raise Refusal(404, "the incident is forgotten by now")
    return found


def _page(
    request: Request, deps: ServerDeps, asked: Question, said: str, status: int = 200
) -> Response:
    incident = _incident(asked, deps)
    intent = deps.store.intent(asked.intent_id) if asked.intent_id else None
    open_ = incident.is_open
    if asked.purpose == "answer":
        waits = intent is not None and intent.state is State.PLANNED and not intent.approved_by
        lapsed = intent is None or intent.expires_at is None
        lapsed = lapsed or intent is None or (intent.expires_at or asked.until) <= deps.clock.now()
        open_ = waits and not lapsed and intent is not None and _same(intent, asked)
    return page(
        request,
        deps,
        "link.html",
        status=status,
        bare=True,
        incident=incident,
        intent=intent,
        purpose=asked.purpose,
        until=asked.until,
        can_answer=open_ and not said,
        told=said,
        wrong=status != 200,
    )
