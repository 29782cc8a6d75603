"""Looking after an incident from a terminal: taking it, and holding its messages back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from healer.attention import mute as mute_incident
from healer.attention import take as take_incident
from healer.cli.common import ConfigOption, operator, store_of
from healer.errors import BadInput
from healer.model.incident import Incident
from healer.ports import Store
from healer.values import parse_span


def take(
    incident_id: str,
    who: Annotated[str, typer.Option("--as", help="Who looks after it; you, if absent.")] = "",
    config: ConfigOption = None,
) -> None:
    """Say that somebody looks after an incident: nobody else is called for it."""
    store = store_of(config)
    name = who or operator()
    take_incident(store, _incident(store, incident_id), name, datetime.now(UTC))
    sys.stdout.write(f"{name} looks after {incident_id}\n")


def mute(
    incident_id: str,
    span: Annotated[
        str, typer.Option("--for", help="How long, such as 1h or 30m; 0 ends a mute.")
    ] = "1h",
    config: ConfigOption = None,
) -> None:
    """Hold an incident's messages back; only a call for a person and its end still go out."""
    try:
        length = parse_span(int(span) if span.isdecimal() else span)
    except ValueError as error:
        raise BadInput(f"expected {error}", path="--for", value=span) from error
    if not isinstance(length, timedelta):
        raise BadInput("expected a duration such as 30m or 1h", path="--for", value=span)
    store = store_of(config)
    found = _incident(store, incident_id)
    until = mute_incident(store, found, operator(), datetime.now(UTC), length)
    said = f"muted until {until:%Y-%m-%d %H:%M:%S %z}" if length else "not muted any more"
    sys.stdout.write(f"{incident_id} {said}\n")


def _incident(store: Store, incident_id: str) -> Incident:
    found = store.incident(incident_id)
    if found is None:
        raise BadInput("expected the id of a stored incident", path="incident", value=incident_id)
    return found
