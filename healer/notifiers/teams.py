"""Microsoft Teams: an Adaptive Card posted to a workflow's URL.

Connectors of Office 365 are retired; a workflow answers 202 once it has taken the card.
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from healer.model.incident import Severity
from healer.model.message import Delivery, DeliveryResult, Notice, Occasion
from healer.notifiers._chat import Chat, compact, secret_parts
from healer.notifiers._fit import fit, size
from healer.notifiers._markup import TEAMS
from healer.notifiers._message import digest_headline, digest_lines, digest_rest, doors
from healer.ports import PostRequest
from healer.wording import say

MOST_BYTES = 28_000
"""Of the whole message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teams(Chat):
    """Options of one workflow."""

    def render(self, notice: Notice) -> str:
        body = self.said(notice, TEAMS)
        colour = "attention" if notice.severity is Severity.CRITICAL else "warning"
        colour = "good" if notice.occasion is Occasion.RESOLVED else colour
        return self._card(self.title(notice), body, (), colour, doors(notice, self.language))

    def digest(self, notices: Sequence[Notice], now: datetime) -> str:
        body = digest_lines(notices, TEAMS, self.language)
        rest = digest_rest(notices, TEAMS, self.language)
        return self._card(digest_headline(notices, self.language), body, rest, "warning", ())

    def request(self, body: str, now: datetime) -> PostRequest:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return PostRequest(self.url, body.encode(), headers, secret_parts(self.url))

    def classify(self, status: int, body: str) -> DeliveryResult:
        code = f"http {status}"
        # A throttled connector says so in the text of a 200.
        if status == 429 or "too many requests" in body.lower():
            return DeliveryResult(Delivery.PAUSE, code, body[:200], 60.0)
        if status in (200, 202):
            return DeliveryResult(Delivery.DELIVERED, code)
        if status in (400, 401, 403, 404, 410):
            return DeliveryResult(Delivery.BROKEN, code, body[:200])
        if status == 413:
            return DeliveryResult(Delivery.TOO_LARGE, code, body[:200])
        return DeliveryResult(Delivery.RETRY, code, body[:200])

    def _card(
        self,
        title: str,
        body: Sequence[str],
        ending: Sequence[str],
        colour: str,
        buttons: Sequence[tuple[str, str]],
    ) -> str:
        made, room = "", MOST_BYTES
        while not made or (size(made) > MOST_BYTES and room > 500):
            text = fit(body, room, say("chat.more_lines", self.language), ending)
            card: dict[str, Any] = {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    _block(title) | {"size": "medium", "weight": "bolder", "color": colour},
                    # Two newlines make a new line in a card's Markdown.
                    _block(text.replace("\n", "\n\n")),
                ],
            }
            if buttons:
                card["actions"] = [
                    {"type": "Action.OpenUrl", "title": label, "url": url} for label, url in buttons
                ]
            kind = "application/vnd.microsoft.card.adaptive"
            made = compact(
                {"type": "message", "attachments": [{"contentType": kind, "content": card}]}
            )
            room = room * 3 // 4
        return made


def _block(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}
