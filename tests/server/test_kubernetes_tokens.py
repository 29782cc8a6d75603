"""Kubernetes tokens: only for our audience, only what RBAC allows, and asked about sparingly."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from builders import NOW

from healer.adapters.clocks import SteppedClock
from healer.adapters.kubernetes import connect
from healer.adapters.token_review import ACCESS, KEPT_FOR, REVIEW, TokenReviewer, ask_api
from healer.errors import Temporary
from healer.server.auth import Gate
from healer.settings import KubernetesSettings

USERS = {
    "viewer-token": ("system:serviceaccount:ops:viewer", ["healer"], {("get", "/healer")}),
    "sender-token": ("system:serviceaccount:ops:am", ["healer"], {("post", "/healer/intake")}),
    "other-token": ("somebody", ["https://kubernetes.default"], {("get", "/healer")}),
}


class ApiServer:
    """Answers both reviews as the API server does, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.away = False

    def __call__(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        if self.away:
            raise Temporary("no answer")
        spec = body["spec"]
        if path == REVIEW:
            name, audiences, _ = USERS.get(spec["token"], ("", [], set()))
            shared = [a for a in audiences if a in spec["audiences"]]
            known = bool(name) and bool(shared)
            user = {"username": name, "groups": ["g"]} if known else {}
            return {"status": {"authenticated": known, "user": user, "audiences": shared}}
        attributes = spec["nonResourceAttributes"]
        rights = next((r for n, _, r in USERS.values() if n == spec["user"]), set())
        return {"status": {"allowed": (attributes["verb"], attributes["path"]) in rights}}


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def asked(site: Any, api: ApiServer) -> Any:
    """The site, which also takes Kubernetes tokens."""
    reviewer = TokenReviewer(api, "healer", site.clock)
    state = site.client.app.state
    state.gate = Gate(state.deps.settings, reviewer)
    return site


def get(site: Any, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return int(site.client.get("/api/v1/incidents", headers=headers).status_code)


def test_rbac_says_what_a_token_may_do(asked: Any) -> None:
    gate: Gate = asked.client.app.state.gate
    assert gate.slow
    assert get(asked, "viewer-token") == 200
    assert get(asked, "sender-token") == 403
    for token, status in (("sender-token", 202), ("viewer-token", 403)):
        answer = asked.send("/webhook/alertmanager", {"alerts": []}, token=token)
        assert answer.status_code == status


def test_a_token_made_for_another_server_is_none_of_ours(asked: Any) -> None:
    assert get(asked, "other-token") == 401
    assert get(asked, "no-such-token") == 401
    assert get(asked, "x" * 20_000) == 401


def test_an_api_server_that_knows_no_audiences_lets_nobody_in(site: Any) -> None:
    def ask(path: str, body: Any) -> Any:
        return {"status": {"authenticated": True, "user": {"username": "x"}, "allowed": True}}

    assert TokenReviewer(ask, "healer", site.clock)(b"token", "read") == "unknown"


def test_the_files_tokens_still_count_and_are_not_sent_to_anybody(
    asked: Any, api: ApiServer
) -> None:
    assert get(asked, "read-token") == 200
    assert get(asked, "ingest-token") == 403
    assert api.asked == []


def test_an_answer_is_kept_for_a_minute_and_no_longer(asked: Any, api: ApiServer) -> None:
    for _ in range(5):
        assert get(asked, "viewer-token") == 200
    assert [path for path, _ in api.asked] == [REVIEW, ACCESS]
    asked.clock.move(KEPT_FOR)
    assert get(asked, "viewer-token") == 200
    assert len(api.asked) == 4


def test_while_the_api_server_is_away_a_token_cannot_be_checked(asked: Any, api: ApiServer) -> None:
    api.away = True
    assert get(asked, "viewer-token") == 503
    assert get(asked, "read-token") == 200
    api.away = False
    asked.clock.move(timedelta(seconds=1))
    assert get(asked, "viewer-token") == 200, "that it failed is not kept"


def test_groups_and_user_are_handed_on(asked: Any, api: ApiServer) -> None:
    get(asked, "viewer-token")
    spec = api.asked[1][1]["spec"]
    assert spec["user"] == "system:serviceaccount:ops:viewer"
    assert spec["groups"] == ["g"]
    assert spec["nonResourceAttributes"] == {"verb": "get", "path": "/healer"}


def test_the_reviews_go_over_the_wire_as_kubernetes_wants_them() -> None:
    taken: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path, body))
            code = 201 if body["spec"].get("token") != "refused" else 403
            answer = json.dumps({**body, "status": {"authenticated": False}, "message": "no"})
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        ask = ask_api(connect(KubernetesSettings(url=url)))
        reviewer = TokenReviewer(ask, "healer", SteppedClock(NOW))
        assert reviewer(b"token", "read") == "unknown"
        with pytest.raises(Temporary, match="403"):
            reviewer(b"refused", "read")
        server.shutdown()
        thread.join()
    path, body = taken[0]
    assert path == REVIEW
    assert body["kind"] == "TokenReview"
    assert body["spec"] == {"token": "token", "audiences": ["healer"]}
