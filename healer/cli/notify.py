"""Trying a chat channel before the night on which it matters."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from healer.adapters.channels import open_notifiers
from healer.adapters.post import RequestsPost
from healer.cli.common import ConfigOption, Form, FormOption, settings_of, show, store_of
from healer.cli.words import lexicon_for
from healer.errors import BadInput, Permanent
from healer.model.actions import Escalate
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import Intent
from healer.model.message import Delivery, Notice, Occasion
from healer.model.target import CLUSTER
from healer.ports import Notifier
from healer.settings import Settings
from healer.spoken import spoken_notice
from healer.wording import say

notify = typer.Typer(no_args_is_help=True, help="Chat channels: try one, look at a message.")


@notify.command("test")
def try_channel(channel: str, config: ConfigOption = None) -> None:
    """Send a test message; exit status 1 tells the provider's own reason when it fails."""
    settings = settings_of(config)
    notifier = _notifier(settings, channel)
    now = datetime.now(UTC)
    language = settings.notify.channels[channel].language
    notice = Notice(Occasion.RESOLVED, _sample(now, language), now)
    post = RequestsPost()
    try:
        status, answer = post.send(notifier.request(notifier.render(notice), now))
    finally:
        post.close()
    result = notifier.classify(status, answer)
    if result.delivery is not Delivery.DELIVERED:
        raise Permanent(f"{channel}: {result.delivery} {result.code} {result.detail}".strip())
    sys.stdout.write(f"{channel}: delivered\n")


@notify.command("preview")
def preview(
    incident_id: str,
    config: ConfigOption = None,
    channel: Annotated[str, typer.Option(help="Only this channel.")] = "",
    occasion: Annotated[Occasion, typer.Option(help="As if this had just happened.")] = (
        Occasion.DIAGNOSED
    ),
) -> None:
    """Print what each channel would be sent about a stored incident. Sends nothing."""
    settings, store = settings_of(config), store_of(config)
    found = store.incident(incident_id)
    if found is None:
        raise BadInput("expected the id of a stored incident", path="incident", value=incident_id)
    intents = store.intents(incident_id=incident_id)
    notice = _as_if(occasion, found, intents, settings.server.public_url)
    lexicon, zone = lexicon_for(settings), settings.notify.timezone
    for name in [channel] if channel else list(settings.notify.channels):
        notifier = _notifier(settings, name)
        language = settings.notify.channels[name].language
        body = notifier.render(spoken_notice(notice, language, lexicon, zone))
        sys.stdout.write(f"--- {name}, {len(body.encode())} bytes\n{_readable(body)}\n")


@notify.command("log")
def show_log(
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
    incident: Annotated[str, typer.Option(help="Only about this incident.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """What became of each message, newest first, with the provider's own answer."""
    rows = [dict(row) for row in store_of(config).deliveries(incident_id=incident, limit=limit)]
    for row in rows:
        row["about"] = row["notice_key"].split("|")[1] if "|" in row["notice_key"] else ""
        del row["body"]
    show(
        rows,
        ("updated_at", "channel", "incident_id", "about", "result", "code", "tries", "detail"),
        output,
    )


def _notifier(settings: Settings, channel: str) -> Notifier:
    notifiers = open_notifiers(settings.notify)
    if channel not in notifiers:
        known = ", ".join(notifiers) or "none are set up"
        raise BadInput(f"expected a channel of notify.channels: {known}", value=channel)
    return notifiers[channel]


def _as_if(
    occasion: Occasion, found: Incident, intents: Sequence[Intent], public_url: str
) -> Notice:
    """What would be told if that had just happened, with what belongs to it and nothing else."""
    base, now = public_url.rstrip("/"), datetime.now(UTC)
    url = f"{base}/incidents/{found.id}" if base else ""
    deeds = [i for i in intents if i.plan.remediation != "escalate"]
    if occasion is Occasion.ESCALATED:
        asked = [i.plan.actions[0] for i in intents if i.plan.remediation == "escalate"]
        why = next((a.reason for a in reversed(asked) if isinstance(a, Escalate)), "")
        return Notice(occasion, found, now, (), url, tried=tuple(deeds), why=why)
    acts = occasion in (Occasion.PROPOSED, Occasion.ACTED)
    return Notice(occasion, found, now, tuple(deeds[-1:]) if acts else (), url)


def _sample(now: datetime, language: str) -> Incident:
    return Incident(
        "test", now, now, now, Phase.RESOLVED, Severity.INFO, say("chat.test", language),
        (CLUSTER,), resolved_at=now,
    )  # fmt: skip


def _readable(body: str) -> str:
    """The texts of a payload as lines instead of escapes."""
    texts: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            texts.append(value)

    walk(json.loads(body))
    return max(texts, key=len, default="")
