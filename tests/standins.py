"""Chat providers as they behave: HTTP 200 to everything, and their own code inside.

Each checks what the real one checks (signature, clock skew, size, kind, rate) and keeps what it
took. They run on a real socket; time is the test's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = dict[str, Any]


class StandIn:
    """A provider's robot behind a loopback socket."""

    path = "/"

    def __init__(self, now: Callable[[], datetime], per_minute: int = 20) -> None:
        self.now, self.per_minute = now, per_minute
        self.taken: list[Any] = []
        self.attempts: list[tuple[datetime, Answer]] = []
        self.scripted: list[tuple[int, str] | None] = []
        """Answers to give first, (status, body), whatever comes; None for the honest one."""
        self.blocked_until: datetime | None = None
        handler = _handler(self)
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._httpd.daemon_threads = True
        self._thread = threading.Thread(target=self._httpd.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._httpd.server_address[1]}{self.path}"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def answer(self, query: dict[str, str], body: bytes) -> tuple[int, str]:
        if self.scripted:
            scripted = self.scripted.pop(0)
            if scripted is not None:
                self.attempts.append((self.now(), {"scripted": scripted}))
                return scripted
        refused = self.refuse(query, body) or self._too_fast()
        if refused is None:
            self.taken.append(json.loads(body))
        answer = refused or self.success()
        self.attempts.append((self.now(), answer))
        return 200, json.dumps(answer)

    def refuse(self, query: dict[str, str], body: bytes) -> Answer | None:
        raise NotImplementedError

    def success(self) -> Answer:
        return {"errcode": 0, "errmsg": "ok"}

    def throttled(self) -> Answer:
        raise NotImplementedError

    def _too_fast(self) -> Answer | None:
        now = self.now()
        recent = [at for at, a in self.attempts if (now - at).total_seconds() < 60]
        return self.throttled() if len(recent) >= self.per_minute else None

    def largest(self) -> int:
        return max(len(json.dumps(t, ensure_ascii=False).encode()) for t in self.taken)


class DingTalkRobot(StandIn):
    path = "/robot/send?access_token=dingtalk-access-token"
    secret = "SECtest"
    keyword = "healer"

    def refuse(self, query: dict[str, str], body: bytes) -> Answer | None:
        if query.get("access_token") != "dingtalk-access-token":
            return {"errcode": 300001, "errmsg": "token is not exist"}
        stamp = query.get("timestamp", "0")
        if abs(self.now().timestamp() * 1000 - int(stamp)) > 3_600_000:
            return {"errcode": 310000, "errmsg": "invalid timestamp"}
        text = f"{stamp}\n{self.secret}".encode()
        expected = hmac.new(self.secret.encode(), text, hashlib.sha256).digest()
        if query.get("sign") != base64.b64encode(expected).decode():
            return {"errcode": 310000, "errmsg": "sign not match"}
        if len(body) > 20_000:
            return {"errcode": 460101, "errmsg": "message too large"}
        payload = json.loads(body)
        kind = payload.get("msgtype")
        if kind not in ("markdown", "actionCard"):
            return {"errcode": 400001, "errmsg": "invalid msgtype"}
        shown = payload[kind]
        if kind == "actionCard" and not all(
            button.get("title") and button.get("actionURL", "").startswith("https://")
            for button in shown.get("btns") or [{}]
        ):
            return {"errcode": 400002, "errmsg": "btns is invalid"}
        if self.keyword and self.keyword not in shown["text"] + shown["title"]:
            return {"errcode": 310000, "errmsg": "keywords not in content"}
        return None

    def _too_fast(self) -> Answer | None:
        """More than twenty a minute, and the robot is silent for ten."""
        if self.blocked_until is not None and self.now() < self.blocked_until:
            return self.throttled()
        refused = super()._too_fast()
        if refused is not None:
            self.blocked_until = self.now() + timedelta(minutes=10)
        return refused

    def throttled(self) -> Answer:
        return {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}


class WeComRobot(StandIn):
    path = "/cgi-bin/webhook/send?key=wecom-webhook-key"
    limits = {"text": 2048, "markdown": 4096, "markdown_v2": 4096}  # noqa: RUF012

    def refuse(self, query: dict[str, str], body: bytes) -> Answer | None:
        if query.get("key") != "wecom-webhook-key":
            return {"errcode": 93000, "errmsg": "invalid webhook url"}
        payload = json.loads(body)
        kind = payload.get("msgtype")
        if kind == "template_card":
            return self._refuse_card(payload[kind])
        if kind not in self.limits:
            return {"errcode": 40008, "errmsg": "invalid message type"}
        if len(payload[kind]["content"].encode()) > self.limits[kind]:
            return {"errcode": 40058, "errmsg": "content exceed max length"}
        return None

    def throttled(self) -> Answer:
        return {"errcode": 45009, "errmsg": "api freq out of limit"}

    def _refuse_card(self, card: dict[str, Any]) -> Answer | None:
        good = (
            card["card_type"] == "text_notice"
            and card["card_action"]["url"].startswith("https://")
            and len(card["main_title"]["title"]) <= 26
            and len(card["horizontal_content_list"]) <= 6
            and len(card["jump_list"]) <= 3
        )
        return None if good else {"errcode": 42014, "errmsg": "invalid template card"}


class FeishuBot(StandIn):
    path = "/open-apis/bot/v2/hook/feishu-hook-key"
    secret = "SECtest"

    def refuse(self, query: dict[str, str], body: bytes) -> Answer | None:
        payload = json.loads(body)
        stamp = payload.get("timestamp", "0")
        key = f"{stamp}\n{self.secret}".encode()
        expected = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
        skew = abs(self.now().timestamp() - int(stamp))
        if payload.get("sign") != expected or skew > 3600:
            return {"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}
        if len(body) > 20_000:
            return {"code": 230025, "msg": "message content too large"}
        return None

    def success(self) -> Answer:
        return {"code": 0, "msg": "success", "data": {}}

    def throttled(self) -> Answer:
        return {"code": 9499, "msg": "too many request"}


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            status, text = standin.answer(query, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silence: what was asked is in `attempts`."""

    return Handler
