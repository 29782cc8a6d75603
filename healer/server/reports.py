"""The post-incident report over the API: Markdown, HTML, JSON and, where one can print, PDF."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Response

from healer.errors import HealerError
from healer.server.api import IncidentId, Language, timeline_view
from healer.server.deps import ServerDeps
from healer.server.given import Deps, MayRead
from healer.server.problems import Refusal, responses
from healer.server.reading import Record, record_of
from healer.server.report import render_report_html, render_report_md
from healer.server.security import report_headers
from healer.server.timeline import readable
from healer.server.views import incident_view, series_view

router = APIRouter(prefix="/api/v1", tags=["report"], dependencies=[MayRead])
_FORMS = ("text/markdown", "text/html", "application/json", "application/pdf")


@router.get(
    "/incidents/{incident_id}/report.{form}",
    responses=responses(401, 403, 404, 422, 503)
    | {200: {"content": {form: {} for form in _FORMS}}},
    response_class=Response,
    operation_id="get_report",
)
def report(
    incident_id: IncidentId,
    form: Literal["md", "html", "json", "pdf"],
    deps: Deps,
    lang: Language = Language.EN,
) -> Response:
    """The post-incident report, filled from the record; blanks are marked for people.

    `pdf` is there where the daemon finds a Chromium to print with, and 404 elsewhere.
    """
    if form == "pdf" and deps.pdf is None:
        raise Refusal(404, "no Chromium on the daemon's PATH: take report.html and print it")
    record = record_of(deps.store, incident_id)
    if form == "json":
        return _json(record, deps, lang)
    made = (record.incident, record.intents, record.audit, deps.series(incident_id))
    told: dict[str, Any] = {
        "language": lang.value,
        "zone": deps.notify.timezone,
        "lexicon": deps.lexicon,
    }
    if form == "md":
        text = render_report_md(*made, **told)
        return Response(text, media_type="text/markdown; charset=utf-8")
    page = render_report_html(*made, **told)
    if form == "pdf" and deps.pdf is not None:
        name = f'inline; filename="{record.incident.id}.pdf"'
        headers = report_headers() | {"Content-Disposition": name}
        return Response(_printed(page, deps.pdf), media_type="application/pdf", headers=headers)
    return Response(page, media_type="text/html", headers=report_headers())


def _printed(page: str, pdf: Callable[[str], bytes]) -> bytes:
    try:
        return pdf(page)
    except HealerError as error:
        raise Refusal(503, f"not printed: {error}", headers={"Retry-After": "5"}) from error


def _json(record: Record, deps: ServerDeps, lang: Language) -> Response:
    moments = record.timeline(lang.value)
    told = timeline_view(readable(moments, lang.value), deps, lang, 0, len(moments))
    view: dict[str, Any] = {
        "incident": incident_view(record.incident, record.intents).model_dump(mode="json"),
        "timeline": [item.model_dump(mode="json") for item in told.items],
        "timeline_count": len(moments),
        "series": [series_view(c).model_dump(mode="json") for c in deps.series(record.incident.id)],
    }
    return Response(
        json.dumps(view, ensure_ascii=False, separators=(",", ":")),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
