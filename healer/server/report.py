"""The post-incident report, filled from the record, with blanks marked for people.

Headings follow the postmortem of the SRE workbook. The HTML is one file with nothing outside it:
it can be mailed, attached to a ticket, and opened in ten years.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from healer.lexicon import NO_WORDS, Lexicon
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.server.charts import Chart
from healer.server.look import render, stylesheet
from healer.server.reading import bounded
from healer.server.security import report_policy
from healer.server.timeline import readable, timeline, worded
from healer.spoken import speaker
from healer.wording import say, span

MOST_NAMED = 12
"""Symptoms, and events, that the report's text names; its timeline has more of them."""


def render_report_html(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    charts: Sequence[Chart] = (),
    *,
    language: str = "en",
    zone: str = "UTC",
    now: datetime | None = None,
    lexicon: Lexicon = NO_WORDS,
) -> str:
    """One self-contained page. now: when it is made; the record's newest moment by default.

    lexicon: what people call signals and causes.
    """
    moment = now or _newest(incident, intents, audit)
    return render(
        "report.html",
        language,
        zone,
        moment,
        lexicon,
        css=stylesheet(),
        policy=report_policy(),
        charts=charts,
        **_content(incident, intents, audit, language, moment, lexicon, zone),
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
    lexicon: Lexicon = NO_WORDS,
) -> str:
    """The same as Markdown, without the charts, for a wiki or a ticket."""
    moment = now or _newest(incident, intents, audit)
    return render(
        "report.md.j2",
        language,
        zone,
        moment,
        lexicon,
        signals=[f"{c.signal} · {c.target}" for c in charts],
        **_content(incident, intents, audit, language, moment, lexicon, zone),
    )


def _content(
    incident: Incident,
    intents: Sequence[Intent],
    audit: Sequence[AuditEntry],
    language: str,
    now: datetime,
    lexicon: Lexicon,
    zone: str,
) -> dict[str, Any]:
    speak = speaker(language, lexicon, zone, incident.started_at)
    moments = readable(timeline(incident, intents, audit, (), language), language)
    symptoms, heard = len(incident.findings), len(incident.events)
    incident = bounded(incident, MOST_NAMED)
    leader = incident.diagnosis.leader if incident.diagnosis else None
    lasted = (incident.resolved_at or now) - incident.started_at
    sentence = say(
        "report.lasted" if incident.resolved_at else "report.lasts",
        language,
        title=speak(incident.title),
        span=span(lasted, language),
    )
    detection = max(incident.opened_at - incident.started_at, timedelta(0))
    return {
        "incident": incident,
        "leader": leader,
        "intents": intents,
        "moments": worded(moments, speak),
        "more_symptoms": symptoms - len(incident.findings),
        "more_events": heard - len(incident.events),
        "sentence": sentence,
        "noticed": say("report.noticed", language, span=span(detection, language)),
        "lasted": lasted,
    }


def _newest(incident: Incident, intents: Sequence[Intent], audit: Sequence[AuditEntry]) -> datetime:
    moments = [incident.updated_at, incident.resolved_at or incident.updated_at]
    return max([*moments, *(i.updated_at for i in intents), *(e.at for e in audit)])
