"""WeCom's group robot: text, markdown or markdown_v2, each with its own byte limit.

Members who read in personal WeChat see only `text`; `markdown_v2` shows as plain text on old
clients. https://developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.errors import BadInput
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion
from healer.notifiers._chat import Chat, Class, classify, compact, secret_parts
from healer.notifiers._fit import fit
from healer.notifiers._markup import TEXT, WECOM, WECOM_V2, Markup
from healer.notifiers._message import (
    digest_headline,
    digest_lines,
    digest_rest,
    headline,
    lines,
    link,
)
from healer.ports import PostRequest
from healer.wording import say

FORMATS: dict[str, tuple[Markup, int]] = {
    "text": (TEXT, 2048),
    "markdown": (WECOM, 4096),
    "markdown_v2": (WECOM_V2, 4096),
}
"""Format → dialect, and most bytes of its content."""

CODES = (
    Class(Delivery.PAUSE, ("45009", "45033"), ("freq out of limit",), 60.0),
    Class(Delivery.BROKEN, ("93000", "93004", "93017", "40001", "40014"), ("invalid webhook url",)),
    Class(Delivery.TOO_LARGE, ("40058", "45002"), ("exceed max length", "too long")),
    Class(Delivery.RETRY, ("-1",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeCom(Chat):
    """Options of one robot. Its key is in the URL; it signs nothing."""

    format: str = "markdown"
    """text, markdown or markdown_v2."""
    mention: tuple[str, ...] = ()
    """User ids, or @all; told when somebody is needed. Not possible in markdown_v2."""
    mention_mobiles: tuple[str, ...] = ()
    """Only in text."""

    def __post_init__(self) -> None:
        super(WeCom, self).__post_init__()
        if self.format not in FORMATS:
            known = ", ".join(FORMATS)
            raise BadInput(f"expected one of {known}", path="format", value=self.format)

    def render(self, notice: Notice) -> str:
        markup, _ = FORMATS[self.format]
        asked = notice.occasion in (Occasion.PROPOSED, Occasion.ESCALATED)
        ending = [*link(notice, markup, self.language)]
        if asked and self.mention and self.format == "markdown":
            ending.append(" ".join(f"<@{each}>" for each in self.mention))
        body = lines(notice, markup, self.language, self.zone)
        return self._body(headline(notice, self.language), body, ending, asked=asked)

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        markup, _ = FORMATS[self.format]
        body = digest_lines(notices, markup, self.language)
        rest = digest_rest(notices, self.language)
        return self._body(digest_headline(notices, self.language), body, rest, asked=False)

    def request(self, body: str, now: datetime) -> PostRequest:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return PostRequest(self.url, body.encode(), headers, secret_parts(self.url))

    def classify(self, status: int, body: str) -> DeliveryResult:
        return classify(status, body, CODES, "errcode", "errmsg")

    def _body(self, title: str, body: Sequence[str], ending: Sequence[str], *, asked: bool) -> str:
        markup, most = FORMATS[self.format]
        tail = say("chat.more_lines", self.language)
        content: dict[str, Any] = {
            "content": fit([markup.heading.format(title), *body], most, tail, ending)
        }
        if self.format == "text" and asked:
            if self.mention:
                content["mentioned_list"] = list(self.mention)
            if self.mention_mobiles:
                content["mentioned_mobile_list"] = list(self.mention_mobiles)
        return compact({"msgtype": self.format, self.format: content})
