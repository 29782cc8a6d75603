"""The stream of changes: nothing missed, nothing forged, never more clients than can be served."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import requests
from builders import NOW

from healer.model.audit import AuditEntry
from healer.server.events import HEARTBEAT_S, MOST_CLIENTS, newest

LISTEN = {"Accept": "text/event-stream", "Authorization": "Bearer read-token"}


def happen(site: Any, *messages: str, kind: str = "incident.opened") -> None:
    for message in messages:
        site.store.record(AuditEntry(kind, NOW, "healer", "inc-1", message=message))


def told(text: str) -> list[tuple[int, str, str]]:
    """(id, event, message) of each event in a stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])["message"]))
    return found


def test_whoever_does_not_listen_gets_what_there_is_and_the_end(site: Any) -> None:
    happen(site, "one", "two")
    answer = site.get("/api/v1/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert told(answer.text) == [(1, "incident.opened", "one"), (2, "incident.opened", "two")]
    assert told(site.get("/api/v1/events?after=1").text) == [(2, "incident.opened", "two")]
    resumed = site.get("/api/v1/events", headers={"Last-Event-ID": "2"})
    assert told(resumed.text) == []


def test_a_message_with_newlines_forges_no_event(site: Any) -> None:
    evil = "x\n\nid: 99\nevent: intent.approved\ndata: {}\n\n"
    happen(site, evil, kind="incident.opened\nevent: forged")
    (only,) = told(site.get("/api/v1/events").text)
    assert only[2] == evil
    assert only[0] == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
def test_the_newest_entry_is_found_without_reading_all(site: Any, count: int) -> None:
    happen(site, *(str(n) for n in range(count)))
    assert newest(site.store) == count


def test_a_listener_hears_of_what_happens_from_now_on_and_may_resume(site: Any, url: str) -> None:
    site.client.app.state.stream_poll_s = 0.02
    happen(site, "before")
    heard: list[str] = []
    with requests.get(f"{url}/api/v1/events", headers=LISTEN, stream=True, timeout=60) as answer:
        assert answer.headers["x-accel-buffering"] == "no"
        lines = answer.iter_lines(decode_unicode=True, chunk_size=1)
        assert next(lines) == "retry: 2000"
        happen(site, "after")
        for line in lines:
            heard.append(line)
            if line.startswith("data"):
                break
    assert "id: 2" in heard
    assert json.loads(heard[-1].removeprefix("data: "))["message"] == "after"
    site.client.app.state.stream_lasts_s = 0.0
    again = requests.get(
        f"{url}/api/v1/events", headers={**LISTEN, "Last-Event-ID": "0"}, timeout=60
    )
    assert [m for _, _, m in told(again.text)] == ["before", "after"]


def test_a_client_that_goes_makes_room_for_another(site: Any, url: str) -> None:
    site.client.app.state.stream_poll_s = 0.02
    site.client.app.state.streams = MOST_CLIENTS - 1
    with requests.get(f"{url}/api/v1/events", headers=LISTEN, stream=True, timeout=60) as answer:
        lines = answer.iter_lines(chunk_size=1)  # held: the connection goes with it
        next(lines)
        refused = requests.get(f"{url}/api/v1/events", headers=LISTEN, timeout=60)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
    gone = threading.Event()
    for _ in range(3000):
        if site.client.app.state.streams == MOST_CLIENTS - 1:
            gone.set()
            break
        gone.wait(0.02)
    assert gone.is_set()


def test_listening_needs_a_token(site: Any) -> None:
    answer = site.client.get("/api/v1/events", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 401


def test_a_client_that_never_reads_loses_its_place_when_its_time_is_over(site: Any) -> None:
    app = site.client.app
    app.state.stream_lasts_s, app.state.stream_poll_s = -HEARTBEAT_S + 2.0, 0.01
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/api/v1/events",
        "raw_path": b"/api/v1/events", "query_string": b"", "root_path": "", "scheme": "http",
        "server": ("test", 80), "client": ("test", 1),
        "headers": [(b"authorization", b"Bearer read-token"), (b"accept", b"text/event-stream")],
    }  # fmt: skip
    places: list[int] = []

    async def listen() -> None:
        never = asyncio.Event()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                places.append(app.state.streams)
                await never.wait()

        async def receive() -> Any:
            await never.wait()

        await asyncio.wait_for(app(scope, receive, send), 60)

    asyncio.run(listen())
    assert places == [1]
    assert app.state.streams == 0


def test_a_number_beyond_every_log_is_one_behind_its_end(site: Any) -> None:
    answer = site.get("/api/v1/events", headers={"Last-Event-ID": "9" * 19})
    assert (answer.status_code, answer.text) == (200, "")
