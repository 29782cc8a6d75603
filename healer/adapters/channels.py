"""Builds the notifiers of the settings, with their credentials read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from healer.errors import BadInput
from healer.model.message import Occasion
from healer.notifiers import TEXT, Chat, fill, sample_notice
from healer.plugins import find
from healer.ports import Notifier
from healer.settings import Channel, NotifySettings
from healer.values import build
from healer.wording import LANGUAGES


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
    templates = load_templates(settings.templates, channel.language)
    if templates and issubclass(cls, Chat):
        credentials["templates"] = templates
    if channel.secret_file is not None:
        credentials["secret"] = _read(channel.secret_file, f"{path}.secret_file")
    return build(cls, {**channel.options, **credentials}, path=f"{path}.options")


def load_templates(folder: Path | None, language: str) -> dict[str, str]:
    """Occasion → template, of the files `OCCASION.LANGUAGE.j2`. Raises BadInput with file and line.

    Each is filled in with an invented incident, so a mistake is told now and not at night.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise BadInput("expected a folder", path="notify.templates", value=str(folder))
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.j2")):
        occasion, _, spoken = file.stem.partition(".")
        if occasion not in set(Occasion) or spoken not in LANGUAGES:
            known = ", ".join(o.value for o in Occasion)
            raise BadInput(f"expected OCCASION.LANGUAGE.j2 with one of {known}", file=file)
        if spoken != language:
            continue
        text = _read(file, "notify.templates")
        try:
            fill(text, sample_notice(Occasion(occasion)), TEXT, language, "UTC")
        except BadInput as error:
            raise BadInput(error.expected, file=file, path=error.path) from error
        found[occasion] = text
    return found


def _read(file: Path, path: str) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"expected a readable file ({reason})", file=file, path=path) from error
    if not text:
        raise BadInput("expected one line, found nothing", file=file, path=path)
    return text
