"""Pages for people: server-rendered, without script, in English and Chinese."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from healer import __version__
from healer.attention import attention
from healer.errors import BadInput
from healer.model.incident import Phase
from healer.model.intent import State
from healer.opinions import judged
from healer.redaction import redact
from healer.server.approvals import Answer, decide, intent_of
from healer.server.auth import COOKIE, SESSION
from healer.server.charts import Chart
from healer.server.deps import ServerDeps, is_stale
from healer.server.given import Deps, TheGate, read_body
from healer.server.look import render, stylesheet
from healer.server.problems import Refusal
from healer.server.reading import MOST_SHOWN, RecentStats, bounded, record_of, waiting
from healer.server.timeline import readable, worded
from healer.spoken import speaker
from healer.wording import LANGUAGES

LANGUAGE_COOKIE = "healer_language"
STATS_DAYS = 7
_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")

router = APIRouter(include_in_schema=False)


def _sees(request: Request, deps: Deps, gate: TheGate) -> None:
    gate.check(request, "read", deps.clock.now())


Sees = Depends(_sees)
IncidentId = Annotated[str, Path(max_length=64)]


def language_of(request: Request) -> str:
    """?lang, then the cookie, then what the browser prefers."""
    for wish in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if wish in LANGUAGES:
            return wish
    wishes = [_wish(each) for each in request.headers.get("accept-language", "").split(",")[:20]]
    known = [(weight, wish) for weight, wish in wishes if wish in LANGUAGES and weight > 0]
    # `max` takes the first of equals, as browsers mean it.
    return max(known, key=lambda pair: pair[0])[1] if known else LANGUAGES[0]


def _wish(text: str) -> tuple[float, str]:
    """(weight, language) of one part of Accept-Language; nothing is wished for by nonsense."""
    tag, _, rest = text.partition(";")
    found = _WEIGHT.fullmatch(rest.replace(" ", "")) if rest else None
    weight = 1.0 if not rest else float(found[1]) if found else 0.0
    return weight, tag.strip().lower().partition("-")[0]


@router.get("/", dependencies=[Sees])
def overview(request: Request, deps: Deps) -> Response:
    """What is broken, what was done, what waits for me."""
    now = deps.clock.now()
    ended = deps.store.incidents(phase=[Phase.RESOLVED.value], limit=10).items
    broken = sorted(deps.store.open_incidents(), key=lambda i: i.opened_at, reverse=True)
    intents = {i.id: deps.store.intents(incident_id=i.id) for i in (*broken[:50], *ended)}
    recent: RecentStats = request.app.state.recent
    return page(
        request,
        deps,
        "overview.html",
        refresh=True,
        broken=broken,
        ended=ended,
        intents=intents,
        waiting=waiting(deps.store, now),
        stats=recent.read(deps),
        stats_days=STATS_DAYS,
    )


@router.get("/incidents", dependencies=[Sees])
def incidents(
    request: Request,
    deps: Deps,
    phase: Annotated[str, Query(max_length=24)] = "",
    q: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> Response:
    known = [p.value for p in Phase]
    chosen = [phase] if phase in known else []
    try:
        found = deps.store.incidents(phase=chosen, text=q, limit=50, cursor=cursor)
    except BadInput:
        return RedirectResponse("/incidents", 303)
    return page(
        request,
        deps,
        "incidents.html",
        items=found.items,
        next_cursor=found.next_cursor,
        phases=known,
        phase=phase,
        q=q,
    )


@router.get("/incidents/{incident_id}", dependencies=[Sees])
def incident(incident_id: IncidentId, request: Request, deps: Deps) -> Response:
    return incident_page(incident_id, request, deps)


def incident_page(
    incident_id: str, request: Request, deps: ServerDeps, wrong: str = "", status: int = 200
) -> Response:
    """wrong: key of what to say of an answer that did not count."""
    record = record_of(deps.store, incident_id)
    found, diagnosis = bounded(record.incident), record.incident.diagnosis
    whole, language = record.incident, language_of(request)
    charts: tuple[Chart, ...] = deps.series(found.id)
    moments = readable(record.timeline(language), language)
    return page(
        request,
        deps,
        "incident.html",
        status=status,
        wrong=wrong,
        judged=judged(whole),
        opinions=[
            replace(each, note=redact(each.note))
            for each in deps.store.opinions(incident_id=found.id)
        ],
        attention=attention(deps.store, found.id),
        incident=found,
        diagnosis=diagnosis,
        leader=diagnosis.leader if diagnosis else None,
        rivals=diagnosis.hypotheses[1:] if diagnosis else (),
        intents=record.intents,
        waiting=[i for i in waiting(deps.store, deps.clock.now()) if i in record.intents],
        moments=worded(
            moments, speaker(language, deps.lexicon, deps.notify.timezone, whole.started_at)
        ),
        deliveries=record.deliveries,
        charts=charts,
        prints=deps.pdf is not None,
        symptoms=len(whole.findings) + len(whole.events),
        unseen=sum(max(0, len(x) - MOST_SHOWN) for x in (whole.findings, whole.events)),
        refresh=found.is_open and not wrong,
    )


@router.get("/approvals", dependencies=[Sees])
def approvals(request: Request, deps: Deps) -> Response:
    return page(request, deps, "approvals.html", waiting=waiting(deps.store, deps.clock.now()))


@router.get("/approvals/{intent_id}", dependencies=[Sees])
def approval(intent_id: IncidentId, request: Request, deps: Deps) -> Response:
    """Shows the plan and a form. Looking changes nothing, however often a chat client looks."""
    return _approval(request, deps, intent_id)


@router.post("/approvals/{intent_id}")
async def answer(intent_id: IncidentId, request: Request, deps: Deps, gate: TheGate) -> Response:
    """The form's answer. It carries the approval token itself: no cookie is enough to approve."""
    form = parse_qs((await read_body(request, 16_384)).decode("utf-8", "replace"))
    given = {key: values[0].strip() for key, values in form.items()}
    if not gate.allows(given.get("token", "").encode(), "approve"):
        return _approval(request, deps, intent_id, wrong="page.wrong_token", status=401)
    try:
        decide(
            deps,
            intent_id,
            Answer(
                digest=given.get("digest", ""),
                decision="approve" if given.get("decision") == "approve" else "reject",
                by=given.get("by", "")[:120] or "?",
            ),
        )
    except (Refusal, ValueError):
        return _approval(request, deps, intent_id, wrong="page.plan_changed", status=409)
    return RedirectResponse(f"/approvals/{intent_id}", 303)


def _approval(
    request: Request, deps: ServerDeps, intent_id: str, wrong: str = "", status: int = 200
) -> Response:
    intent = intent_of(deps, intent_id)
    open_ = intent.state is State.PLANNED and intent.expires_at is not None
    lapsed = intent.expires_at is not None and intent.expires_at <= deps.clock.now()
    return page(
        request,
        deps,
        "approval.html",
        status=status,
        intent=intent,
        incident=deps.store.incident(intent.plan.incident_id),
        can_answer=open_ and not lapsed and not intent.approved_by,
        lapsed=open_ and lapsed,
        wrong=wrong,
    )


@router.get("/audit", dependencies=[Sees])
def audit(
    request: Request, deps: Deps, after: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> Response:
    entries = deps.store.audit(after=after, limit=201)
    checked, wrong = deps.store.verify_audit()
    return page(
        request,
        deps,
        "audit.html",
        entries=entries[:200],
        following=entries[199][0] if len(entries) > 200 else None,
        checked=checked,
        wrong=wrong,
    )


@router.get("/sign-in")
def sign_in(request: Request, deps: Deps) -> Response:
    return page(request, deps, "sign_in.html", wrong=False)


@router.post("/sign-in")
async def signed_in(request: Request, deps: Deps, gate: TheGate) -> Response:
    form = parse_qs((await read_body(request, 8192)).decode("utf-8", "replace"))
    cookie = gate.open_session(form.get("token", [""])[0], deps.clock.now())
    if cookie is None:
        return page(request, deps, "sign_in.html", status=401, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=deps.settings.public_url.startswith("https://"),
    )
    return answer


@router.post("/sign-out")
def signed_out() -> Response:
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/static/healer.css")
def css() -> Response:
    return Response(
        stylesheet(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"}
    )


def page(
    request: Request,
    deps: ServerDeps,
    template: str,
    *,
    status: int = 200,
    refresh: bool = False,
    **values: Any,
) -> HTMLResponse:
    """A rendered page with what every page shows: the mode, and what is wrong with Healer."""
    language, now = language_of(request), deps.clock.now()
    health = deps.health()
    text = render(
        template,
        language,
        deps.notify.timezone,
        now,
        deps.lexicon,
        health=health,
        stale=is_stale(health, now),
        version=__version__,
        path=request.url.path,
        other="en" if language == "zh" else "zh",
        signed_in=COOKIE in request.cookies,
        **{"bare": False} | values,
    )
    headers = {"Cache-Control": "no-store", "Content-Language": language}
    if refresh:
        headers["Refresh"] = "15"
    answer = HTMLResponse(text, status, headers=headers)
    if request.query_params.get("lang") in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=31_536_000, samesite="lax")
    return answer
