"""All commands, put together."""

from __future__ import annotations

import json
import platform
import sys

import typer

from healer import __version__
from healer.adapters.clocks import SystemClock
from healer.adapters.store import open_store
from healer.cli import check, demo, detect, exporter, lab, localize, notify, records, rules, run
from healer.cli.common import ConfigOption, settings_of
from healer.server import create_app
from healer.server.deps import Health, ServerDeps
from healer.settings import ServerSettings
from healer.values import dump

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
app.command()(records.approve)
app.command()(records.reject)
app.add_typer(records.incidents, name="incidents")
app.add_typer(records.audit, name="audit")
app.add_typer(lab.lab, name="lab")
app.add_typer(rules.rules, name="rules")
app.add_typer(notify.notify, name="notify")

config = typer.Typer(no_args_is_help=True, help="The settings in force.")
app.add_typer(config, name="config")


@config.command("show")
def show_config(config: ConfigOption = None) -> None:
    """Print every setting as it is in force; secrets are only ever file names."""
    sys.stdout.write(json.dumps(dump(settings_of(config)), indent=2, ensure_ascii=False) + "\n")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the report API."""
    deps = ServerDeps(open_store("sqlite://"), ServerSettings(), SystemClock(), Health)
    document = create_app(deps).openapi()
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"healer {__version__} (Python {platform.python_version()})\n")
