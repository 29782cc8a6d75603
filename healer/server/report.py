"""The post-incident report, filled from the record, with blanks marked for people.

Headings follow the postmortem of the SRE workbook. The HTML is one file with nothing outside it:
it can be mailed, attached to a ticket, and opened in ten years.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.redaction import redacted
from healer.server.charts import Chart
from healer.server.look import render, stylesheet
from healer.server.security import report_policy
from healer.server.timeline import readable, timeline
from healer.wording import say, span


def render_report_html(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    charts: Sequence[Chart] = (),
    *,
    language: str = "en",
    zone: str = "UTC",
    now: datetime | None = None,
) -> str:
    """One self-contained page. now: when it is made; the record's newest moment by default."""
    moment = now or _newest(incident, intents, audit)
    return render(
        "report.html",
        language,
        zone,
        moment,
        css=stylesheet(),
        policy=report_policy(),
        charts=charts,
        **_content(incident, intents, audit, language, moment),
    )


def render_report_md(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    charts: Sequence[Chart] = (),
    *,
    language: str = "en",
    zone: str = "UTC",
    now: datetime | None = None,
) -> str:
    """The same as Markdown, without the charts, for a wiki or a ticket."""
    moment = now or _newest(incident, intents, audit)
    return render(
        "report.md.j2",
        language,
        zone,
        moment,
        signals=[f"{c.signal} · {c.target}" for c in charts],
        **_content(incident, intents, audit, language, moment),
    )


def _content(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    language: str,
    now: datetime,
) -> dict[str, Any]:
    incident = redacted(incident)
    leader = incident.diagnosis.leader if incident.diagnosis else None
    lasted = (incident.resolved_at or now) - incident.started_at
    sentence = say(
        "report.lasted" if incident.resolved_at else "report.lasts",
        language,
        title=incident.title,
        span=span(lasted, language),
    )
    detection = max(incident.opened_at - incident.started_at, timedelta(0))
    return {
        "incident": incident,
        "leader": leader,
        "intents": intents,
        "moments": readable(timeline(incident, intents, audit, (), language), language),
        "sentence": sentence,
        "noticed": say("report.noticed", language, span=span(detection, language)),
        "lasted": lasted,
    }


def _newest(incident: Incident, intents: Sequence[Intent], audit: Sequence[AuditEntry]) -> datetime:
    moments = [incident.updated_at, incident.resolved_at or incident.updated_at]
    return max([*moments, *(i.updated_at for i in intents), *(e.at for e in audit)])
