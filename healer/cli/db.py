"""`healer db`: copies of the embedded store."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from healer.adapters.store import copies
from healer.cli.common import ConfigOption, err, settings_of

db = typer.Typer(no_args_is_help=True, help="Copies of the embedded store.")


@db.command()
def backup(
    file: Annotated[str, typer.Argument(help="Where to; `-` is standard output.")],
    config: ConfigOption = None,
) -> None:
    """Copy the store while the daemon runs. PostgreSQL is copied with pg_dump."""
    store = copies.file_of(settings_of(config).store.url)
    if file == "-":
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.db"
            copies.backup(store, copy)
            with copy.open("rb") as source:
                shutil.copyfileobj(source, sys.stdout.buffer)
        return
    schema = copies.backup(store, Path(file))
    err().print(f"{store} copied to {file}, schema {schema}")


@db.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A copy made by `healer db backup`.")],
    config: ConfigOption = None,
    in_use: Annotated[
        bool, typer.Option("--in-use", help="Although the store seems to be open: after a crash.")
    ] = False,
) -> None:
    """Put a copy in the store's place, while the daemon is stopped. What was there is kept."""
    store = copies.file_of(settings_of(config).store.url)
    schema = copies.restore(file, store, in_use=in_use)
    err().print(f"{store} restored from {file}, schema {schema}; the daemon brings it up to date")
