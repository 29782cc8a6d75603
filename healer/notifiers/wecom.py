"""WeCom's group robot: text, markdown, markdown_v2 or a card, each with its own limits.

Members who read in personal WeChat see only `text`; `markdown_v2` shows as plain text on old
clients. https://developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from healer.errors import BadInput
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion
from healer.notifiers._chat import Chat, Class, classify, compact, secret_parts
from healer.notifiers._fit import fit
from healer.notifiers._headline import SIGNS, cause_of, subject
from healer.notifiers._markup import TEXT, WECOM, WECOM_V2, Markup, plain
from healer.notifiers._message import (
    digest_headline,
    digest_lines,
    digest_rest,
    doors,
    exactly,
    link,
    waits,
)
from healer.ports import PostRequest
from healer.wording import name, say

FORMATS: dict[str, tuple[Markup, int]] = {
    "text": (TEXT, 2048),
    "markdown": (WECOM, 4096),
    "markdown_v2": (WECOM_V2, 4096),
    "template_card": (WECOM, 4096),
}
"""Format → dialect, and most bytes of its content. A plan that waits is a card in the last one;
everything else there is markdown, for a card always needs a link and holds little text."""
MOST_IN_CARD = {"title": 26, "desc": 30, "sub": 112, "value": 26, "jump": 13}
"""Characters of a card's parts; longer ones are cut by the client, and not where we would."""

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
    """text, markdown, markdown_v2 or template_card."""
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
        if self.format == "template_card" and notice.url and waits(notice):
            return self._card(notice)
        asked = notice.occasion in (Occasion.PROPOSED, Occasion.ESCALATED)
        ending = [*link(notice, markup, self.language)]
        if asked and self.mention and self._kind == "markdown":
            ending.append(" ".join(f"<@{each}>" for each in self.mention))
        body = self.said(notice, markup)
        return self._body(self.title(notice), body, ending, asked=asked)

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        markup, _ = FORMATS[self.format]
        body = digest_lines(notices, markup, self.language)
        rest = digest_rest(notices, markup, self.language)
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
        return compact({"msgtype": self._kind, self._kind: content})

    @property
    def _kind(self) -> str:
        return "markdown" if self.format == "template_card" else self.format

    def _card(self, notice: Notice) -> str:
        incident, most = notice.incident, MOST_IN_CARD
        leader = incident.diagnosis.leader if incident.diagnosis else None
        plan = notice.intents[-1].plan
        facts = [
            ("chat.target", plan.target.name),
            ("chat.would_do", name("remediation", plan.remediation, self.language)),
            ("chat.risk", name("risk", plan.risk.name.lower(), self.language)),
        ]
        if leader is not None:
            facts.insert(0, ("chat.cause", cause_of(leader, self.language)))
        if until := notice.intents[-1].expires_at:
            facts.append(("chat.until", f"{until.astimezone(ZoneInfo(self.zone)):%m-%d %H:%M %z}"))
        opened = doors(notice, self.language)
        called = say("call.waits", self.language)
        severity = name("severity", notice.severity.value, self.language)
        return compact(
            {
                "msgtype": "template_card",
                "template_card": {
                    "card_type": "text_notice",
                    "source": {"desc": f"Healer · {severity}", "desc_color": 2},
                    "main_title": {
                        "title": plain(f"{SIGNS[notice.occasion]} {called}", most["title"]),
                        "desc": plain(subject(notice, self.language), most["desc"]),
                    },
                    "sub_title_text": plain(
                        exactly(plan.summary, incident, self.language), most["sub"]
                    ),
                    "horizontal_content_list": [
                        {"keyname": say(key, self.language), "value": plain(text, most["value"])}
                        for key, text in facts
                    ],
                    "jump_list": [
                        {"type": 1, "title": plain(label, most["jump"]), "url": url}
                        for label, url in opened[:3]
                    ],
                    "card_action": {"type": 1, "url": opened[0][1]},
                },
            }
        )
