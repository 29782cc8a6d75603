"""Readers that ask what makes no sense, too much, or all at once: a clear answer, never a 500."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from builders import at, diagnosis, incident, intent

from healer.model.intent import State


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh;q=0.1, en;q=0.9", "en"),
        ("en;q=0.2,zh-Hant-HK", "zh"),
        ("fr, de;q=0.9, zh-CN;q=0.3, en;q=0.2", "zh"),
        ("en;q=0, zh", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=much, en;q=0.1", "en"),
        ("zhx, en", "en"),
        ("*", "en"),
        (";;;,,,=", "en"),
        ("zh;q=" + "1" * 8000, "en"),
        (",".join(["fr"] * 3000), "en"),
    ],
)
def test_a_page_speaks_what_the_browser_likes_best(site: Any, header: str, language: str) -> None:
    assert site.page("/", header).headers["content-language"] == language


@pytest.mark.parametrize(
    "content",
    ["", "null", "1", "{}", "[]", "[1]", "[1,2,3]", '["a","\\ud800"]', '["\\ud800",null]'],
)
def test_a_cursor_that_somebody_made_up_is_no_page(site: Any, content: str) -> None:
    site.store.put_incident(incident())
    cursor = base64.urlsafe_b64encode(content.encode()).decode().rstrip("=") or "!"
    assert site.get("/api/v1/incidents", params={"cursor": cursor}).status_code == 404
    assert site.page(f"/incidents?cursor={cursor}").headers["location"] == "/incidents"


@pytest.mark.parametrize("name", ["phase", "severity", "cause", "namespace", "node"])
def test_a_filter_is_not_repeated_for_ever(site: Any, name: str) -> None:
    value = {"phase": "open", "severity": "info"}.get(name, "x")
    assert site.get("/api/v1/incidents", params={name: [value] * 50}).status_code == 200
    answer = site.get("/api/v1/incidents", params={name: [value] * 3000})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == f"query.{name}"


@pytest.mark.parametrize(
    "name", ["q", "cause", "namespace", "node", "phase", "since", "limit", "x"]
)
def test_a_very_long_parameter_is_refused_and_not_echoed_whole(site: Any, name: str) -> None:
    answer = site.get("/api/v1/incidents", params={name: "a" * 10_000})
    assert answer.status_code == 422
    assert len(answer.content) < 2000


@pytest.mark.parametrize("tag", ["*", '"', "W/", ",,,,", '"a", W/"b"', "a" * 8000])
def test_an_etag_of_nobody_changes_nothing(site: Any, tag: str) -> None:
    site.store.put_incident(incident())
    answer = site.get("/api/v1/incidents/inc-1", headers={"If-None-Match": tag})
    assert answer.status_code == (304 if tag == "*" else 200)


def test_of_many_clicks_at_once_one_approves(site: Any) -> None:
    asked = intent(State.PLANNED, expires_at=at(900))
    site.store.put_incident(incident(diagnosis=diagnosis()))
    site.store.claim_intent(asked)
    body = {"digest": asked.plan.digest, "decision": "approve", "by": "Ada"}

    def click(_: int) -> int:
        path = f"/api/v1/approvals/{asked.id}"
        return int(site.send(path, body, token="approve-token").status_code)

    with ThreadPoolExecutor(8) as hands:
        statuses = sorted(hands.map(click, range(8)))
    assert statuses == [200] + [409] * 7
    assert [entry.kind for _, entry in site.store.audit()] == ["intent.approved"]


@pytest.mark.parametrize("ends", ["2020-01-01T00:00:00Z", "2026-03-04T11:58:59Z"])
def test_an_alert_that_ended_before_it_began_ended_when_it_began(site: Any, ends: str) -> None:
    alert = {"status": "resolved", "labels": {"alertname": "X"}, "fingerprint": "f1",
             "startsAt": "2026-03-04T11:59:00Z", "endsAt": ends}  # fmt: skip
    hook = {"version": "4", "alerts": [alert]}
    assert site.send("/webhook/alertmanager", json.dumps(hook)).status_code == 202
    (kept,) = site.store.episodes(at(-86_400))
    assert kept.ends_at == kept.starts_at
