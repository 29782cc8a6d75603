"""Reads the settings: one YAML file, then the environment laid over it.

`HEALER__LOOP__INTERVAL=15s` sets `loop.interval`; values are parsed as YAML, so lists and
numbers work. Channels and other free names keep the case of the variable's lower form.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from healer.errors import BadInput
from healer.settings import Settings
from healer.values import build, read_yaml

PREFIX = "HEALER__"


def load_settings(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Raises BadInput naming file, path, value and what was expected."""
    data: dict[str, Any] = {}
    if file is not None:
        found = read_yaml(file)
        if found is not None and not isinstance(found, dict):
            raise BadInput("expected a mapping at the top", file=file, value=found)
        data = found or {}
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX):
            _lay(data, name.removeprefix(PREFIX).lower().split("__"), text, name)
    return build(Settings, data, file=file or "environment")


def _lay(data: dict[str, Any], keys: list[str], text: str, name: str) -> None:
    at = data
    for key in keys[:-1]:
        below = at.setdefault(key, {})
        if not isinstance(below, dict):
            raise BadInput(f"{key} is no section", file="environment", path=name, value=text)
        at = below
    try:
        at[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(
            "expected a YAML value", file="environment", path=name, value=text
        ) from error


def read_secret(file: Path) -> str:
    """One secret from a mounted file, without its final newline. Raises BadInput."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("expected a readable file with the secret", file=file) from error
