"""Builds the notifiers of the settings, with their credentials read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from healer.errors import BadInput
from healer.plugins import find
from healer.ports import Notifier
from healer.settings import Channel, NotifySettings
from healer.values import build


def open_notifiers(settings: NotifySettings) -> dict[str, Notifier]:
    """Channel name → its notifier. Raises BadInput for what a person got wrong."""
    return {
        name: open_notifier(channel, settings, f"notify.channels.{name}")
        for name, channel in settings.channels.items()
    }


def open_notifier(channel: Channel, settings: NotifySettings, path: str) -> Notifier:
    cls = find(settings.packages, channel.notifier, Notifier)
    if bool(channel.url) == bool(channel.url_file):
        raise BadInput("expected either url_file or url", path=f"{path}.url_file")
    credentials: dict[str, Any] = {
        "url": channel.url
        if channel.url_file is None
        else _read(channel.url_file, f"{path}.url_file"),
        "language": channel.language,
        "zone": settings.timezone,
    }
    if channel.secret_file is not None:
        credentials["secret"] = _read(channel.secret_file, f"{path}.secret_file")
    return build(cls, {**channel.options, **credentials}, path=f"{path}.options")


def _read(file: Path, path: str) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"expected a readable file ({reason})", file=file, path=path) from error
    if not text:
        raise BadInput("expected one line, found nothing", file=file, path=path)
    return text
