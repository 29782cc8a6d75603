"""DingTalk's group robot: markdown, signed, with keyword and mentions.

It answers HTTP 200 to everything; only errcode 0 means that somebody can read it. More than 20
messages a minute silence the robot for ten minutes.
https://open.dingtalk.com/document/robots/custom-robot-access
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from healer.model.incident import Severity
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion
from healer.notifiers._chat import Chat, Class, classify, compact, secret_parts
from healer.notifiers._fit import cut, fit, size
from healer.notifiers._markup import DINGTALK
from healer.notifiers._message import (
    digest_headline,
    digest_lines,
    digest_rest,
    doors,
    link,
    waits,
)
from healer.ports import PostRequest
from healer.wording import say

MOST_BYTES = 20_000
"""Of the whole body."""

CODES = (
    Class(
        Delivery.PAUSE,
        ("130101", "410100", "90030", "90018"),
        ("send too fast", "too many", "flow control", "限流"),
        600.0,
    ),
    Class(
        Delivery.BROKEN,
        ("310000", "300001", "300005", "400101", "400102", "400106", "400013", "40035"),
        (
            "sign not match",
            "keywords not in content",
            "not in whitelist",
            "invalid timestamp",
            "token is not exist",
        ),
    ),
    Class(Delivery.TOO_LARGE, ("460101", "40009"), ("too large", "too long")),
    Class(Delivery.RETRY, ("-1",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DingTalk(Chat):
    """Options of one robot."""

    keyword: str = ""
    """Put into every message, for robots that demand one."""
    at_mobiles: tuple[str, ...] = ()
    """Mentioned when somebody is needed: a plan waits, or an incident was escalated."""
    at_user_ids: tuple[str, ...] = ()
    at_all: bool = False
    cards: bool = True
    """Whether a plan that waits comes as a card with buttons (actionCard). Where people are to be
    mentioned it is a text with links all the same: a card mentions nobody."""
    most_bytes: int = MOST_BYTES

    def render(self, notice: Notice) -> str:
        body = self.said(notice, DINGTALK)
        at = self._mentions(notice)
        buttons = doors(notice, self.language) if self.cards and not at and waits(notice) else ()
        ending = [] if buttons else [*link(notice, DINGTALK, self.language)]
        if at:
            # A mention counts only where the text itself names it, too.
            names = [*at.get("atMobiles", ()), *at.get("atUserIds", ())]
            ending.append(" ".join(f"@{each}" for each in names))
        title = self.title(notice)
        return self._body(title, body, [e for e in ending if e], at, buttons)

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        body = digest_lines(notices, DINGTALK, self.language)
        rest = list(digest_rest(notices, DINGTALK, self.language))
        return self._body(digest_headline(notices, self.language), body, rest, {})

    def request(self, body: str, now: datetime) -> PostRequest:
        url = self.url
        if self.secret:
            stamp = int(now.timestamp() * 1000)
            joint = "&" if "?" in url else "?"
            url = f"{url}{joint}timestamp={stamp}&sign={sign(self.secret, stamp)}"
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return PostRequest(url, body.encode(), headers, secret_parts(url, self.secret))

    def classify(self, status: int, body: str) -> DeliveryResult:
        return classify(status, body, CODES, "errcode", "errmsg")

    def _body(
        self,
        title: str,
        body: Sequence[str],
        ending: list[str],
        at: dict[str, Any],
        buttons: Sequence[tuple[str, str]] = (),
    ) -> str:
        if self.keyword and self.keyword not in title:
            ending = [*ending, self.keyword]
        tail = say("chat.more_lines", self.language)
        for room in (self.most_bytes, self.most_bytes // 2, self.most_bytes // 4):
            # JSON escapes cost bytes that the text does not show: measure what is really sent.
            text = fit([DINGTALK.heading.format(title), *body], room, tail, ending)
            text = text.replace("\n", "\n\n")
            payload = _card(title, text, buttons) if buttons else _markdown(title, text)
            made = compact(payload | ({"at": at} if at else {}))
            if size(made) <= self.most_bytes:
                return made
        return compact(_markdown("Healer", cut(title, 500)))

    def _mentions(self, notice: Notice) -> dict[str, Any]:
        if not _needs_somebody(notice):
            return {}
        at: dict[str, Any] = {}
        if self.at_mobiles:
            at["atMobiles"] = list(self.at_mobiles)
        if self.at_user_ids:
            at["atUserIds"] = list(self.at_user_ids)
        if self.at_all:
            at["isAtAll"] = True
        return at


def _markdown(title: str, text: str) -> dict[str, Any]:
    return {"msgtype": "markdown", "markdown": {"title": title, "text": text}}


def _card(title: str, text: str, buttons: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Buttons one below the other: side by side their words are cut on a phone."""
    shown = [{"title": label, "actionURL": url} for label, url in buttons]
    card = {"title": title, "text": text, "btnOrientation": "0", "btns": shown}
    return {"msgtype": "actionCard", "actionCard": card}


def _needs_somebody(notice: Notice) -> bool:
    critical = notice.severity is Severity.CRITICAL and notice.occasion is Occasion.OPENED
    return critical or notice.occasion in (Occasion.PROPOSED, Occasion.ESCALATED)


def sign(secret: str, stamp_ms: int) -> str:
    """Ready for the query: HMAC-SHA256 over `timestamp\\nsecret`, base64, percent-encoded."""
    text = f"{stamp_ms}\n{secret}".encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return quote(base64.b64encode(digest), safe="")
