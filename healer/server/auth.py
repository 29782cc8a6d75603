"""Who may do what: bearer tokens with one scope each, read from mounted files.

A file holds one token a line, so two live side by side while they are rotated; it is read again
when it changes. A scope without a file is closed, not open. Browsers that cannot send a header
get a cookie signed with the read token itself: it dies with the token and needs no session store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from fastapi import Request

from healer.server.problems import Refusal
from healer.settings import ServerSettings

COOKIE = "healer_session"
SESSION = timedelta(hours=12)
REPLAY = timedelta(minutes=5)
"""How far Grafana's clock may be from ours."""
SCOPES = ("read", "ingest", "approve")
_GRANTS = {"read": ("read", "approve"), "ingest": ("ingest",), "approve": ("approve",)}
"""Scope wanted → scopes of tokens that have it: who may approve may also look."""


@dataclass(slots=True)
class TokenFile:
    """The live tokens of one scope."""

    file: Path | None
    _seen: tuple[float, int] | None = None
    _tokens: tuple[bytes, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self) -> tuple[bytes, ...]:
        """Read again when the file changed; an unreadable file grants nothing."""
        if self.file is None:
            return ()
        with self._lock:
            try:
                stat = self.file.stat()
                seen = (stat.st_mtime_ns, stat.st_size)
                if seen != self._seen:
                    lines = self.file.read_bytes().split(b"\n")
                    self._tokens = tuple(t for line in lines if (t := line.strip()))
                    self._seen = seen
            except OSError:
                self._tokens, self._seen = (), None
            return self._tokens

    def knows(self, token: bytes) -> bool:
        """Compares with every token, each in constant time."""
        matches = [hmac.compare_digest(token, known) for known in self.tokens()]
        return any(matches)


class Gate:
    """Answers whether a request may do what a scope allows."""

    def __init__(
        self, settings: ServerSettings, review: Callable[[bytes, str], str] | None = None
    ) -> None:
        self.slow = review is not None
        """Whether a check may ask another server."""
        self._review = review
        self._anonymous_read = settings.anonymous_read
        self._files = {
            "read": TokenFile(settings.read_token_file),
            "ingest": TokenFile(settings.ingest_token_file),
            "approve": TokenFile(settings.approve_token_file),
        }

    def allows(self, token: bytes, scope: str) -> bool:
        matches = [self._files[granted].knows(token) for granted in _GRANTS[scope]]
        return any(matches)

    def check(self, request: Request, scope: str, now: datetime) -> None:
        """Raises Refusal 401 without a live token, 403 with one of another scope."""
        if scope == "read" and self._anonymous_read:
            return
        token = presented(request)
        if token is not None:
            if self.allows(token, scope):
                return
            known = any(file.knows(token) for file in self._files.values())
            answer = "unknown" if known or self._review is None else self._review(token, scope)
            if answer == "allowed":
                return
            if known or answer == "known":
                raise Refusal(403, f"the token lacks the scope {scope!r}")
        elif scope == "read" and self.session_holds(request.cookies.get(COOKIE, ""), now):
            return
        configured = any(self._files[granted].tokens() for granted in _GRANTS[scope])
        detail = (
            f"expected 'Authorization: Bearer TOKEN' with scope {scope!r}"
            if configured
            else f"closed: server.{scope}_token_file names no readable file with a token"
        )
        raise Refusal(401, detail, headers={"WWW-Authenticate": f'Bearer realm="{scope}"'})

    # sessions of browsers

    def open_session(self, token: str, now: datetime) -> str | None:
        """The cookie for a person who knows a read token; None for anybody else."""
        given = token.strip().encode()
        if not self.allows(given, "read"):
            return None
        until = str(int((now + SESSION).timestamp()))
        return f"{until}.{_seal(given, until)}"

    def session_holds(self, cookie: str, now: datetime) -> bool:
        until, _, seal = cookie.partition(".")
        if not until.isdecimal() or len(until) > 12 or int(until) < now.timestamp():
            return False
        tokens = [t for granted in _GRANTS["read"] for t in self._files[granted].tokens()]
        matches = [hmac.compare_digest(seal.encode(), _seal(t, until).encode()) for t in tokens]
        return any(matches)


def presented(request: Request) -> bytes | None:
    """The token of a Bearer header, or the password of a Basic one; None without either."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    value = value.strip()
    if kind.lower() == "bearer" and value:
        return value.encode("utf-8", "replace")
    if kind.lower() == "basic" and value:
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return None


def signed(body: bytes, secret_file: Path, signature: str, stamp: str, now: datetime) -> bool:
    """Whether Grafana's HMAC over the body holds; over `stamp:body` where it sends a stamp, which
    has to be of these minutes: what was listened to once is not taken in again."""
    try:
        secret = secret_file.read_bytes().strip()
    except OSError:
        return False
    text = f"{stamp}:".encode() + body if stamp else body
    expected = hmac.new(secret, text, hashlib.sha256).hexdigest()
    if stamp and not (stamp.isdecimal() and len(stamp) <= 12):
        return False
    if stamp and abs(now.timestamp() - int(stamp)) > REPLAY.total_seconds():
        return False
    return bool(secret) and hmac.compare_digest(expected.encode(), signature.strip().encode())


def _seal(token: bytes, until: str) -> str:
    return hmac.new(token, f"healer session until {until}".encode(), hashlib.sha256).hexdigest()
