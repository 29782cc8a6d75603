"""What all chat channels share: language and zone, and how an answer is looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from healer.errors import BadInput
from healer.model.message import Delivery, DeliveryResult, Notice
from healer.notifiers._headline import headline
from healer.notifiers._markup import Markup, harmless
from healer.notifiers._message import lines
from healer.notifiers._template import fill
from healer.ports import Notifier
from healer.wording import LANGUAGES


@dataclass(frozen=True, slots=True)
class Class:
    """One row of a provider's table of error codes."""

    delivery: Delivery
    codes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Parts of its message, lower case: codes drift between lists, words less."""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(Notifier):
    """Credentials come from the settings' files; a notifier never reads one."""

    schemes: ClassVar[tuple[str, ...]] = ("http", "https")
    url: str
    """The robot's webhook URL. A secret."""
    secret: str = ""
    """Signing secret, where the robot has one."""
    language: str = "en"
    """en or zh."""
    zone: str = "UTC"
    """IANA time zone of the times in messages; the offset is always printed."""
    templates: Mapping[str, str] = field(default_factory=dict, hash=False)
    """`OCCASION` → the text of a template of the reader's own, in place of ours."""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in self.schemes:
            known = " or ".join(self.schemes)
            raise BadInput(f"expected an {known} URL", path="url")
        if self.language not in LANGUAGES:
            raise BadInput("expected en or zh", path="language", value=self.language)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise BadInput("expected an IANA time zone", path="zone", value=self.zone) from error

    def title(self, notice: Notice) -> str:
        """The one line that a phone shows before it is unlocked."""
        return headline(notice, self.language)

    def said(self, notice: Notice, markup: Markup) -> tuple[str, ...]:
        """The message without title and links: the reader's own template, or ours.

        A template that cannot be filled in loses no message: our own words stand in, and say why.
        """
        own = self.templates.get(notice.occasion.value)
        if own is None:
            return lines(notice, markup, self.language, self.zone)
        try:
            return fill(own, notice, markup, self.language, self.zone)
        except BadInput as error:
            ours = lines(notice, markup, self.language, self.zone)
            return (*ours, harmless(f"template {notice.occasion}: {error}"))


def secret_parts(url: str, *more: str) -> tuple[str, ...]:
    """What must not reach a log: query values, and the path's last part, which is often a key."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query)]
    last = parts.path.rstrip("/").rpartition("/")[2]
    return tuple(p for p in (*values, last, *more) if len(p) >= 6)


def compact(payload: Mapping[str, Any]) -> str:
    """JSON without escapes: Chinese costs three bytes a character that way, not six."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def classify(
    status: int, body: str, table: Sequence[Class], code_key: str, text_key: str
) -> DeliveryResult:
    """Success is the provider's own 0 and nothing else; an unknown code is a failure to retry."""
    if status == 429:
        return DeliveryResult(Delivery.PAUSE, "http 429", retry_after_s=60.0)
    try:
        answer = json.loads(body)
        code, text = answer[code_key], str(answer.get(text_key, ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return DeliveryResult(_by_status(status), f"http {status}", body[:200])
    if status < 300 and code in (0, "0") and not isinstance(code, bool):
        return DeliveryResult(Delivery.DELIVERED, "0")
    return _look_up(str(code), text, table)


def _look_up(code: str, text: str, table: Sequence[Class]) -> DeliveryResult:
    said = text.lower()
    for row in table:
        if code in row.codes:
            return DeliveryResult(row.delivery, code, text[:200], row.retry_after_s)
    for row in table:
        if any(words in said for words in row.words):
            return DeliveryResult(row.delivery, code, text[:200], row.retry_after_s)
    return DeliveryResult(Delivery.RETRY, code, text[:200])


def _by_status(status: int) -> Delivery:
    """Without a code of the provider's: a gateway's trouble, or an address that is none."""
    if status in (401, 403, 404, 410):
        return Delivery.BROKEN
    return Delivery.TOO_LARGE if status == 413 else Delivery.RETRY
