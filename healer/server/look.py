"""Templates and stylesheet, read once from the package; and what templates call."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from healer.lexicon import NO_WORDS, Lexicon
from healer.server.charts import Chart
from healer.server.svg import human, render_svg
from healer.spoken import speaker
from healer.wording import name, say, span


@cache
def stylesheet() -> str:
    return (files("healer.server") / "static" / "healer.css").read_text(encoding="utf-8")


@cache
def stylesheet_version() -> str:
    """Changes with its content, so that browsers never keep an older one after an upgrade."""
    return hashlib.sha256(stylesheet().encode()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("healer.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["human"] = human
    made.filters["md"] = markdown
    return made


def warm() -> None:
    """Compiles every template: the first reader should not wait for that."""
    for name_ in _environment().list_templates():
        _environment().get_template(name_)


_SPECIAL = re.compile(r"([\\`*_\[\]|#~!])")


def markdown(value: object) -> Markup:
    """Text from outside as one line that Markdown and the HTML it may carry leave alone."""
    line = _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
    return Markup(escape(line, quote=False))  # noqa: S704


def render(
    template: str,
    language: str,
    zone: str,
    now: datetime,
    lexicon: Lexicon = NO_WORDS,
    **values: Any,
) -> str:
    """A page. `t`, `n`, `said`, `at`, `clock`, `span` and `chart` speak the reader's language:
    `said` puts a sentence of the engine into it."""
    place = ZoneInfo(zone)

    def at(moment: datetime | None) -> str:
        return "" if moment is None else f"{moment.astimezone(place):%Y-%m-%d %H:%M:%S %z}"

    def clock(moment: datetime | None) -> str:
        return "" if moment is None else f"{moment.astimezone(place):%H:%M:%S}"

    def ago(moment: datetime) -> str:
        return span(max(now - moment, timedelta(0)), language)

    def iso(moment: datetime) -> str:
        return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def chart(found: Chart) -> Markup:
        # Markup of ours around text that `render_svg` has escaped.
        return Markup(render_svg(found, language, zone))  # noqa: S704

    def words(key: str, **parts: object) -> str:
        return say(key, language, **parts)

    def called(prefix: str, value: object) -> str:
        return name(prefix, str(value), language)

    def length(found: timedelta) -> str:
        return span(found, language)

    speak = speaker(language, lexicon, zone, now)
    given = {
        "t": words,
        "n": called,
        "at": at,
        "clock": clock,
        "ago": ago,
        "iso": iso,
        "span": length,
        "said": speak,
        "all_said": lambda sentences: "; ".join(speak(each) for each in sentences),
        "chart": chart,
        "lang": language,
        "zone": zone,
        "now": now,
        "css_version": stylesheet_version(),
    }
    return _environment().get_template(template).render(given | values)
