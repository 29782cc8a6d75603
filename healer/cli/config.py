"""The settings in force, and whether a file with settings would do."""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated, Any

import typer
import yaml

from healer.adapters.channels import open_notifiers
from healer.adapters.routing import Routing
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.store import open_store
from healer.app import remediations
from healer.cli.common import ConfigOption, Form, FormOption, settings_of, show
from healer.redaction import BLOT, redact
from healer.settings import Settings
from healer.values import dump

config = typer.Typer(no_args_is_help=True, help="The settings in force.")

_SECRET = re.compile(r"(?i)(url|uri|token|secret|password|authorization|cookie|key)$")


@config.command("show")
def show_config(
    config: ConfigOption = None,
    output: FormOption = Form.JSON,
    redact_: Annotated[
        bool, typer.Option("--redact/--no-redact", help="Blot out passwords and robot addresses.")
    ] = True,
) -> None:
    """Print every setting as it is in force, defaults included."""
    found = dump(settings_of(config))
    if redact_:
        found = blotted(found)
    if output is Form.TABLE:
        rows = [{"setting": path, "value": value} for path, value in flat(found)]
        show(rows, ("setting", "value"), output)
    elif output is Form.YAML:
        sys.stdout.write(yaml.safe_dump(found, allow_unicode=True, sort_keys=False))
    else:
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


@config.command("validate")
def validate(config: ConfigOption = None) -> None:
    """Read everything the settings name; exit status 2 names the first thing that is wrong."""
    found = settings_of(config)
    sys.stdout.write(f"{examine(found)}\n")


def examine(settings: Settings) -> str:
    """What there is, in one line. Raises BadInput as the daemon would at its start."""
    channels = open_notifiers(settings.notify)
    Routing(open_store("sqlite://"), settings.notify)
    signals = load_signals(
        settings.rules.folders, settings.rules.disabled, settings.detectors.packages
    )
    rules = load_rules(settings.rules.folders, settings.rules.disabled)
    ways = remediations(settings.remediation)
    return (
        f"{len(signals)} signals, {len(rules.rules)} rules, {len(ways)} remediations, "
        f"{len(channels)} channels: the settings can be used"
    )


def blotted(value: Any, path: str = "") -> Any:
    """`value` without what could be a secret: names of files stay, for they are none."""
    if isinstance(value, dict):
        return {k: blotted(v, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [blotted(each, path) for each in value]
    if not isinstance(value, str) or not value:
        return value
    inside = ".headers." in path or (".options." in path and _SECRET.search(path))
    robot = path.startswith(".notify.channels.") and path.endswith(".url")
    return BLOT if inside or robot else redact(value)


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """(path, text) of each leaf."""
    if isinstance(value, dict) and value:
        return [row for k, v in value.items() for row in flat(v, f"{path}.{k}" if path else k)]
    return [(path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
