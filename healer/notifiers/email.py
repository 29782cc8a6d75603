"""E-mail, for those who are on call without a chat group, or whose chat is down with the rest.

The channel's URL is the mail server: `smtps://user:password@mail.example.com:465`, or `smtp://`,
which changes to TLS before it signs in. Plain text on purpose: it reads on every device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from healer.errors import BadInput
from healer.model.message import Delivery, DeliveryResult, Notice
from healer.notifiers._chat import Chat, compact
from healer.notifiers._fit import fit
from healer.notifiers._markup import TEXT, plain
from healer.notifiers._message import digest_headline, digest_lines, digest_rest, doors
from healer.ports import PostRequest
from healer.wording import say

MOST_BYTES = 100_000
"""Of the text. Servers take megabytes; a person does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(Chat):
    """Options of one mailing."""

    schemes: ClassVar[tuple[str, ...]] = ("smtp", "smtps")
    to: tuple[str, ...] = ()
    """Addresses; at least one."""
    sender: str = ""
    """Address it comes from; the user of the URL where absent."""

    def __post_init__(self) -> None:
        super(Email, self).__post_init__()
        if not self.to:
            raise BadInput("expected at least one address", path="to")
        for number, each in enumerate((*self.to, self._sender)):
            path = f"to.{number}" if number < len(self.to) else "sender"
            try:
                Address(addr_spec=each)
            except Exception as error:
                raise BadInput("expected an e-mail address", path=path, value=each) from error

    def render(self, notice: Notice) -> str:
        links = [f"{label}: {url}" for label, url in doors(notice, self.language)]
        text = self._text(self.said(notice, TEXT), links)
        mail = {"subject": self.title(notice), "text": text}
        return compact(mail | {"thread": notice.incident.id})

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        rest = digest_rest(notices, TEXT, self.language)
        text = self._text(digest_lines(notices, TEXT, self.language), rest)
        return compact({"subject": digest_headline(notices, self.language), "text": text})

    def request(self, body: str, now: datetime) -> PostRequest:
        """The whole mail; its envelope is in the headers."""
        mail, given = EmailMessage(), json.loads(body)
        sender = self._sender
        mail["Subject"] = plain(given["subject"], 200)
        mail["From"] = sender
        mail["To"] = ", ".join(self.to)
        mail["Date"] = format_datetime(now)
        mail["Auto-Submitted"] = "auto-generated"  # out-of-office replies stay away
        if thread := given.get("thread"):
            # All mails of one incident refer to one that was never sent: clients thread by it.
            mail["References"] = f"<{thread}@healer.{sender.rpartition('@')[2]}>"
        mail.set_content(given["text"])
        parts = urlsplit(self.url)
        secrets = tuple(p for p in (unquote(parts.password or ""), parts.password or "") if p)
        envelope = {"From": sender, "To": ", ".join(self.to)}
        return PostRequest(self.url, mail.as_bytes(), envelope, secrets)

    def classify(self, status: int, body: str) -> DeliveryResult:
        """By SMTP's own codes (RFC 5321, RFC 4954)."""
        code, said = str(status), body[:200]
        if 200 <= status < 300:
            return DeliveryResult(Delivery.DELIVERED, code)
        if status in (421, 450, 451, 452, 454):
            return DeliveryResult(Delivery.PAUSE, code, said, 60.0)
        if status in (552, 523):
            return DeliveryResult(Delivery.TOO_LARGE, code, said)
        return DeliveryResult(Delivery.BROKEN if status >= 500 else Delivery.RETRY, code, said)

    @property
    def _sender(self) -> str:
        return self.sender or unquote(urlsplit(self.url).username or "")

    def _text(self, body: Sequence[str], ending: Sequence[str]) -> str:
        tail = say("chat.more_lines", self.language)
        return fit(body, MOST_BYTES, tail, ["", *ending] if ending else ())
