"""Signed links for chat: each opens one question, for a short while, and carries its own proof.

A link holds what it is about, until when, and an HMAC over both, so the server keeps no list of
links. It is a key to one question: whoever can read the message can answer it. That is why links
that approve are sent only to channels whose settings ask for them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

KEY = "links.key"
"""Where the signing key is in the store: the same for every replica, and never in a setting."""
ANSWER_FOR = timedelta(minutes=15)
"""How long a link that answers a plan holds at most; never longer than the plan waits."""
LOOK_FOR = timedelta(hours=24)
"""How long a link that takes or mutes an incident holds: it can do no harm."""
MOST_CHARACTERS = 600
DIGEST_CHARACTERS = 20
"""Eighty bits tell two plans of one incident apart; a message has better use for the rest."""

Purpose = Literal["answer", "take", "mute"]


@dataclass(frozen=True, slots=True)
class Question:
    """What a link asks."""

    purpose: Purpose
    incident_id: str
    until: datetime
    intent_id: str = ""
    digest: str = ""
    """Beginning of the digest of the plan that the message showed: another is not what was asked.
    """


def write_link(question: Question, key: bytes) -> str:
    """The last part of the link's path: URL-safe, no padding."""
    until = int(question.until.timestamp())
    fields: Sequence[str | int] = (
        question.purpose,
        question.incident_id,
        until,
        question.intent_id,
        question.digest,
    )
    text = _encode(json.dumps(fields, separators=(",", ":")).encode())
    return f"{text}.{_seal(text, key)}"


def read_link(token: str, key: bytes, now: datetime) -> Question | None:
    """What was asked; None for a link that is not ours or has lapsed."""
    text, _, seal = token.partition(".")
    if not key or len(token) > MOST_CHARACTERS or not token.isascii():
        return None
    if not hmac.compare_digest(seal.encode(), _seal(text, key).encode()):
        return None
    try:
        purpose, incident_id, until, intent_id, digest = json.loads(_decode(text))
        end = datetime.fromtimestamp(until, UTC)
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error):
        return None
    if purpose not in get_args(Purpose) or end <= now:
        return None
    return Question(purpose, incident_id, end, intent_id, digest)


def _seal(text: str, key: bytes) -> str:
    digest = hmac.new(key, b"healer link " + text.encode(), hashlib.sha256).digest()
    return _encode(digest[:20])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
