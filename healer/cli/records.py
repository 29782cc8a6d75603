"""Reading the record, and the one thing a person writes to it: an answer to a plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from healer.adapters.pdf import print_pdf
from healer.cli.common import (
    ConfigOption,
    Form,
    FormOption,
    operator,
    settings_of,
    show,
    store_of,
    write,
)
from healer.cli.words import lexicon_for
from healer.errors import BadInput, Permanent
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.redaction import redacted
from healer.server import render_report_html, render_report_md
from healer.server.reading import stats_of_store, waiting
from healer.values import dump
from healer.wording import LANGUAGES

incidents = typer.Typer(no_args_is_help=True, help="What happened and what was done.")
audit = typer.Typer(no_args_is_help=True, help="The hash-chained record.")


@incidents.command("list")
def list_incidents(
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
    phase: Annotated[list[str] | None, typer.Option(help="Only these phases.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
) -> None:
    """Incidents, newest first."""
    found = store_of(config).incidents(phase=phase or (), limit=limit).items
    rows = [_row(i) for i in found]
    show(rows, ("id", "phase", "severity", "opened_at", "cause", "title"), output)


@incidents.command("show")
def show_incident(
    incident_id: str, config: ConfigOption = None, output: FormOption = Form.YAML
) -> None:
    """One incident whole: evidence, rivals, actions."""
    store = store_of(config)
    found = store.incident(incident_id)
    if found is None:
        raise BadInput("expected the id of a stored incident", path="incident", value=incident_id)
    intents = [dump(i) for i in store.intents(incident_id=incident_id)]
    form = Form.YAML if output is Form.TABLE else output
    show([dump(redacted(found)) | {"intents": intents}], (), form)


class ReportForm(StrEnum):
    MD = "md"
    HTML = "html"
    PDF = "pdf"


@incidents.command("report")
def report(
    incident_id: str,
    form: Annotated[ReportForm, typer.Option(help="pdf needs a Chromium on PATH.")] = ReportForm.MD,
    out: Annotated[
        Path | None, typer.Option("--out", help="File; standard output if absent.")
    ] = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    config: ConfigOption = None,
) -> None:
    """The post-incident report, filled from the record; blanks are marked for people."""
    if lang not in LANGUAGES:
        raise BadInput("expected en or zh", path="--lang", value=lang)
    if form is ReportForm.PDF and out is None:
        raise BadInput("expected a file to write the PDF to", path="--out")
    settings, store = settings_of(config), store_of(config)
    found = store.incident(incident_id)
    if found is None:
        raise BadInput("expected the id of a stored incident", path="incident", value=incident_id)
    made = (
        found,
        store.intents(incident_id=incident_id),
        [entry for _, entry in store.audit(incident_id=incident_id, limit=5000)],
    )
    told: dict[str, Any] = {
        "language": lang,
        "zone": settings.notify.timezone,
        "lexicon": lexicon_for(settings),
    }
    if form is ReportForm.MD:
        text = render_report_md(*made, **told)
    else:
        text = render_report_html(*made, **told)
    if out is None:
        sys.stdout.write(text)
    elif form is ReportForm.PDF:
        print_pdf(text, out)
    else:
        write(out, text)


@audit.command("verify")
def verify_audit(config: ConfigOption = None) -> None:
    """Check the whole chain; exit status 1 names the first entry that does not hold."""
    checked, wrong = store_of(config).verify_audit()
    if wrong:
        raise Permanent(f"audit: {wrong}; {checked} entries before it hold")
    sys.stdout.write(f"{checked} entries, the chain holds\n")


@audit.command("list")
def list_audit(
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
    incident: Annotated[str, typer.Option(help="Only this incident.")] = "",
    after: Annotated[int, typer.Option(help="Only entries after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 500,
) -> None:
    """Entries in the order they were written."""
    entries = store_of(config).audit(incident_id=incident, after=after, limit=limit)
    rows = [{"number": number} | dump(entry) for number, entry in entries]
    show(rows, ("number", "at", "kind", "actor", "target", "message"), output)


def approvals(config: ConfigOption = None, output: FormOption = Form.TABLE) -> None:
    """Plans that wait for a yes or no, with the id that `approve` and `reject` want."""
    found = waiting(store_of(config), datetime.now(UTC))
    rows = [dump(i) | {"remediation": i.plan.remediation, "summary": i.plan.summary} for i in found]
    show(rows, ("id", "remediation", "expires_at", "summary"), output)


def stats(
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back to look.")] = 30,
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Recovery rate, time to detect and recover, wrong and missed actions, from the record."""
    found = stats_of_store(store_of(config), datetime.now(UTC) - timedelta(days=days))
    row = found.model_dump(mode="json")
    if output is not Form.TABLE:
        show([row], (), output)
        return
    flat = [{"figure": name, "value": value} for name, value in _figures(row)]
    show(flat, ("figure", "value"), output)


def approve(
    intent_id: str,
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    config: ConfigOption = None,
) -> None:
    """Say yes to a plan that waits for a person."""
    _decide(intent_id, reason, config, yes=True)


def reject(
    intent_id: str,
    reason: Annotated[str, typer.Option(help="Kept in the record.")] = "",
    config: ConfigOption = None,
) -> None:
    """Say no to a plan, or take a yes back while nothing has been done."""
    _decide(intent_id, reason, config, yes=False)


def _decide(intent_id: str, reason: str, config: ConfigOption, *, yes: bool) -> None:
    store = store_of(config)
    intent = store.intent(intent_id)
    if intent is None:
        raise BadInput("expected the id of a plan", path="intent", value=intent_id)
    who, now = operator(), datetime.now(UTC)
    if not store.decide(intent_id, intent.plan.digest, who, yes=yes, at=now):
        raise Permanent(f"{intent_id} is {intent.state} and waits for no answer")
    store.record(
        AuditEntry(
            kind="intent.approved" if yes else "intent.rejected",
            at=now,
            actor=who,
            incident_id=intent.plan.incident_id,
            intent_id=intent.id,
            target=str(intent.plan.target),
            message=reason or intent.plan.summary,
            detail={"digest": intent.plan.digest},
        )
    )
    sys.stdout.write(f"{'approved' if yes else 'rejected'}: {intent.plan.summary}\n")


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, dict):
            said = ", ".join(f"{k} {v}" for k, v in value.items())
            yield name, said or "none"
        else:
            yield name, "none" if value is None else str(value)


def _row(incident: Incident) -> dict[str, Any]:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    row: dict[str, Any] = dump(redacted(incident))
    return row | {"cause": leader.cause if leader else ""}
