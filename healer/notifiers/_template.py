"""Message templates of the reader's own: Jinja2 in a sandbox, with everything from outside tamed.

A template is the body of one occasion's message. What it prints passes `harmless` by itself, so a
label cannot mention everybody through somebody's template either.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from healer.errors import BadInput
from healer.model.message import Notice
from healer.notifiers._markup import Markup, harmless
from healer.wording import name, say, span

MOST_CHARACTERS = 40_000
"""Of a filled template: twice what the roomiest channel takes."""


class Ours(str):
    """Text that is markup on purpose, made by the helpers below."""

    __slots__ = ()


def _tame(value: object) -> str:
    return value if isinstance(value, Ours) else harmless(str(value))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=_tame, trim_blocks=True, lstrip_blocks=True
    )


@cache
def compiled(text: str) -> Template:
    """Raises BadInput that names the line of what Jinja2 cannot read."""
    try:
        return _environment().from_string(text)
    except TemplateError as error:
        line = getattr(error, "lineno", 0)
        raise BadInput(
            f"expected a Jinja2 template: {error.message}", path=f"line {line}"
        ) from error


def fill(text: str, notice: Notice, markup: Markup, language: str, zone: str) -> tuple[str, ...]:
    """The template's lines. Raises BadInput naming what it asks for and is not there."""
    place, incident = ZoneInfo(zone), notice.incident
    leader = incident.diagnosis.leader if incident.diagnosis else None

    def at(moment: datetime | None) -> str:
        return "" if moment is None else f"{moment.astimezone(place):%m-%d %H:%M:%S %z}"

    given: dict[str, Any] = {
        "occasion": name("occasion", notice.occasion.value, language),
        "severity": name("severity", notice.severity.value, language),
        "incident": incident,
        "targets": [str(target) for target in incident.targets],
        "symptoms": [f.summary or f.signal for f in incident.findings],
        "cause": leader,
        "evidence": [t.seen or t.asked for t in leader.evidence_for] if leader else [],
        "plans": [
            {
                "name": name("remediation", i.plan.remediation, language),
                "target": str(i.plan.target),
                "summary": i.plan.summary,
                "state": name("state", i.state.value, language),
                "id": i.id,
                "expires_at": i.expires_at,
            }
            for i in notice.intents
        ],
        "lasted": span((incident.resolved_at or notice.at) - incident.started_at, language),
        "now": notice.at,
        "at": at,
        "t": lambda key, **parts: say(key, language, **parts),
        "bold": lambda value: Ours(markup.bold.format(_tame(value))),
        "code": lambda value: Ours(markup.code.format(_tame(value))),
        "link": lambda title, url: Ours(markup.link.format(_tame(title), url)),
        "url": notice.url,
        "links": dict(notice.links),
    }
    try:
        filled = compiled(text).render(given)
    except BadInput:
        raise
    except Exception as error:
        # A template is foreign code: whatever it raises is its own mistake, named here.
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"expected a template that can be filled in: {said[:300]}") from error
    return tuple(filled[:MOST_CHARACTERS].strip("\n").split("\n"))
