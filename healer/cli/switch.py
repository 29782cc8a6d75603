"""`healer stop` and `healer go`: the switch that keeps every hand still, and its release."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from healer.cli.common import ConfigOption, operator, store_of
from healer.healing import SWITCH
from healer.model.audit import AuditEntry


def stop(
    reason: Annotated[str, typer.Argument(help="Why; shown wherever something is held back.")],
    config: ConfigOption = None,
) -> None:
    """Change nothing in the cluster from now on, whatever is armed. Watching goes on."""
    _set(reason.strip() or "no reason given", "switch.pulled", config)
    sys.stdout.write("stopped: nothing is changed in the cluster until `healer go`\n")


def go(config: ConfigOption = None) -> None:
    """Release the switch that `healer stop` has pulled."""
    _set("", "switch.released", config)
    sys.stdout.write("released: what is armed may act again\n")


def _set(reason: str, kind: str, config: ConfigOption) -> None:
    store = store_of(config)
    who = operator()
    # Pulled first and written down then: a full disk must not keep the switch from working.
    store.put(SWITCH, f"{reason} ({who})" if reason else "")
    store.record(AuditEntry(kind=kind, at=datetime.now(UTC), actor=who, message=reason))
