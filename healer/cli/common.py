"""What the commands share: options, settings, the store, and ways to print."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from healer.adapters.settings_file import load_settings
from healer.adapters.store import SqlStore, open_store
from healer.errors import BadInput
from healer.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="HEALER_CONFIG", help="Settings file (YAML)."),
]


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormOption = Annotated[Form, typer.Option("--output", "-o", help="How to print.")]


def settings_of(config: Path | None) -> Settings:
    return load_settings(config, os.environ)


def store_of(config: Path | None) -> SqlStore:
    return open_store(settings_of(config).store.url)


def operator() -> str:
    """Who gives the command, as the audit names them. The user of a container often has no name,
    and the switch that stops everything must not fail for want of one."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # an OSError from Python 3.13 on
        return f"cli:uid-{os.getuid()}"


def out() -> Console:
    """For data. Rich honours NO_COLOR and leaves escapes out where there is no terminal."""
    width = None if sys.stdout.isatty() else 200
    return Console(file=sys.stdout, width=width, soft_wrap=width is not None)


def err() -> Console:
    """For everything a program would not parse."""
    return Console(file=sys.stderr, soft_wrap=not sys.stderr.isatty())


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Form) -> None:
    """Rows of plain values, as a table of `columns` or whole as JSON or YAML."""
    if form is Form.JSON:
        sys.stdout.write(json.dumps(list(rows), ensure_ascii=False, indent=2) + "\n")
    elif form is Form.YAML:
        # Through JSON, for YAML's safe writer knows no subclass of str, which databases name
        # their columns with.
        plain = json.loads(json.dumps(list(rows), ensure_ascii=False))
        sys.stdout.write(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))
    else:
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(printable(str(row.get(column, "")))) for column in columns))
        out().print(table)


def printable(text: str) -> str:
    """Without what a terminal would obey: titles are written by whoever writes alerts."""
    return "".join(
        c if c in "\t\n" or not category(c).startswith("C") else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def write(file: Path, text: str) -> None:
    """A result file, with the folders it needs. Raises BadInput."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"expected a file that can be written ({error.strerror})", file=file
        ) from error
