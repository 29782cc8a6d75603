"""All commands, put together."""

from __future__ import annotations

import json
import platform
import sys
from enum import StrEnum
from typing import Annotated

import typer
import yaml

from healer import __version__
from healer.adapters.clocks import SystemClock
from healer.adapters.store import open_store
from healer.cli import (
    attention,
    backtest,
    check,
    config,
    db,
    demo,
    detect,
    exporter,
    lab,
    localize,
    notify,
    records,
    rules,
    run,
    signals,
    switch,
)
from healer.server import create_app
from healer.server.deps import Health, ServerDeps
from healer.server.reference import render_reference
from healer.settings import ServerSettings

app = typer.Typer(
    name="healer",
    help="Heals LLM serving on GPU Kubernetes clusters: sees, explains, repairs, proves it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(demo.demo)
app.command()(check.check)
app.command()(exporter.exporter)
app.command()(detect.detect)
app.command()(localize.localize)
app.command()(backtest.backtest)
app.command()(records.approvals)
app.command()(records.stats)
app.command()(records.approve)
app.command()(records.reject)
app.command()(switch.stop)
app.command()(switch.go)
app.command()(attention.take)
app.command()(attention.mute)
app.add_typer(records.incidents, name="incidents")
app.add_typer(records.audit, name="audit")
app.add_typer(lab.lab, name="lab")
app.add_typer(rules.rules, name="rules")
app.add_typer(signals.signals, name="signals")
app.add_typer(notify.notify, name="notify")

app.add_typer(config.config, name="config")
app.add_typer(db.db, name="db")


class DocumentForm(StrEnum):
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"


@app.command()
def openapi(
    output: Annotated[DocumentForm, typer.Option("--output", "-o", help="How to print.")] = (
        DocumentForm.JSON
    ),
) -> None:
    """Print the OpenAPI document of the report API."""
    deps = ServerDeps(open_store("sqlite://"), ServerSettings(), SystemClock(), Health)
    document = create_app(deps).openapi()
    if output is DocumentForm.MARKDOWN:
        sys.stdout.write(render_reference(document))
    elif output is DocumentForm.YAML:
        sys.stdout.write(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))
    else:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"healer {__version__} (Python {platform.python_version()})\n")
