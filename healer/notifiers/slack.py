"""Slack's incoming webhook: blocks of mrkdwn. It answers with plain `ok`, or says why not.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from healer.model.message import Delivery, DeliveryResult, Notice
from healer.notifiers._chat import Chat, compact, secret_parts
from healer.notifiers._fit import cut, fit
from healer.notifiers._markup import SLACK
from healer.notifiers._message import (
    digest_headline,
    digest_lines,
    digest_rest,
    link,
)
from healer.ports import PostRequest
from healer.wording import say

MOST_BYTES = 2900
"""A section holds 3000 characters."""

_BROKEN = frozenset(
    {
        "no_service",
        "no_team",
        "no_active_hooks",
        "channel_is_archived",
        "channel_not_found",
        "action_prohibited",
        "invalid_token",
        "team_disabled",
        "user_not_found",
        "posting_to_general_channel_denied",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack(Chat):
    """Options of one webhook."""

    def render(self, notice: Notice) -> str:
        body = self.said(notice, SLACK)
        title = self.title(notice)
        return self._body(title, body, link(notice, SLACK, self.language))

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        body = digest_lines(notices, SLACK, self.language)
        rest = digest_rest(notices, SLACK, self.language)
        return self._body(digest_headline(notices, self.language), body, rest)

    def request(self, body: str, now: datetime) -> PostRequest:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return PostRequest(self.url, body.encode(), headers, secret_parts(self.url))

    def classify(self, status: int, body: str) -> DeliveryResult:
        said = body.strip()[:200]
        if status == 200 and said == "ok":
            return DeliveryResult(Delivery.DELIVERED, "ok")
        if status == 429:
            return DeliveryResult(Delivery.PAUSE, "http 429", said, 60.0)
        if said in _BROKEN or status in (403, 404, 410):
            return DeliveryResult(Delivery.BROKEN, f"http {status}", said)
        if status == 413 or said in ("invalid_blocks", "msg_too_long"):
            return DeliveryResult(Delivery.TOO_LARGE, f"http {status}", said)
        return DeliveryResult(Delivery.RETRY, f"http {status}", said)

    def _body(self, title: str, body: Sequence[str], ending: Sequence[str]) -> str:
        tail = say("chat.more_lines", self.language)
        # mrkdwn knows three entities; what could form a mention has full-width twins by now.
        text = fit([_amp(line) for line in body], MOST_BYTES, tail, ending)
        header = {"type": "plain_text", "text": cut(title, 150)}
        return compact(
            {
                "text": title,
                "blocks": [
                    {"type": "header", "text": header},
                    {"type": "section", "text": {"type": "mrkdwn", "text": text}},
                ],
            }
        )


def _amp(line: str) -> str:
    """A quote's `> ` at the start is ours."""
    return line.replace("&", "&amp;")
