"""Feishu's (Lark's) custom bot: an interactive card, signed in its body.

https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.model.incident import Severity
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion
from healer.notifiers._chat import Chat, Class, classify, compact, secret_parts
from healer.notifiers._fit import fit, size
from healer.notifiers._markup import LARK
from healer.notifiers._message import (
    digest_headline,
    digest_lines,
    digest_rest,
    doors,
)
from healer.ports import PostRequest
from healer.wording import say

MOST_BYTES = 20_000
"""Of the whole request; some is left for the signature."""
_SPARE = 400

CODES = (
    Class(Delivery.PAUSE, ("9499", "11232"), ("too many request", "frequency limited"), 60.0),
    Class(
        Delivery.BROKEN,
        ("19001", "19021", "19022", "19024", "19002"),
        ("sign match fail", "key words not found", "ip not allowed", "access token invalid"),
    ),
    Class(Delivery.TOO_LARGE, ("230025", "11246"), ("too large", "too long")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feishu(Chat):
    """Options of one bot."""

    keyword: str = ""
    """Put into every message, for bots that demand one."""

    def render(self, notice: Notice) -> str:
        body = self.said(notice, LARK)
        return self._card(
            self.title(notice), body, (), _colour(notice), doors(notice, self.language)
        )

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        body = digest_lines(notices, LARK, self.language)
        rest = digest_rest(notices, LARK, self.language)
        return self._card(digest_headline(notices, self.language), body, rest, "orange")

    def request(self, body: str, now: datetime) -> PostRequest:
        if self.secret:
            stamp = int(now.timestamp())
            signed = {"timestamp": str(stamp), "sign": sign(self.secret, stamp)}
            body = compact(signed | json.loads(body))
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return PostRequest(self.url, body.encode(), headers, secret_parts(self.url, self.secret))

    def classify(self, status: int, body: str) -> DeliveryResult:
        return classify(status, body, CODES, "code", "msg")

    def _card(
        self,
        title: str,
        body: Sequence[str],
        ending: Sequence[str],
        colour: str,
        buttons: Sequence[tuple[str, str]] = (),
    ) -> str:
        keep = [*ending, *([self.keyword] if self.keyword and self.keyword not in title else [])]
        made, room = "", MOST_BYTES - _SPARE
        while not made or (size(made) > MOST_BYTES - _SPARE and room > 500):
            text = fit(body, room, say("chat.more_lines", self.language), keep)
            made = compact(
                {
                    "msg_type": "interactive",
                    "card": {
                        "config": {"wide_screen_mode": True},
                        "header": {
                            "template": colour,
                            "title": {"tag": "plain_text", "content": title},
                        },
                        "elements": [{"tag": "markdown", "content": text}, *_buttons(buttons)],
                    },
                }
            )
            room = room * 3 // 4
        return made


def sign(secret: str, stamp_s: int) -> str:
    """HMAC-SHA256 with `timestamp\\nsecret` as the key, over nothing; base64."""
    key = f"{stamp_s}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def _buttons(doors: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    if not doors:
        return []
    shown = [
        {
            "tag": "button",
            "text": {"tag": "plain_text", "content": label},
            "type": "default" if number else "primary",
            "url": url,
        }
        for number, (label, url) in enumerate(doors)
    ]
    return [{"tag": "action", "actions": shown}]


def _colour(notice: Notice) -> str:
    if notice.occasion is Occasion.RESOLVED:
        return "green"
    return "red" if notice.severity is Severity.CRITICAL else "orange"
